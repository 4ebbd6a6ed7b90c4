# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros fetch pictures FOLDER`: the pictures that a data set names by their addresses."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from molmo_ros.cameras.web import NotHad, fetch_picture
from molmo_ros.cli import package_version
from molmo_ros.commands.console import description_column, plain_console
from molmo_ros.errors import UserError
from molmo_ros.evaluation.downloads import (
    GOT,
    LATER,
    OUTCOMES,
    Politeness,
    Refused,
    Wanted,
    download,
    known_gone,
)
from molmo_ros.evaluation.folders import Folder, missing_pictures
from molmo_ros.evaluation.samples import InvalidData

_TIMEOUT_S = 30.0


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    arguments = parser().parse_args(argv)
    images = arguments.images or arguments.folder / 'images'
    try:
        wanted = missing_pictures(Folder(arguments.folder, arguments.split, images))
        images.mkdir(parents=True, exist_ok=True)
    except InvalidData as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f'{images} cannot be made: {error.strerror}') from error
    gone = set() if arguments.again else known_gone(images)
    todo = [one for one in wanted if one.url not in gone][: arguments.limit]
    outcomes = _downloaded(todo, arguments) if todo else {}
    told = [f'{outcomes[name]} {name}' for name in OUTCOMES if outcomes.get(name)]
    if known := len(wanted) - len([one for one in wanted if one.url not in gone]):
        told.append(f'{known} not asked for, because an earlier run could not use them (--again)')
    print(f'{images}: {", ".join(told) or "every picture is there"}')
    return 1 if outcomes.get(LATER) else 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    usual = Politeness()
    parser = argparse.ArgumentParser(
        prog='molmo-ros fetch pictures',
        description='Download the pictures that the tables of a data set name by their addresses '
        '(`image_url`, as in PixMo-Points and PixMo-Count) into FOLDER/images, each checked '
        'against `image_sha256` where there is one. It asks slowly, tries again later what a '
        'server cannot give now, and, interrupted, goes on where it was.',
    )
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='with the tables')
    parser.add_argument('--split', metavar='NAME', help='only tables of that name: test')
    parser.add_argument('--images', type=Path, metavar='DIR', help='where they go')
    parser.add_argument('--limit', type=_count, metavar='N', help='at most so many pictures')
    parser.add_argument(
        '--rate',
        type=_positive,
        default=usual.rate,
        metavar='HZ',
        help='requests a second to one host at most (default: %(default)g)',
    )
    parser.add_argument(
        '--jobs',
        type=_count,
        default=usual.jobs,
        metavar='N',
        help='requests at once (default: %(default)s)',
    )
    parser.add_argument(
        '--retries',
        type=int,
        default=usual.retries,
        metavar='N',
        help='of what may come later, the first after some seconds, each after twice as many '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--contact',
        default='',
        metavar='ADDRESS',
        help='where those can write to whose server is asked: part of the User-Agent',
    )
    parser.add_argument(
        '--again', action='store_true', help='ask also for what an earlier run could not use'
    )
    return parser


def _downloaded(todo: Sequence[Wanted], arguments: argparse.Namespace) -> dict[str, int]:
    contact = f' (+{arguments.contact})' if arguments.contact else ''
    agent = f'molmo-ros/{package_version().strip("()").replace(" ", "-")}{contact}'

    def get(url: str) -> bytes:
        try:
            return fetch_picture(url, _TIMEOUT_S, agent=agent)
        except NotHad as error:
            raise Refused(str(error), error.status, error.retry_after) from error
        except UserError as error:  # too large
            raise Refused(str(error), 413) from error

    politeness = Politeness(arguments.rate, arguments.jobs, max(arguments.retries, 0))
    columns = (description_column(), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
    stop, got = threading.Event(), 0
    with Progress(*columns, console=plain_console(stderr=True)) as progress:
        task = progress.add_task('', total=len(todo))

        def done(one: Wanted, outcome: str, why: str) -> None:
            nonlocal got
            got += outcome == GOT
            progress.update(task, advance=1, description=f'{got} got')

        try:
            return dict(download(todo, get, politeness, done, stop))
        except KeyboardInterrupt:
            print('the same command goes on from here', file=sys.stderr)
            raise


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is not 1 or more')
    return int(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f'{text} is no rate: more than 0, and 100 at most')
    return value
