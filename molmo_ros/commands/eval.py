# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval DATA`: how often a checkpoint points at what it was asked for."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from molmo_ros.camera.tabletop import TABLES
from molmo_ros.commands import UserError
from molmo_ros.commands.engines import add_local_engine_arguments, checkpoint_of, opened_engine
from molmo_ros.commands.output import as_json, millimetres, seconds
from molmo_ros.engine import Engine, EngineError
from molmo_ros.evaluation import folders, tabletop
from molmo_ros.evaluation.photometric import CHANGES, changed_samples
from molmo_ros.evaluation.running import Result, evaluate
from molmo_ros.evaluation.samples import InvalidData, Sample
from molmo_ros.evaluation.second_renderer import rerendered
from molmo_ros.evaluation.summary import summary

FOLDERS = {
    'pictures': folders.own_pictures,
    'pixmo-points': folders.pixmo_points,
    'pixmo-count': folders.pixmo_count,
    'point-bench': folders.point_bench,
}
TABLE = 'rich'
_SMALLEST, _LARGEST = 64, 4096


@dataclass(frozen=True)
class _Data:
    """Samples, how many there will be about (None: not known), and what they are called."""

    name: str
    samples: Iterable[Sample]
    pictures: int
    left_out: int = 0


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    arguments = _parser().parse_args(argv)
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError('--limit must be 1 or more')
    if arguments.report and not arguments.report.absolute().parent.is_dir():
        raise UserError(f'--report: there is no folder {arguments.report.parent}')
    try:
        data = _data(arguments)
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
    if arguments.report:
        from molmo_ros.commands.report import report_page

        arguments.report.write_text(report_page(figures, results), encoding='utf-8')
    if arguments.json:
        print(as_json(figures))
    else:
        _show(figures, arguments.report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='molmo-ros eval',
        description='Ask a checkpoint the questions of a data set and report how often it is '
        'right, for each type of question. docs/evaluation.md says what every number means and '
        'how the folders are laid out.',
    )
    parser.add_argument(
        'data',
        choices=('tabletop', *FOLDERS),
        help='rendered tables, or a folder: your own pictures as for finetuning, PixMo-Points, '
        'PixMo-Count, Point-Bench',
    )
    parser.add_argument('folder', type=Path, nargs='?', metavar='FOLDER', help='where it is')
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
    _add_tabletop_arguments(parser.add_argument_group('tabletop'))
    _add_folder_arguments(parser.add_argument_group('folders'))
    add_local_engine_arguments(parser)
    return parser


def _add_tabletop_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--table',
        choices=tuple(TABLES),
        default=TABLE,
        help='easy: few, distinct things, asked for by colour and kind; rich: many kinds, '
        'patterns and clutter, asked about in every way (default: %(default)s)',
    )
    group.add_argument(
        '--seeds',
        default='5000:5200',
        metavar='A:B',
        help='scenes A to B - 1 (default: %(default)s); the demo checkpoint was trained on scenes '
        'from 10000 on, all below are new to it',
    )
    group.add_argument(
        '--view',
        default='640x480',
        metavar='WxH',
        help='size of the pictures, which show the whole view (default: %(default)s)',
    )
    group.add_argument(
        '--renderer',
        choices=('own', 'bullet'),
        default='own',
        help='bullet: the same tables as another renderer shows them, which no checkpoint was '
        'trained on; needs pybullet (default: %(default)s)',
    )


def _add_folder_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--split', metavar='NAME', help='only tables of that name: test, validation')
    group.add_argument('--images', type=Path, metavar='DIR', help='where the pictures are')
    group.add_argument(
        '--skip-missing', action='store_true', help='leave out questions that lack their picture'
    )


def _data(arguments: argparse.Namespace) -> _Data:
    data = (_tabletop if arguments.data == 'tabletop' else _folder)(arguments)
    if arguments.photometric is None:
        return data
    samples = changed_samples(data.samples, arguments.photometric)
    name = f'{data.name}, {arguments.photometric}'
    return _Data(name, samples, data.pictures, data.left_out)


def _tabletop(arguments: argparse.Namespace) -> _Data:
    if arguments.folder is not None:
        raise UserError('tabletop is rendered, it takes no folder')
    seeds, size = _seeds(arguments.seeds), _size(arguments.view)
    easy = arguments.table == 'easy'
    samples = (tabletop.easy_samples if easy else tabletop.rich_samples)(seeds, size)
    name = f'tabletop {arguments.seeds} ({arguments.table}, {size[0]}x{size[1]})'
    if arguments.renderer == 'bullet':
        samples = rerendered(samples, TABLES[arguments.table], size)
        name += ', second renderer'
    return _Data(name, itertools.islice(samples, arguments.limit), len(seeds))


def _folder(arguments: argparse.Namespace) -> _Data:
    if arguments.folder is None:
        raise UserError(
            f'{arguments.data} needs its folder: molmo-ros eval {arguments.data} FOLDER'
        )
    if arguments.view != '640x480':
        raise UserError('--view is for tabletop; pictures on disk have their size')
    folder = folders.Folder(
        arguments.folder, arguments.split, arguments.images, arguments.skip_missing
    )
    found = FOLDERS[arguments.data](folder, arguments.limit)
    pictures = len({sample.image_id for sample in found.samples})
    name = f'{arguments.data} {arguments.folder}' + (
        f' ({arguments.split})' if arguments.split else ''
    )
    return _Data(name, found.samples, pictures, found.left_out)


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


def _asked(engine: Engine, data: _Data, arguments: argparse.Namespace) -> list[Result]:
    results: list[Result] = []
    columns = (
        TextColumn('picture'),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn('{task.description}'),
        TimeRemainingColumn(),
    )
    right, pictures = 0, 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
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


def _show(figures: dict[str, Any], page: Path | None) -> None:
    console = Console()
    position, cost = figures['position_of_hits'], figures['cost']
    calibration = figures['calibration']
    console.print(
        f'{figures["checkpoint"]} on {figures["data"]}: {figures["pictures"]} pictures, '
        f'{figures["questions"]} questions\n',
        highlight=False,
        markup=False,
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
    if page:
        console.print(f'report: {page}', markup=False, soft_wrap=True)


def _table(figures: dict[str, Any]) -> Table:
    table = Table(box=None)
    for heading in ('', 'right', 'of', '%', '95 % interval', 'F1'):
        table.add_column(heading, justify='right' if heading else 'left')
    for name, rate in figures['topics'].items():
        table.add_row(f'[bold]{name}', *_rate_cells(rate))
        if name == 'count':
            table.add_row('  up to 6', *_rate_cells(figures['counts']['up_to_6']))
    for fact, values in figures['by'].items():
        table.add_row(f'\n[dim]by {fact}')
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
