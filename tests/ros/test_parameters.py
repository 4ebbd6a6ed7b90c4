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
    for name, value in [('timeout', -1.0), ('lift.radius', 1e6), ('noise.kind', 'sonar')]:
        refused = set_to(name, value)
        assert not refused.successful and name in refused.reason
    assert not set_to('checkpoint', '/somewhere').successful
