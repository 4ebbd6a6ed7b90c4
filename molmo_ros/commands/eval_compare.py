# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval compare A B`: two runs over the same questions."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from molmo_ros.commands.console import plain_console
from molmo_ros.errors import UserError
from molmo_ros.evaluation.comparing import comparison, paired
from molmo_ros.evaluation.predictions import read_predictions
from molmo_ros.evaluation.records import PictureOf
from molmo_ros.evaluation.samples import InvalidData
from molmo_ros.output import as_json, write_whole


def run(arguments: argparse.Namespace, picture_of: PictureOf) -> int:
    """Compare what the arguments name; returns the exit status. Raises UserError."""
    try:
        a, b = read_predictions(arguments.a), read_predictions(arguments.b)
        found = paired(a, b, picture_of)
    except InvalidData as error:
        raise UserError(str(error)) from error
    figures = comparison(a, b, found)
    if arguments.json:
        print(as_json(figures), flush=True)
    else:
        show(figures)
    if arguments.report:
        from molmo_ros.evaluation.report.comparison import comparison_page

        write_whole(arguments.report, comparison_page(figures, found.pairs))
        if not arguments.json:
            print(f'report: {arguments.report}')
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros eval compare',
        description='Compare two runs of `molmo-ros eval ... --predictions` over the same '
        'questions: how often each is right, how often only one of them, and whether chance '
        "explains that (McNemar's exact test).",
    )
    parser.add_argument('a', type=Path, metavar='A', help='predictions.jsonl of the first run')
    parser.add_argument('b', type=Path, metavar='B', help='predictions.jsonl of the second')
    parser.add_argument('--json', action='store_true', help='print all figures as JSON')
    parser.add_argument(
        '--report',
        type=Path,
        metavar='HTML',
        help='write a page with the figures and, side by side, the answers that differ',
    )
    return parser


def show(figures: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a comparison."""
    from molmo_ros.evaluation.report.comparison import names_of, notes, p_value, points

    console = console or plain_console()
    a, b = names_of(figures)
    console.print(f'A: {a}\nB: {b}', soft_wrap=True)
    for note in notes(figures):
        console.print(note, soft_wrap=True)
    table = Table(box=None)
    for heading in ('', 'of', 'A %', 'B %', 'B - A', '95 % interval', 'only A', 'only B', 'p'):
        table.add_column(heading, justify='right' if heading else 'left')
    # Not a dict: 'all' is a type of question too.
    rows = [(Text('every question', 'bold'), figures['all'])]
    rows += [(Text(f'  {topic}'), one) for topic, one in figures['topics'].items()]
    for name, one in rows:
        low, high = one['interval_95']
        table.add_row(
            name,
            str(one['n']),
            *(f'{100 * one[side]["rate"]:.1f}' for side in 'ab'),
            points(one['difference']),
            f'{points(low)} to {points(high)}',
            str(one['only_a_right']),
            str(one['only_b_right']),
            p_value(one['p']),
        )
    console.print(table)
