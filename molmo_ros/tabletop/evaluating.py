# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval tabletop`: the same, asked about rendered tables."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence

from molmo_ros.commands.measuring import Data, add_measuring_arguments, run
from molmo_ros.errors import UserError
from molmo_ros.spatial import PRESETS, LiftSettings
from molmo_ros.tabletop.samples.data_set import easy_samples, lifted_by, rich_samples
from molmo_ros.tabletop.samples.second_renderer import rerendered
from molmo_ros.tabletop.world import TABLES, check_renderer

TABLE = 'rich'
_SMALLEST, _LARGEST = 64, 4096  # pixels


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    arguments = parser().parse_args(argv)
    check_renderer()
    return run(arguments, _tables)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros eval tabletop',
        description='Ask a checkpoint about rendered tables and report how often it is right, for '
        'each type of question. docs/evaluation.md says what every number means.',
    )
    parser.add_argument(
        '--table',
        choices=tuple(TABLES),
        default=TABLE,
        help='easy: few, distinct things, asked for by colour and kind; rich: many kinds, '
        'patterns and clutter, asked about in every way (default: %(default)s)',
    )
    parser.add_argument(
        '--seeds',
        default='5000:5200',
        metavar='A:B',
        help='scenes A to B - 1 (default: %(default)s); the demo checkpoint was trained on scenes '
        'from 10000 on, all below are new to it',
    )
    parser.add_argument(
        '--view',
        default='640x480',
        metavar='WxH',
        help='size of the pictures, which show the whole view (default: %(default)s)',
    )
    parser.add_argument(
        '--renderer',
        choices=('own', 'bullet'),
        default='own',
        help='bullet: the same tables as another renderer shows them, which no checkpoint was '
        'trained on; needs pybullet (default: %(default)s)',
    )
    parser.add_argument(
        '--noise',
        choices=tuple(PRESETS),
        default='',
        metavar='CAMERA',
        help='lift points as from the depth of that camera, as `ask` does; the depth itself is the '
        f"renderer's, exact: {', '.join(PRESETS)} (default: a tame stereo camera)",
    )
    add_measuring_arguments(parser)
    return parser


def _tables(arguments: argparse.Namespace) -> Data:
    seeds, size = _seeds(arguments.seeds), _size(arguments.view)
    easy = arguments.table == 'easy'
    lift = LiftSettings(preset=arguments.noise)
    samples = lifted_by(lift, (easy_samples if easy else rich_samples)(seeds, size))
    name = f'tabletop {arguments.seeds} ({arguments.table}, {size[0]}x{size[1]})'
    if arguments.renderer == 'bullet':
        samples = rerendered(samples, TABLES[arguments.table], size)
        name += ', second renderer'
    about = {
        'layout': 'tabletop',
        'table': arguments.table,
        'view': arguments.view,
        'renderer': arguments.renderer,
        'noise': arguments.noise,
    }
    return Data(name, itertools.islice(samples, arguments.limit), len(seeds), about=about)


def _seeds(text: str) -> range:
    first, _, last = text.partition(':')
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise UserError(f'--seeds is {text!r}; write first:last+1, for example 5000:5200')
    return range(int(first), int(last))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise UserError(f'--view is {text!r}; write WIDTHxHEIGHT, for example 1280x720')
    size = int(width), int(height)
    if not all(_SMALLEST <= side <= _LARGEST for side in size):
        raise UserError(f'--view is {text!r}; sides are {_SMALLEST} to {_LARGEST} pixels')
    return size
