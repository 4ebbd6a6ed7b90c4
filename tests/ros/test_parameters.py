# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters: what the files say, what the nodes declare and what lifting takes are one."""

import runpy
from contextlib import contextmanager
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from molmo_ros.grounding.ground import GroundingSettings
from molmo_ros.ros import parameters, qos
from molmo_ros.ros.node_settings import read_settings
from molmo_ros.spatial import LiftSettings, TofNoise
from molmo_ros.tabletop.world import TABLES

ROOT = Path(__file__).parents[2]
written = runpy.run_path(str(ROOT / 'docs/write_parameters.py'))
NODES = written['NODES']


@contextmanager
def started(*ros_arguments, **node_arguments):
    """A node that was started so, and has declared nothing yet."""
    context = Context()
    rclpy.init(context=context)
    node = Node(
        'some_node',
        context=context,
        cli_args=['--ros-args', *ros_arguments],
        use_global_arguments=False,
        **node_arguments,
    )
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


@pytest.fixture
def node():
    with started() as node:
        yield node


def defaults(node_name):
    return {p.name: p.default for p in NODES[node_name]}


def flat(tree, prefix=''):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def test_the_files_are_written_from_what_the_nodes_declare():
    for path, text in written['TEXTS'].items():
        assert path.read_text() == text, f'{path}: run docs/write_parameters.py'


def test_the_yaml_holds_every_parameter_with_its_default():
    tree = yaml.safe_load((ROOT / 'config/perception.yaml').read_text())
    for name in NODES:
        stated = dict(flat(tree[f'/**/{name}']['ros__parameters']))
        assert stated == defaults(name)
        assert {k: type(v) for k, v in stated.items()} == {
            k: type(v) for k, v in defaults(name).items()
        }


def test_the_defaults_of_lifting_are_those_of_the_library():
    settings = defaults('molmo_point_query')
    expected = GroundingSettings(LiftSettings(), noise_from='noise.preset')
    assert read_settings(settings).grounding == expected
    tof = read_settings(settings | {'noise.kind': 'tof'})
    assert tof.grounding.lift.noise == TofNoise()


def test_a_depth_camera_that_is_named_brings_its_numbers_and_those_given_beside_it_are_refused():
    settings = defaults('molmo_point_query')
    named = read_settings(settings | {'noise.preset': 'azure_kinect'}).grounding
    assert named.lift.preset == 'azure_kinect'
    # Whose noise was taken is said where nobody says it, and only there.
    assert read_settings(settings).grounding.noise_from == 'noise.preset'
    assert named.noise_from == ''
    numbers = read_settings(settings | {'noise.stereo.baseline': 0.12}).grounding
    assert numbers.lift.preset == '' and numbers.lift.noise.baseline == 0.12
    with pytest.raises(ValueError, match="'custom'"):
        read_settings(settings | {'noise.preset': 'zed', 'noise.tof.constant': 0.01})


def test_every_default_is_allowed_and_every_description_says_something():
    for specification in (p for node in NODES.values() for p in node):
        assert specification.description.endswith('.')
        if specification.range:
            low, high = specification.range
            assert low <= specification.default <= high
        if specification.choices:
            assert specification.default in specification.choices
        if specification.name.startswith('qos'):
            assert set(specification.choices) == set(qos.PROFILES)
        if specification.name == 'table':
            assert set(specification.choices) == set(TABLES)


def test_wrong_values_are_refused_with_a_reason_while_running(node):
    parameters.declare(node, parameters.POINT_QUERY)

    def set_to(name, value):
        return node.set_parameters([Parameter(name, value=value)])[0]

    assert set_to('timeout', 5.0).successful
    assert parameters.values(node, parameters.POINT_QUERY)['timeout'] == 5.0
    wrong = [('timeout', -1.0), ('lift.radius', 1e6), ('noise.kind', 'sonar')]
    for name, value in [*wrong, ('depth_aligned', 'perhaps')]:
        refused = set_to(name, value)
        assert not refused.successful and name in refused.reason
    assert not set_to('max_waiting', 1).successful


def declared(node):
    """What the parameters are, once the node has declared them."""
    parameters.declare(node, parameters.POINT_QUERY)
    return parameters.values(node, parameters.POINT_QUERY)


def is_float(value, expected):
    return type(value) is float and value == expected


def test_whole_numbers_are_taken_for_floats_however_they_are_given(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text(
        'some_node:\n  ros__parameters:\n    frame_wait: 0\n    noise: {tof: {quadratic: 1}}\n'
    )
    with started('-p', 'lift.radius:=9', '--params-file', str(file)) as node:
        values = declared(node)
        assert is_float(values['lift.radius'], 9) and is_float(values['frame_wait'], 0)
        assert is_float(values['noise.tof.quadratic'], 1)
    with started(parameter_overrides=[Parameter('transform_cache', value=12)]) as node:
        assert is_float(declared(node)['transform_cache'], 12)
        # As `ros2 param set` does it.
        assert node.set_parameters_atomically([Parameter('sync_slop', value=1)]).successful
        assert is_float(parameters.values(node, parameters.POINT_QUERY)['sync_slop'], 1)
        assert not node.set_parameters_atomically([Parameter('sync_slop', value=11)]).successful
        assert not node.set_parameters_atomically([Parameter('sync_slop', value=True)]).successful


def test_where_rclpy_cannot_change_what_is_set_whole_numbers_are_taken_too(monkeypatch):
    monkeypatch.delattr(Node, 'add_pre_set_parameters_callback')
    with started('-p', 'timeout:=20') as node:
        assert is_float(declared(node)['timeout'], 20)
        assert node.set_parameters([Parameter('timeout', value=30)])[0].successful
        assert is_float(parameters.values(node, parameters.POINT_QUERY)['timeout'], 30)
        for wrong in ('long', True, 0, 3601, None):
            assert not node.set_parameters([Parameter('timeout', value=wrong)])[0].successful


@pytest.mark.parametrize(
    ('given', 'sentence'),
    [
        ('frame_wait:=61', 'frame_wait is 61.0, not a number from 0 to 60'),
        ('frame_wait:=.nan', 'frame_wait is nan, not a number from 0 to 60'),
        ('frame_wait:=soon', "frame_wait is 'soon', not a number from 0 to 60"),
        ('max_waiting:=2.5', 'max_waiting is 2.5, not a whole number from 0 to 32'),
        ('max_waiting:=true', 'max_waiting is True, not a whole number from 0 to 32'),
        ('quantize:=int2', "quantize is 'int2', not one of none, int8, int4"),
        ('adapter:=12', 'adapter is 12, not a text'),
        ('rectified:=1', 'rectified is 1, not true or false'),
    ],
)
def test_a_wrong_value_at_the_start_is_named_with_what_it_may_be(given, sentence):
    with started('-p', given) as node, pytest.raises(ValueError) as caught:
        parameters.declare(node, parameters.POINT_QUERY)
    assert sentence in str(caught.value) and '\n' not in str(caught.value)


def test_a_range_that_is_none_is_named_with_both_its_ends():
    with pytest.raises(ValueError, match=r'lift.min_range is 3.0.*lift.max_range.*2.0'):
        read_settings(
            defaults('molmo_point_query') | {'lift.min_range': 3.0, 'lift.max_range': 2.0}
        )


@pytest.mark.parametrize(
    ('written', 'meant'),
    [
        ('pixel_sigma', 'lift.pixel_sigma'),
        ('depth.hole_radius', 'lift.hole_radius'),
        ('noise.tof.constnat', 'noise.tof.constant'),
        ('lift/max_range', 'lift.max_range'),
        ('frameWait', 'frame_wait'),
        ('openning', 'gripper.opening'),
        ('max_age', 'max_frame_age'),
        ('stereo.correlation', 'noise.stereo.correlation'),
    ],
)
def test_a_name_that_does_not_exist_is_warned_of_with_the_nearest_that_does(written, meant, capfd):
    with started('-p', f'{written}:=1') as node:
        assert declared(node) == defaults('molmo_point_query')
    assert f'no parameter {written}' in (log := capfd.readouterr().err)
    assert f'did you mean {meant}?' in log


def test_only_names_that_do_not_exist_are_warned_of(capfd):
    with started(
        *('-p', 'use_sim_time:=false', '-p', 'timeout:=3', '-p', 'wheel_separation:=0.4'),
        *('-p', 'qos_overrides./tf.subscription.depth:=5'),
    ) as node:
        declared(node)
    (warning,) = [line for line in capfd.readouterr().err.splitlines() if 'no parameter' in line]
    assert 'wheel_separation' in warning and 'did you mean' not in warning


def test_what_yaml_makes_of_a_text_is_taken_for_the_text(node):
    """`depth_aligned: true` is no text in YAML, and neither is `depth_unit: 0.0002`."""
    parameters.declare(node, parameters.POINT_QUERY)
    for aligned, unit in ((True, 0.0002), ('false', '1/5000'), ('auto', '0.2 mm')):
        values = [Parameter('depth_aligned', value=aligned), Parameter('depth_unit', value=unit)]
        assert all(result.successful for result in node.set_parameters(values))
        frames = read_settings(parameters.values(node, parameters.POINT_QUERY)).frames
        assert frames.depth_aligned == {'auto': None, 'false': False}.get(aligned, True)
        assert frames.depth_unit == pytest.approx(0.0002)


def test_streams_keep_as_much_as_a_question_may_be_about():
    settings = defaults('molmo_point_query')
    assert read_settings(settings).streams.keep >= 2.0
    patient = settings | {'max_frame_age': 4.0, 'frame_wait': 3.0, 'stream_memory': 2}
    assert read_settings(patient).streams.keep >= 7.0
    assert read_settings(patient).streams.memory == 2 * 1024**2
