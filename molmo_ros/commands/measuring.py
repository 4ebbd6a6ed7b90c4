# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every `molmo-ros eval DATA` shares: asking, and telling what came of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
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

from molmo_ros.cli import package_version
from molmo_ros.commands.console import description_column, plain_console
from molmo_ros.commands.engines import (
    add_local_engine_arguments,
    checkpoint_of,
    model_name,
    opened_engine,
)
from molmo_ros.engine import Engine, EngineError
from molmo_ros.errors import UserError
from molmo_ros.evaluation.evaluate import Evaluated, evaluate, nothing_known
from molmo_ros.evaluation.photometric import CHANGES, changed_samples
from molmo_ros.evaluation.predictions import PredictionsFile
from molmo_ros.evaluation.samples import InvalidData, Sample
from molmo_ros.evaluation.summary import figures_of
from molmo_ros.evaluation.taught import read_taught, told_apart
from molmo_ros.output import as_json, millimetres, seconds, write_whole


@dataclass(frozen=True)
class Data:
    """Samples, how many pictures there will be about, and what they are called.

    about: what else tells one run on them from another, to go on with the same alone.
    """

    name: str
    samples: Iterable[Sample]
    pictures: int
    left_out: int = 0
    about: Mapping[str, str] = field(default_factory=dict)


def run(arguments: argparse.Namespace, data_of: Callable[[argparse.Namespace], Data]) -> int:
    """Measure on the data that the arguments name; those of `add_measuring_arguments` say how.

    Returns the exit status. Raises UserError.
    """
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError('--limit must be 1 or more')
    for option in ('report', 'predictions'):
        path = getattr(arguments, option)
        if path and not path.absolute().parent.is_dir():
            raise UserError(f'--{option}: there is no folder {path.parent}')
    try:
        data = _told_apart(data_of(arguments), arguments)
        data = _named_once(_made_worse(data, arguments.photometric))
        begun = time.monotonic()
        with opened_engine(arguments) as engine:
            settings = _settings(arguments, data)
            results = _answers(engine, data, arguments, settings)
    except InvalidData as error:
        raise UserError(str(error)) from error
    figures = figures_of(settings, results, data.left_out, time.monotonic() - begun)
    tell(figures, results, arguments)
    return 0


def tell(figures: dict[str, Any], results: list[Evaluated], arguments: argparse.Namespace) -> None:
    """Print the figures, and write the report: as --json and --report say. Raises UserError."""
    for warning in figures['warnings']:
        print(warning, file=sys.stderr)
    # First, so that a full disk does not cost them.
    if arguments.json:
        print(as_json(figures), flush=True)
    else:
        _show(figures)
    if arguments.report:
        from molmo_ros.evaluation.report.page import report_page

        try:
            page = report_page(figures, results)
        except InvalidData as error:
            raise UserError(str(error)) from error
        write_whole(arguments.report, page)
        if not arguments.json:
            print(f'report: {arguments.report}')


def add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    """Those that every data set shares: what to ask, what to write, which engine."""
    parser.add_argument('--limit', type=int, metavar='N', help='stop after N questions')
    add_telling_arguments(parser)
    parser.add_argument(
        '--predictions',
        type=Path,
        metavar='JSONL',
        help='keep every answer there, with what is needed to judge it again: for `eval compare` '
        'and `eval rescore`. A run that was interrupted goes on from it',
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
    parser.add_argument(
        '--skip-taught',
        action='store_true',
        help='leave out pictures that the adapter, or the merged checkpoint, was taught from',
    )
    add_local_engine_arguments(parser)


def add_telling_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `tell`."""
    parser.add_argument('--json', action='store_true', help='print all figures as JSON')
    parser.add_argument(
        '--report',
        type=Path,
        metavar='HTML',
        help='write a page with the figures and pictures of the best, the worst and some answers',
    )


def _told_apart(data: Data, arguments: argparse.Namespace) -> Data:
    """What is asked about pictures that the checkpoint was taught from, told from the rest."""
    folders = [checkpoint_of(arguments), arguments.adapter]
    known = frozenset().union(*(read_taught(Path(folder)) for folder in folders if folder))
    if not known and arguments.skip_taught:
        raise UserError('--skip-taught: nothing says what this checkpoint was taught from')
    return replace(data, samples=told_apart(data.samples, known, arguments.skip_taught))


def _made_worse(data: Data, change: str | None) -> Data:
    if change is None:
        return data
    samples = changed_samples(data.samples, change)
    return replace(data, name=f'{data.name}, {change}', samples=samples)


def _named_once(data: Data) -> Data:
    return replace(data, samples=_with_numbers(data.samples))


def _with_numbers(samples: Iterable[Sample]) -> Iterator[Sample]:
    """What is asked a second time is told apart, for its answer is kept by its name."""
    times: dict[str, int] = {}
    for sample in samples:
        times[sample.id] = number = times.get(sample.id, 0) + 1
        yield sample if number == 1 else replace(sample, id=f'{sample.id} ({number})')


def _settings(arguments: argparse.Namespace, data: Data) -> dict[str, Any]:
    """What was run: of which data, by which model, and how."""
    # It imports torch, which the engine has done by now.
    from molmo_ros.model.identity import identity_of
    from molmo_ros.model.options import LoadOptions

    adapter = Path(arguments.adapter) if arguments.adapter else None
    options = LoadOptions(
        arguments.device, arguments.dtype, arguments.max_crops, arguments.quantize, adapter
    )
    checkpoint = checkpoint_of(arguments)
    identity = asdict(identity_of(checkpoint, options))
    return {
        'molmo_ros': package_version(),
        'data': data.name,
        'about': dict(data.about),
        'model': {'name': model_name(arguments), **identity},
        'photometric': arguments.photometric or 'none',
        'skip_taught': arguments.skip_taught,
        'one_by_one': arguments.one_by_one,
    }


def _answers(
    engine: Engine, data: Data, arguments: argparse.Namespace, settings: Mapping[str, Any]
) -> list[Evaluated]:
    """All answers, those of an earlier run among them. Raises InvalidData, UserError."""
    if arguments.predictions is None:
        return _asked(engine, data, arguments.one_by_one)
    try:
        kept = PredictionsFile(arguments.predictions, settings)
        if kept.done:
            print(f'{arguments.predictions} has {len(kept.done)} answers already', file=sys.stderr)
        try:
            return _asked(engine, data, arguments.one_by_one, kept)
        except KeyboardInterrupt:
            print(f'{arguments.predictions}: the same command goes on from here', file=sys.stderr)
            raise
        finally:
            kept.close()
    except OSError as error:
        why = error.strerror or error
        raise UserError(f'{arguments.predictions} cannot be written: {why}') from error


def _asked(
    engine: Engine, data: Data, one_by_one: bool, kept: PredictionsFile | None = None
) -> list[Evaluated]:
    """Ask what is not kept yet, and keep it. Raises UserError, OSError."""
    results: list[Evaluated] = []
    columns = (
        TextColumn('picture'),
        MofNCompleteColumn(),
        BarColumn(),
        description_column(),
        TimeRemainingColumn(),
    )
    known = nothing_known if kept is None else kept.known
    right, pictures = 0, set()
    with Progress(*columns, console=plain_console(stderr=True)) as progress:
        task = progress.add_task('', total=data.pictures)
        try:
            for result in evaluate(engine, data.samples, one_by_one=one_by_one, known=known):
                if kept is not None:
                    kept.append(result)
                results.append(result)
                right += result.judgement.verdict.right
                pictures.add(result.sample.image_id)
                told = f'{right}/{len(results)} right'
                progress.update(task, completed=len(pictures), description=told)
        except EngineError as error:
            done = f'after {len(results)} questions: ' if results else ''
            raise UserError(f'{done}{error}') from error
    return results


def _show(figures: dict[str, Any]) -> None:
    console = plain_console()
    position, cost = figures['position_of_hits'], figures['cost']
    calibration = figures['calibration']
    console.print(
        f'{figures["model"]["name"]} on {figures["data"]}: {figures["pictures"]} pictures, '
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
