# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which room of the package may know which, and what it may cost to import one."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / 'molmo_ros'
ROOMS = {
    'model': set(),
    'pointing': set(),
    'spatial': set(),
    'camera': {'spatial'},
    'engine': {'model', 'pointing'},
    'finetuning': {'engine', 'model', 'pointing'},
    # Pictures with points are one layout, to learn from and to be measured on.
    'evaluation': {'camera', 'engine', 'finetuning', 'pointing', 'spatial'},
    'ros': {'camera', 'engine', 'pointing', 'spatial'},
}


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
    return {p[1] for p in parts if p[0] == 'molmo_ros' and len(p) > 1 and p[1] in ROOMS}


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_knows_only_its_neighbours(room):
    for path in (PACKAGE / room).rglob('*.py'):
        strangers = imported_rooms(path) - ROOMS[room] - {room}
        assert not strangers, f'{path.relative_to(PACKAGE)} imports {strangers}'


@pytest.mark.parametrize(
    'module, absent',
    [
        ('molmo_ros', 'torch transformers numpy rclpy'),
        ('molmo_ros.pointing', 'torch transformers numpy rclpy'),
        ('molmo_ros.spatial', 'torch transformers rclpy'),
        ('molmo_ros.engine', 'torch transformers rclpy'),
        ('molmo_ros.camera', 'torch transformers rclpy'),
        ('molmo_ros.cli', 'torch transformers rclpy'),
        ('molmo_ros.commands.finetune', 'torch transformers rclpy peft'),
        ('molmo_ros.ros.point_query_node', 'torch transformers'),
    ],
)
def test_importing_a_room_is_light(module, absent):
    code = f'import {module}, sys; print(*sys.modules.keys() & set({absent.split()}))'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
