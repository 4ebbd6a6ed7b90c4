# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A viewer that listens on a topic that nobody publishes stays black, and says nothing."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node

ROOT = Path(__file__).parents[2]
RVIZ = yaml.safe_load((ROOT / 'config/perception.rviz').read_text())['Visualization Manager']
FOXGLOVE = json.loads((ROOT / 'config/foxglove.json').read_text())
PAGE = (ROOT / 'docs/viewers.md').read_text()
# By the class of RViz's display.
RVIZ_TYPES = {
    'MarkerArray': 'visualization_msgs/msg/MarkerArray',
    'PoseArray': 'geometry_msgs/msg/PoseArray',
    'Image': 'sensor_msgs/msg/Image',
}


def displays(kind):
    return [d for d in RVIZ['Displays'] if d['Class'] == f'rviz_default_plugins/{kind}']


def foxglove(kind):
    return {name: p for name, p in FOXGLOVE['configById'].items() if name.startswith(f'{kind}!')}


def images_in_foxglove():
    return [panel['imageMode']['imageTopic'] for panel in foxglove('Image').values()]


def topics_in_3d():
    (panel,) = foxglove('3D').values()
    return [topic for topic, settings in panel['topics'].items() if settings['visible']]


@pytest.fixture(scope='module')
def published(asking):
    """Topic to types, of the node and a camera, both at the root."""
    context = Context()
    rclpy.init(context=context)
    looking = Node('looking', context=context)
    try:
        asking.ask('at 40 40')
        own = ('markers', 'waypoints', 'annotated_image')
        wanted = ['/image', '/depth', '/camera_info', *(f'/molmo_point_query/{n}' for n in own)]
        end = time.monotonic() + 30
        while not all(map(looking.count_publishers, wanted)) and time.monotonic() < end:
            time.sleep(0.1)
        names = dict(looking.get_topic_names_and_types())
        yield {name: types for name, types in names.items() if looking.count_publishers(name)}
    finally:
        looking.destroy_node()
        rclpy.try_shutdown(context=context)


@pytest.mark.parametrize('kind', RVIZ_TYPES)
def test_rviz_listens_where_something_of_that_kind_is_published(kind, published):
    assert displays(kind)
    for display in displays(kind):
        assert published['/' + display['Topic']['Value']] == [RVIZ_TYPES[kind]]


def test_rviz_makes_the_cloud_of_topics_that_are_published(published):
    (cloud,) = displays('DepthCloud')
    assert cloud['Enabled']
    for key in ('Color Image Topic', 'Depth Map Topic'):
        assert published['/' + cloud[key]] == ['sensor_msgs/msg/Image']


def test_foxglove_listens_where_something_of_that_kind_is_published(published):
    for topic in images_in_foxglove():
        assert published[topic] == ['sensor_msgs/msg/Image']
    for panel in foxglove('Image').values():
        calibration = panel['imageMode'].get('calibrationTopic', '/camera_info')
        assert published[calibration] == ['sensor_msgs/msg/CameraInfo']
    # The cloud is published by the node that the page has run, under that node's own name for it.
    others = [topic for topic in topics_in_3d() if topic != '/points']
    types = {kind for topic in others for kind in published[topic]}
    assert types == {RVIZ_TYPES['MarkerArray'], RVIZ_TYPES['PoseArray']}


def test_what_makes_the_cloud_for_foxglove_hears_the_camera(published):
    remapped = dict(re.findall(r'-r (\S+):=(\S+)', PAGE))
    assert '/points' in topics_in_3d()
    assert {f'/{topic}' for topic in remapped.values()} <= published.keys()


def test_both_viewers_show_the_same():
    shown_by_rviz = {'/' + d['Topic']['Value'] for kind in RVIZ_TYPES for d in displays(kind)}
    assert shown_by_rviz == {*images_in_foxglove(), *topics_in_3d()} - {'/points'}
    (panel,) = foxglove('3D').values()
    assert panel['fixedFrame'] == RVIZ['Global Options']['Fixed Frame']


def panels_of(layout):
    return (
        {layout}
        if isinstance(layout, str)
        else panels_of(layout['first']) | panels_of(layout['second'])
    )


def test_every_panel_of_foxglove_has_its_place():
    assert panels_of(FOXGLOVE['layout']) == set(FOXGLOVE['configById'])


def test_the_line_for_a_namespace_moves_every_topic(tmp_path):
    line = re.search(r'^sed .*$', PAGE, re.M).group()
    written = tmp_path / line.rpartition('> ')[2]
    command = line.replace(str(written.name), str(written))
    subprocess.run(['sh', '-c', command], cwd=ROOT, check=True)
    moved = json.dumps(json.loads(written.read_text()))
    for topic in [*images_in_foxglove(), *topics_in_3d(), '/camera_info']:
        assert f'"/left{topic}"' in moved and f'"{topic}"' not in moved
