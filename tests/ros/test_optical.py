# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Simulators stamp images with the link of the camera; a thing ahead would be told to be above."""

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, Vector3
from molmo_ros.srv import PointQuery
from std_msgs.msg import Header

from molmo_ros.grounding.optical import taken_as_optical, why_body
from molmo_ros.ros.conversions import color_message
from molmo_ros.ros.messages import read_capture
from molmo_ros.ros.node_settings import read_settings
from molmo_ros.ros.parameters import POINT_QUERY
from molmo_ros.ros.transforms import TransformTree
from molmo_ros.spatial.frames import frame_name

LEVEL = (0.0, 0.0, 0.0, 1.0)
AHEAD = (-0.5, 0.5, -0.5, 0.5)  # an optical frame in its camera's body frame
LEFT = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
DOWN_STEEPLY = (0.0, np.sin(0.5), 0.0, np.cos(0.5))  # a body frame that looks 57 degrees down
UPSIDE_DOWN = (1.0, 0.0, 0.0, 0.0)


def tree(*edges):
    tree = TransformTree(cache_time=10.0)
    for parent, child, (x, y, z, w) in edges:
        pose = Transform(translation=Vector3(z=0.4), rotation=Quaternion(x=x, y=y, z=z, w=w))
        tree.add(parent, child, 0, pose, static=True)
    return tree


@pytest.mark.parametrize(
    ('frame', 'edges', 'says'),
    [
        pytest.param('mast_link', [('chassis', 'mast_link', LEFT)], "up in 'chassis'",
                     id='a link that stands level'),
        pytest.param('eye', [('odom', 'rover', LEFT), ('rover', 'eye', LEVEL)], "up in 'odom'",
                     id='no telling name, but a level place'),
        pytest.param('tool_frame', [('world', 'tool_frame', DOWN_STEEPLY)], "up in 'world'",
                     id='looking down'),
        pytest.param('head', [('neck', 'head', UPSIDE_DOWN), ('head', 'rgb_optical', AHEAD)],
                     "'rgb_optical'", id='an optical frame below'),
        pytest.param('cam_link', [('cam_link', 'cam_rgb', LEVEL), ('cam_rgb', 'cam_optical', AHEAD),
                                  ('cam_link', 'ir_optical', AHEAD)],
                     "'cam_optical'", id='several below: the name that is most alike'),
    ],
)  # fmt: skip
def test_a_body_frame_is_known_by_its_place(frame, edges, says):
    assert says in why_body(frame, tree(*edges))


@pytest.mark.parametrize(
    ('frame', 'edges'),
    [
        pytest.param('camera_link', [('base', 'camera_link', AHEAD)], id='a link that is optical'),
        pytest.param('mast_optical', [('base', 'mast_optical', LEVEL)], id='its name says it'),
        pytest.param('eye_link', [], id='nothing on /tf'),
        pytest.param('second', [('first', 'second', LEVEL)], id='two cameras and nothing else'),
        pytest.param('eye_link', [('left_optical', 'eye_link', LEVEL)], id='below an optical one'),
        pytest.param('camera_link', [('arm_base', 'camera_link', UPSIDE_DOWN)], id='looking down'),
        pytest.param(
            'eye', [('eye', 'other_optical', LEVEL)], id='an optical child of its own way'
        ),
        pytest.param('', [('odom', 'rover', LEFT)], id='no name'),
    ],
)
def test_nothing_is_said_without_evidence(frame, edges):
    assert why_body(frame, tree(*edges)) == ''


def test_the_frame_that_is_said_to_be_upright_counts_for_more_than_the_root():
    edges = [('turned', 'floor', UPSIDE_DOWN), ('floor', 'eye_link', LEVEL)]
    assert why_body('eye_link', tree(*edges)) == ''
    assert "up in 'floor'" in why_body('eye_link', tree(*edges), 'floor')


def test_what_only_a_name_could_tell_is_taken_for_granted_and_said():
    assert "'eye'" in taken_as_optical('eye', 'image', 'set optical_frame')
    for settled in ('eye_OPTICAL_frame', ''):
        assert taken_as_optical(settled, 'image', 'set optical_frame') == ''


@pytest.mark.parametrize(
    ('named', 'taken', 'said'),
    [
        ('spy_link', 'spy_lens', True),
        ('', 'spy_lens', True),
        ('/spy_lens', 'spy_lens', False),
        ('other_optical', 'other_optical', False),
    ],
)
def test_an_image_in_a_request_keeps_its_own_optical_frame(named, taken, said):
    """Whoever sends back a simulator's image means its camera; another camera's is another's."""
    image = color_message(np.zeros((6, 8, 3), np.uint8), Header(frame_id=named))
    defaults = {parameter.name: parameter.default for parameter in POINT_QUERY}
    settings = read_settings(defaults | {'optical_frame': 'spy_lens'}).frames
    capture = read_capture(PointQuery.Request(image=image), settings)
    assert capture.frame.frame_id == taken
    assert any('optical_frame' in sentence for sentence in capture.assumed) == said


def test_a_frame_is_the_same_with_and_without_its_slash():
    assert frame_name('/eye_link') == frame_name('eye_link') == frame_name('//eye_link ')
