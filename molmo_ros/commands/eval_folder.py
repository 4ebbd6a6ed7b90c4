# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share that measure on a folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from molmo_ros.commands.measuring import Data, add_measuring_arguments, run
from molmo_ros.evaluation.folders import DataSet, Folder

Read = Callable[[Folder, int | None], DataSet]
FIGURES = 'docs/evaluation.md says what every number means.'


def folder_parser(layout: str, description: str, folder: str) -> argparse.ArgumentParser:
    """Of the arguments that every folder takes. folder: what is in it."""
    parser = argparse.ArgumentParser(
        prog=f'molmo-ros eval {layout}', description=f'{description} {FIGURES}'
    )
    parser.add_argument('folder', type=Path, metavar='FOLDER', help=folder)
    add_measuring_arguments(parser)
    return parser


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Of folders that may lack some of their pictures."""
    group = parser.add_argument_group('pictures')
    group.add_argument('--images', type=Path, metavar='DIR', help='where they are')
    group.add_argument(
        '--skip-missing', action='store_true', help='leave out questions that lack their picture'
    )


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Of folders with tables."""
    parser.add_argument(
        '--split', metavar='NAME', help='only tables of that name: test, validation'
    )
    add_picture_arguments(parser)


def measured(arguments: argparse.Namespace, layout: str, read: Read) -> int:
    """Measure on a folder; returns the exit status. Raises UserError."""

    def data(arguments: argparse.Namespace) -> Data:
        fields = vars(arguments)
        split = fields.get('split')
        folder = Folder(
            arguments.folder, split, fields.get('images'), fields.get('skip_missing', False)
        )
        found = read(folder, arguments.limit)
        pictures = len({sample.image_id for sample in found.samples})
        name = arguments.folder.resolve().name + (f', {split}' if split else '')
        about = {'layout': layout, 'split': split or ''}
        return Data(f'{layout} {name}', found.samples, pictures, found.left_out, about)

    return run(arguments, data)
