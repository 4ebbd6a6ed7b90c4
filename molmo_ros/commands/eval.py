# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval DATA FOLDER`: how often a checkpoint points at what it was asked for.

`molmo-ros eval tabletop` is the rendered world's own command, and is measured by `run` as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from molmo_ros.commands.console import description_column, plain_console
from molmo_ros.commands.engines import add_local_engine_arguments, checkpoint_of, opened_engine
from molmo_ros.engine import Engine, EngineError
from molmo_ros.errors import UserError
from molmo_ros.evaluation import folders
from molmo_ros.evaluation.evaluate import Evaluated, evaluate
from molmo_ros.evaluation.photometric import CHANGES, changed_samples
from molmo_ros.evaluation.samples import InvalidData, Sample
from molmo_ros.evaluation.summary import summary
from molmo_ros.output import as_json, millimetres, seconds, write_whole

FOLDERS = {
    'pictures': folders.own_pictures,
    'pixmo-points': folders.pixmo_points,
    'pixmo-count': folders.pixmo_count,
    'point-bench': folders.point_bench,
}


@dataclass(frozen=True)
class Data:
    """Samples, how many there will be about (None: not known), and what they are called."""

    name: str
    samples: Iterable[Sample]
    pictures: int
    left_out: int = 0


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    return run(parser().parse_args(argv), _folder)


def run(arguments: argparse.Namespace, data_of: Callable[[argparse.Namespace], Data]) -> int:
    """Measure on the data that the arguments name; those of `add_measuring_arguments` say how.

    Returns the exit status. Raises UserError.
    """
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError('--limit must be 1 or more')
    if arguments.report and not arguments.report.absolute().parent.is_dir():
        raise UserError(f'--report: there is no folder {arguments.report.parent}')
    try:
        data = _made_worse(data_of(arguments), arguments.photometric)
        begun = time.monotonic()
        with opened_engine(arguments) as engine:
            results = _asked(engine, data, arguments)
    except InvalidData as error:
        raise UserError(str(error)) from error
    figures = {
        'data': data.name,
        'checkpoint': checkpoint_of(arguments),
        **summary(results),
        'left_out': data.left_out,
        'wall_s': time.monotonic() - begun,
    }
    # First, so that a full disk does not cost them.
    if arguments.json:
        print(as_json(figures), flush=True)
    else:
        _show(figures)
    if arguments.report:
        from molmo_ros.evaluation.report.page import report_page

        write_whole(arguments.report, report_page(figures, results))
        if not arguments.json:
            print(f'report: {arguments.report}')
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros eval',
        description='Ask a checkpoint the questions of a data set and report how often it is '
        'right, for each type of question. docs/evaluation.md says what every number means and '
        'how the folders are laid out.',
        epilog='Rendered tables are a data set too: molmo-ros eval tabletop --help',
    )
    parser.add_argument(
        'data',
        choices=tuple(FOLDERS),
        help='the layout of the folder: your own pictures as for finetuning, PixMo-Points, '
        'PixMo-Count, Point-Bench',
    )
    parser.add_argument('folder', type=Path, metavar='FOLDER', help='where it is')
    parser.add_argument(
        '--split', metavar='NAME', help='only tables of that name: test, validation'
    )
    parser.add_argument('--images', type=Path, metavar='DIR', help='where the pictures are')
    parser.add_argument(
        '--skip-missing', action='store_true', help='leave out questions that lack their picture'
    )
    add_measuring_arguments(parser)
    return parser


def add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    """Those that every data set shares: what to ask, what to write, which engine."""
    parser.add_argument('--limit', type=int, metavar='N', help='stop after N questions')
    parser.add_argument('--json', action='store_true', help='print all figures as JSON')
    parser.add_argument(
        '--report',
        type=Path,
        metavar='HTML',
        help='write a page with the figures and pictures of the best, the worst and some answers',
    )
    parser.add_argument(
        '--photometric',
        choices=CHANGES,
        metavar='CHANGE',
        help=f'make the pictures worse: {", ".join(CHANGES)}; the same way each time',
    )
    parser.add_argument(
        '--one-by-one',
        action='store_true',
        help='ask each question by itself, to time answers; by default those about one picture '
        'are answered together',
    )
    add_local_engine_arguments(parser)


def _made_worse(data: Data, change: str | None) -> Data:
    if change is None:
        return data
    samples = changed_samples(data.samples, change)
    return Data(f'{data.name}, {change}', samples, data.pictures, data.left_out)


def _folder(arguments: argparse.Namespace) -> Data:
    folder = folders.Folder(
        arguments.folder, arguments.split, arguments.images, arguments.skip_missing
    )
    found = FOLDERS[arguments.data](folder, arguments.limit)
    pictures = len({sample.image_id for sample in found.samples})
    name = f'{arguments.data} {arguments.folder}' + (
        f' ({arguments.split})' if arguments.split else ''
    )
    return Data(name, found.samples, pictures, found.left_out)


def _asked(engine: Engine, data: Data, arguments: argparse.Namespace) -> list[Evaluated]:
    results: list[Evaluated] = []
    columns = (
        TextColumn('picture'),
        MofNCompleteColumn(),
        BarColumn(),
        description_column(),
        TimeRemainingColumn(),
    )
    right, pictures = 0, 0
    with Progress(*columns, console=plain_console(stderr=True)) as progress:
        task = progress.add_task('', total=data.pictures)
        try:
            for result in evaluate(engine, data.samples, one_by_one=arguments.one_by_one):
                results.append(result)
                right += result.judgement.verdict.right
                pictures += result.first
                told = f'{right}/{len(results)} right'
                progress.update(task, completed=pictures, description=told)
        except EngineError as error:
            done = f'after {len(results)} questions: ' if results else ''
            raise UserError(f'{done}{error}') from error
    return results


def _show(figures: dict[str, Any]) -> None:
    console = plain_console()
    position, cost = figures['position_of_hits'], figures['cost']
    calibration = figures['calibration']
    console.print(
        f'{figures["checkpoint"]} on {figures["data"]}: {figures["pictures"]} pictures, '
        f'{figures["questions"]} questions\n',
        soft_wrap=True,
    )
    console.print(_table(figures))
    if figures['left_out']:
        console.print(f'\n{figures["left_out"]} questions were left out: no picture')
    if position['n']:
        console.print(
            f'\n3D of {position["n"]} hits, from exact depth ({position["not_lifted"]} had no 3D): '
            f'median {millimetres(position["median_error_m"])} from the surface at the pixel '
            f'(90 %: {millimetres(position["p90_error_m"])}), '
            f'median {millimetres(position["median_distance_to_object_m"])} from the object',
            soft_wrap=True,
        )
    if calibration['n']:
        console.print(
            f'confidence of {calibration["n"]} points: off by {calibration["error"]:.1%} on '
            'average (expected calibration error)',
            soft_wrap=True,
        )
    console.print(
        f'an answer took {seconds(cost["median_s_new_picture"])} on a new picture and '
        f'{seconds(cost["median_s_same_picture"])} on the same (medians), '
        f'{cost["median_passes"]:g} passes; all of it {figures["wall_s"]:.0f} s',
        soft_wrap=True,
    )


def _table(figures: dict[str, Any]) -> Table:
    table = Table(box=None)
    for heading in ('', 'right', 'of', '%', '95 % interval', 'F1'):
        table.add_column(heading, justify='right' if heading else 'left')
    for name, rate in figures['topics'].items():
        table.add_row(Text(name, 'bold'), *_rate_cells(rate))
        if name == 'count':
            table.add_row('  up to 6', *_rate_cells(figures['counts']['up_to_6']))
    for fact, values in figures['by'].items():
        table.add_row(Text(f'\nby {fact}', 'dim'))
        for value, rate in values.items():
            table.add_row(f'  {value}', *_rate_cells(rate))
    return table


def _rate_cells(rate: dict[str, Any]) -> tuple[str, ...]:
    if not rate['n']:
        return '0', '0', '', '', ''
    low, high = rate['interval_95']
    f1 = f'{rate["f1"]:.3f}' if 'f1' in rate else ''
    share = f'{rate["rate"]:.1%}'
    return str(rate['right']), str(rate['n']), share, f'{low:.1%} to {high:.1%}', f1
