# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters: what the files say, what the nodes declare and what lifting takes are one."""

import runpy
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


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    node = Node('some_node', context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


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
    assert read_settings(settings).grounding == GroundingSettings(LiftSettings())
    tof = read_settings(settings | {'noise.kind': 'tof'})
    assert tof.grounding.lift.noise == TofNoise()


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
    assert not set_to('checkpoint', '/somewhere').successful


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
