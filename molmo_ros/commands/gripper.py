# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`--grasp` and `--gripper`: how the things that are pointed at can be taken."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.errors import UserError, shortened
from molmo_ros.spatial import Approach, GraspSettings, Unseen
from molmo_ros.spatial.grasp import read_box
from molmo_ros.spatial.tool_frames import TOOL_FRAMES

# Names as of the node's parameters, and ranges as they have them.
_LENGTHS = {
    'opening': ('opening', 0.001, 1.0),
    'finger_width': ('finger', 0.001, 0.2),
    'finger_thickness': ('finger_thickness', 0.001, 0.2),
    'finger_length': ('finger_length', 0.005, 0.5),
    'clearance': ('clearance', 0.0, 0.1),
    'standoff': ('standoff', 0.0, 2.0),
}
_CHOICES = {
    'tool_frame': tuple(TOOL_FRAMES),
    'unseen': tuple(unseen.value for unseen in Unseen),
    'approach': (Approach.ABOVE.value, Approach.NORMAL.value),
}


def add_gripper_arguments(parser: argparse.ArgumentParser) -> None:
    """`--grasp` and `--gripper`."""
    group = parser.add_argument_group('grasps')
    group.add_argument(
        '--grasp',
        action='store_true',
        help='measure what each point is on, and find how a gripper takes it and where something '
        'can be put down; needs depth and a calibration. --json tells all of it (docs/picking.md)',
    )
    group.add_argument(
        '--gripper',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='with --grasp; may be given several times: opening, finger_width, finger_thickness, '
        "finger_length, clearance, standoff in metres; palm='x y z'; "
        f'tool_frame ({", ".join(TOOL_FRAMES)}); unseen (free, occupied); approach (above, normal)',
    )


def read_gripper(arguments: argparse.Namespace) -> GraspSettings | None:
    """The settings; None where nobody wants to know. Raises UserError."""
    if not arguments.grasp and not arguments.gripper:
        return None
    return _settings(arguments.gripper)


def _settings(given: Sequence[str]) -> GraspSettings:
    values: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition('=')
        if not equals or name not in (*_LENGTHS, *_CHOICES, 'palm'):
            raise UserError(
                f"--gripper '{shortened(text)}': give NAME=VALUE with a NAME of "
                f'{", ".join((*_LENGTHS, "palm", *_CHOICES))}'
            )
        if name == 'palm':
            try:
                values['palm'] = read_box(value, '--gripper palm')
            except ValueError as error:
                raise UserError(str(error)) from error
        elif name in _LENGTHS:
            field, low, high = _LENGTHS[name]
            values[field] = _length(name, value, low, high)
        else:
            values[name] = _choice(name, value)
    return GraspSettings(**values)  # type: ignore[arg-type]


def _length(name: str, value: str, low: float, high: float) -> float:
    try:
        metres = float(value)
    except ValueError:
        metres = float('nan')
    if not low <= metres <= high:
        raise UserError(
            f"--gripper {name} is '{shortened(value)}', not metres from {low:g} to {high:g}"
        )
    return metres


def _choice(name: str, value: str) -> object:
    if value not in _CHOICES[name]:
        raise UserError(
            f"--gripper {name} is '{shortened(value)}', not one of {', '.join(_CHOICES[name])}"
        )
    kinds = {'unseen': Unseen, 'approach': Approach}
    return kinds[name](value) if name in kinds else value
