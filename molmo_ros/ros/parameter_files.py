# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters written out for people: as a YAML file to start a node with, and as a page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from molmo_ros.ros.parameters import Parameter, Value

Nodes = Mapping[str, Sequence[Parameter]]  # the parameters of each node, by its name


def yaml_text(nodes: Nodes) -> str:
    """config/perception.yaml: every parameter with its default, under any namespace."""
    lines = [
        '# Copyright 2026 The molmo_ros authors',
        '# SPDX-License-Identifier: Apache-2.0',
        '# Every parameter with its default. Written by docs/write_parameters.py; copy it,',
        '# keep what you change, and launch with params_file:=<your file>.',
    ]
    for node, parameters in nodes.items():
        lines += [f'/**/{node}:', '  ros__parameters:']
        groups: list[str] = []
        for parameter in parameters:
            *path, name = parameter.name.split('.')
            for depth, group in enumerate(path):
                if groups[: depth + 1] != path[: depth + 1]:
                    lines.append(f'{"  " * (depth + 2)}{group}:')
            groups = path
            indent = '  ' * (len(path) + 2)
            note = f'{parameter.description}{_allowed(parameter)}'
            lines += textwrap.wrap(
                note, 98, initial_indent=f'{indent}# ', subsequent_indent=f'{indent}# '
            )
            lines.append(f'{indent}{name}: {_yaml_value(parameter.default)}')
    return '\n'.join(lines) + '\n'


def markdown_text(nodes: Nodes) -> str:
    """docs/parameters.md."""
    lines = [
        '# Parameters',
        '',
        'All are declared with description and range (`ros2 param describe` shows them) and stand',
        'in [config/perception.yaml](../config/perception.yaml). *fixed* ones take effect when the',
        'node starts, *configured* ones when it is configured, and may be changed while it is',
        'not; the others may be changed at any time (`ros2 param set`) and count from the next',
        'question on. `use_sim_time` works as everywhere in ROS 2.',
        'This page is written by `python docs/write_parameters.py`.',
    ]
    for node, parameters in nodes.items():
        lines += [
            '',
            f'## `{node}`',
            '',
            '| name | default | range | meaning |',
            '|---|---|---|---|',
        ]
        for p in parameters:
            fixed = ' *fixed*' if p.fixed else ' *configured*' if p.configured else ''
            default = _yaml_value(p.default)
            lines.append(f'| `{p.name}` | `{default}` | {_range(p)} | {p.description}{fixed} |')
    return '\n'.join(lines) + '\n'


def _yaml_value(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return ', '.join(f'`{choice}`' for choice in parameter.choices)
    if parameter.range is None:
        return ''
    low, high = parameter.range
    return f'{low:.10g} to {high:.10g}'


def _allowed(parameter: Parameter) -> str:
    allowed = _range(parameter).replace('`', '')
    return f' [{allowed}]' if allowed else ''
