# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval tabletop`: how often a checkpoint points at what it was asked for."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
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

from molmo_ros.commands import UserError
from molmo_ros.commands.engines import add_local_engine_arguments, checkpoint_of, opened_engine
from molmo_ros.commands.output import as_json, millimetres, seconds
from molmo_ros.engine import Engine
from molmo_ros.evaluation.tabletop import Case, evaluate, summary
from molmo_ros.evaluation.views import Verdict


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    arguments = _parser().parse_args(argv)
    seeds = _seeds(arguments.seeds)
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError('--limit must be 1 or more')
    begun = time.monotonic()
    with opened_engine(arguments) as engine:
        cases = _asked(engine, seeds, arguments.limit)
    report = {
        'data': f'tabletop {arguments.seeds}',
        'checkpoint': checkpoint_of(arguments),
        **summary(cases),
        'wall_s': time.monotonic() - begun,
    }
    if arguments.json:
        print(as_json(report))
    else:
        _show(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='molmo-ros eval',
        description='Render tables, ask for every object on them and for one thing that is not '
        'there, and report how often the point lies on the object, and how far off it is in 3D.',
    )
    parser.add_argument('data', choices=('tabletop',))
    parser.add_argument(
        '--seeds',
        default='5000:5200',
        metavar='A:B',
        help='scenes A to B - 1 (default: %(default)s); the demo checkpoint was trained on scenes '
        'from 10000 on, all below are new to it',
    )
    parser.add_argument('--limit', type=int, metavar='N', help='stop after N questions')
    parser.add_argument('--json', action='store_true', help='print all figures as JSON')
    add_local_engine_arguments(parser)
    return parser


def _seeds(text: str) -> range:
    first, _, last = text.partition(':')
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise UserError(f'--seeds is {text!r}; write first:last+1, for example 5000:5200')
    return range(int(first), int(last))


def _asked(engine: Engine, seeds: range, limit: int | None) -> list[Case]:
    cases: list[Case] = []
    columns = (
        TextColumn('scene'),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn('{task.description}'),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task('', total=len(seeds))
        for case in itertools.islice(evaluate(engine, seeds), limit):
            cases.append(case)
            progress.update(task, completed=case.seed - seeds.start, description=_so_far(cases))
        progress.update(task, completed=cases[-1].seed - seeds.start + 1)
    return cases


def _so_far(cases: list[Case]) -> str:
    present = [case for case in cases if case.query.target is not None]
    return f'{sum(case.verdict is Verdict.HIT for case in present)}/{len(present)} hits'


def _show(report: dict[str, Any]) -> None:
    console = Console()
    hits, position, cost = report['hits'], report['position_of_hits'], report['cost']
    console.print(f'{report["checkpoint"]} on {report["data"]}, {report["scenes"]} scenes\n')
    table = Table(box=None)
    for heading in ('', 'right', 'of', '%', '95 % interval'):
        table.add_column(heading, justify='right' if heading else 'left')
    table.add_row('[bold]on the object', *_rate_cells(hits))
    for names in (hits['by_kind'], hits['by_colour']):
        for name, rate in names.items():
            table.add_row(f'  {name}', *_rate_cells(rate))
    table.add_row('[bold]not there, and said so', *_rate_cells(report['absence']))
    console.print(table)
    console.print(
        f'\nof {hits["n"]} questions for an object {hits["not_found"]} got no point\n'
        f'3D of {position["n"]} hits, from exact depth ({position["not_lifted"]} had no 3D): '
        f'median {millimetres(position["median_error_m"])} from the surface at the pixel '
        f'(90 %: {millimetres(position["p90_error_m"])}), '
        f'median {millimetres(position["median_distance_to_object_m"])} from the object\n'
        f'an answer took {seconds(cost["median_s_new_picture"])} on a new picture and '
        f'{seconds(cost["median_s_same_picture"])} on the same (medians), '
        f'{cost["median_passes"]:g} passes; all of it {report["wall_s"]:.0f} s',
        soft_wrap=True,
    )


def _rate_cells(rate: dict[str, Any]) -> tuple[str, ...]:
    if not rate['n']:
        return '0', '0', '', ''
    low, high = rate['interval_95']
    return (
        str(rate['right']),
        str(rate['n']),
        f'{rate["rate"]:.1%}',
        f'{low:.1%} to {high:.1%}',
    )
