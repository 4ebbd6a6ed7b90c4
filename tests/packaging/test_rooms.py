# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which room of the package may know which, and what it may cost to import one."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / 'molmo_ros'
# The modules beside the rooms: where files are, what users are told, how figures are written.
ANYBODY = {'share', 'errors', 'output'}
LIBRARY = {'engine', 'evaluation', 'finetuning', 'grounding', 'pointing', 'spatial'}
ROOMS = {
    **{module: set[str]() for module in ANYBODY},
    'model': set(),
    'pointing': set(),
    'spatial': set(),
    'grounding': {'pointing', 'spatial'},
    'engine': {'model', 'pointing'},
    'cameras': {'grounding', 'spatial'},
    'ros': {'engine', 'grounding', 'pointing', 'spatial'},
    'evaluation': {'engine', 'grounding', 'pointing', 'spatial'},
    # What one teaches with is laid out as what one measures on.
    'finetuning': {'engine', 'evaluation', 'model', 'pointing'},
    'commands': LIBRARY | {'cameras', 'model', 'ros'},
    'tabletop': LIBRARY | {'cameras', 'commands', 'ros'},
    # It names the modules of commands, and imports the one that was asked for.
    'cli': set(),
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a module imports anywhere in it, also inside functions."""
    package = ['molmo_ros', *path.relative_to(PACKAGE).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = '.'.join([*base, *filter(None, [node.module])])
            names |= {f'{module}.{alias.name}' for alias in node.names}
    parts = [name.split('.') for name in names]
    return {p[1] for p in parts if p[0] == 'molmo_ros' and len(p) > 1} & set(ROOMS)


def test_every_module_belongs_to_a_room_with_known_neighbours():
    assert {room_of(path) for path in PACKAGE.rglob('*.py')} - {'__init__'} == set(ROOMS)


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_knows_only_its_neighbours(room):
    for path in (path for path in PACKAGE.rglob('*.py') if room_of(path) == room):
        strangers = imported_rooms(path) - ROOMS[room] - ANYBODY - {room}
        assert not strangers, f'{path.relative_to(PACKAGE)} imports {strangers}'


@pytest.mark.parametrize(
    'module, absent',
    [
        ('molmo_ros', 'torch transformers numpy rclpy'),
        ('molmo_ros.pointing', 'torch transformers numpy rclpy'),
        ('molmo_ros.spatial', 'torch transformers rclpy'),
        ('molmo_ros.engine', 'torch transformers rclpy'),
        ('molmo_ros.grounding.picking', 'torch transformers rclpy'),
        ('molmo_ros.cameras.files', 'torch transformers rclpy'),
        ('molmo_ros.commands.ask', 'torch transformers rclpy embreex'),
        ('molmo_ros.cli', 'torch transformers rclpy'),
        ('molmo_ros.commands.finetune', 'torch transformers rclpy peft'),
        ('molmo_ros.ros.point_query_node', 'torch transformers embreex'),
    ],
)
def test_importing_a_room_is_light(module, absent):
    code = f'import {module}, sys; print(*sys.modules.keys() & set({absent.split()}))'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
