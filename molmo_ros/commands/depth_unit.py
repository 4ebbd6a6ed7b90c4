# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The option that says what a step of a depth file is, for every command that reads one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.spatial import read_unit

OPTION = '--depth-unit'


def add_depth_unit_argument(parser: argparse.ArgumentParser) -> None:
    """--depth-unit, read as metres a step; None where nobody says it."""
    parser.add_argument(
        OPTION,
        type=_depth_unit,
        default='auto',
        metavar='UNIT',
        help='what a step of the depth is: mm, 0.1mm, 0.25mm, 1/5000 or 1/256 (of a metre), m, or '
        'metres as a number (default: integers are millimetres, floats are metres)',
    )


def with_depth_unit(ros_words: Sequence[str], unit: float | None) -> list[str]:
    """The words of --ros-args, if any, with the unit as the node's parameter."""
    if unit is None:
        return list(ros_words)
    return [*(ros_words or ['--ros-args']), '-p', f'depth_unit:={unit!r}']


def _depth_unit(text: str) -> float | None:
    try:
        return read_unit(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
