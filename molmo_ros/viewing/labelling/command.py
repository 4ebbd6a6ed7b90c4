# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros label FOLDER`: say by clicks where things are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from molmo_ros.commands.engines import add_local_engine_arguments, named_engine, tell_what_answers
from molmo_ros.extras import require
from molmo_ros.viewing.command import add_door_arguments, told_to_end, until_told
from molmo_ros.viewing.labelling.book import LabelBook


def main(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl-C; returns the exit status. Raises UserError."""
    arguments = parser().parse_args(argv)
    require('viser', 'this command')
    book = LabelBook(arguments.folder)
    label = arguments.label or next(iter(book.labels), '')
    tell_what_answers(arguments)
    from molmo_ros.viewing.labelling.page import served

    where = arguments.host, arguments.port, arguments.token
    with (
        told_to_end() as ending,
        served(book, partial(named_engine, arguments), *where, label) as (_, address),
    ):
        until_told(ending, address)
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros label',
        description='A page in the browser on which one says where things are in pictures: the '
        'model proposes, a click adds, moves or removes a point, and FOLDER/points.jsonl is '
        'written, which `molmo-ros finetune` learns from and `molmo-ros eval pictures` measures '
        'on.',
        epilog='Labels that others have made: molmo-ros label import --help',
    )
    parser.add_argument(
        'folder', type=Path, metavar='FOLDER', help='with the pictures in FOLDER/images'
    )
    parser.add_argument(
        '--label', default='', metavar='NAME', help='what to begin with: the words to ask with'
    )
    add_door_arguments(parser)
    add_local_engine_arguments(parser)
    return parser
