# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros label import FILE FOLDER`: labels of COCO or Label Studio, to teach with."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from molmo_ros.errors import UserError
from molmo_ros.evaluation.importing import Imported, pictures_of, read_labels_of
from molmo_ros.evaluation.points_folder import IMAGES, MOST_TOLD, POINTS, line_of
from molmo_ros.evaluation.samples import InvalidData
from molmo_ros.output import write_whole


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    arguments = parser().parse_args(argv)
    path, folder = arguments.file, arguments.folder
    if (folder / POINTS).exists():
        raise UserError(f'{folder / POINTS} is there already; name another folder')
    beside = [path.parent / IMAGES, path.parent]
    try:
        found = read_labels_of(path, [arguments.images] if arguments.images else beside)
    except InvalidData as error:
        raise UserError(str(error)) from error
    if found.wrong and not arguments.skip_wrong:
        raise UserError(_told(f'{path}: {len(found.wrong)} things cannot be used', found.wrong))
    for told in (found.notes, found.wrong):
        if told:
            print(_told(f'{path}:', told), file=sys.stderr)
    if arguments.absent:
        found.add_absent()
    if not found.points:
        raise UserError(f'{path} has no points and no boxes')
    _write(found, folder)
    points = sum(map(len, found.points.values()))
    pictures = len(pictures_of(found.points))
    print(f'{folder}: {points} points in {len(found.points)} lines about {pictures} pictures')
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros label import',
        description='Make a folder to teach with and to measure on (images/ and points.jsonl) of '
        'labels in COCO (keypoints, else the middles of boxes) or Label Studio (exported as JSON: '
        'keypoints, and the middles of rectangles and ellipses). Pictures are copied.',
    )
    parser.add_argument('file', type=Path, metavar='FILE', help='the JSON')
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='to be made')
    parser.add_argument(
        '--images', type=Path, metavar='DIR', help='where the pictures are (default: beside FILE)'
    )
    parser.add_argument(
        '--absent',
        action='store_true',
        help='every picture was labelled for every label: where one has none, say that there is '
        'none',
    )
    parser.add_argument(
        '--skip-wrong', action='store_true', help='leave out what cannot be used, and tell it'
    )
    return parser


def _told(head: str, things: Sequence[str]) -> str:
    more = len(things) - MOST_TOLD
    shown = [*things[:MOST_TOLD], *([f'and {more} more'] if more > 0 else [])]
    return '\n  '.join([head, *shown])


def _write(found: Imported, folder: Path) -> None:
    for picture in pictures_of(found.points):
        target = folder / IMAGES / picture
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.files[picture], target)
        except shutil.SameFileError:
            pass
        except OSError as error:
            raise UserError(f'{target} cannot be written: {error.strerror}') from error
    lines = (f'{line_of(*key, points)}\n' for key, points in sorted(found.points.items()))
    write_whole(folder / POINTS, ''.join(lines))
