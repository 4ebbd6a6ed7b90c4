# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros demo`: the whole way of a question, every part of it real but the table.

The camera and the node run as processes of their own, and this one asks through the service. It
knows which table is shown, renders it again with its truth, and holds the answers against that;
the node sees pictures and depth alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from molmo_ros.cameras.files import write_camera, write_color, write_depth
from molmo_ros.commands.console import description_column, plain_console
from molmo_ros.commands.engines import add_engine_arguments, checkpoint_of
from molmo_ros.engine import Answer
from molmo_ros.errors import UserError
from molmo_ros.evaluation.judging import Verdict, judge
from molmo_ros.extras import require
from molmo_ros.grounding.answer_pictures import answer_picture, contact_sheet
from molmo_ros.output import millimetres, xyz
from molmo_ros.pointing import ImagePoint, Mode, read_points
from molmo_ros.tabletop.demo.askings import SEEDS, TABLE, Asking, askings_about
from molmo_ros.tabletop.demo.processes import NodeProcesses
from molmo_ros.tabletop.samples.table_views import true_position
from molmo_ros.tabletop.source import TABLE_FRAME
from molmo_ros.tabletop.world import TABLES, check_renderer
from molmo_ros.tabletop.world.shapes import kind_of
from molmo_ros.viewing.command import add_page_arguments, serve

if TYPE_CHECKING:
    from molmo_ros.ros.client import Answered, PointQueryClient
    from molmo_ros.tabletop.demo.watching import CameraWatch

_ANSWER_TIMEOUT_S = 120.0
_LOAD_TIMEOUT_S = 600.0
_SHOW_TIMEOUT_S = 60.0


@dataclass(frozen=True, eq=False)
class DemoRow:
    """A question, its answer, and what that is worth.

    error: metres that the first point is off; seconds: the whole call.
    """

    asking: Asking
    answered: Answered
    verdict: Verdict | None
    error: float
    seconds: float

    @property
    def points(self) -> list[ImagePoint]:
        """Where the answer points in the image."""
        return [point.image for point in self.answered.points]

    @property
    def position(self) -> NDArray[np.float64]:
        """(3,) of the first point in the table's frame, NaN where there is none."""
        if not self.answered.points:
            return np.full(3, nan)
        return self.answered.points[0].surface.position

    @property
    def found(self) -> str:
        """What the answer gives: points, or the number that it states."""
        if self.asking.mode is Mode.COUNT:
            return f'{self.answered.count} counted' if self.answered.count >= 0 else '-'
        number = len(self.points)
        return 'none' if not number else f'{number} point{"s" if number > 1 else ""}'

    @property
    def judgement(self) -> str:
        """The verdict in words."""
        return self.verdict.value if self.verdict else 'not judged'


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    arguments = parser().parse_args(argv)
    if arguments.list:
        print(_things(arguments.table))
        return 0
    domain = _free_domain()
    check_renderer()
    if arguments.pick:
        require('mujoco', 'demo --pick')
    if arguments.view:
        require('viser', '--view')
    console = plain_console()
    folder = _folder(arguments.out)
    checkpoint = checkpoint_of(arguments)
    # Read by rclpy when it starts, here and in the processes.
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    console.print(
        f'camera and node: processes of their own, ROS_DOMAIN_ID={domain}',
    )
    with NodeProcesses(folder) as nodes:
        nodes.start('point_query_node', 'molmo_ros.ros.point_query_node', *_node(arguments))
        table = arguments.table
        seeds = SEEDS if arguments.seed is None else (arguments.seed,)
        if arguments.pick:
            askings = _things_to_pick(arguments)
        else:
            askings = askings_about(table, seeds, arguments.questions)
        first = askings[0].view.scene.seed
        nodes.start('tabletop_camera', 'molmo_ros.tabletop.camera_node', *_camera(table, first))
        rows = _asked(nodes, askings, checkpoint, console)
        _save(rows, folder)
        if arguments.pick:
            status = _pick(rows, folder, console)
        else:
            status = _told(rows, folder, console, judged=not arguments.questions)
        if arguments.view:
            _view(arguments)
    return status


def _told(rows: Sequence[DemoRow], folder: Path, console: Console, judged: bool) -> int:
    """Print the answers; the exit status."""
    console.print(_answers_table(rows))
    console.print()
    console.print(_stages_table(rows))
    console.print()
    return _conclusion(rows, folder, console, judged)


def _view(arguments: argparse.Namespace) -> None:
    """The page in the browser, about the camera and the node that run."""
    from molmo_ros.viewing.robot import RobotFeed

    cameras = {'demo camera': partial(RobotFeed, frame=TABLE_FRAME)}
    serve(cameras, None, arguments)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros demo',
        description='Start a rendered RGB-D camera and the node as processes of their own, ask '
        'through the /point_query service, hold the answers against the truth, draw them.',
        epilog='exit status: 0 where everything ran and, with the default questions, most answers '
        'were right, or with --pick most things held; 1 where most were not; 2 where something did '
        'not run',
    )
    parser.add_argument(
        '--table',
        choices=tuple(TABLES),
        default=TABLE,
        help='easy: few, distinct things, asked for by colour and kind; rich: many kinds, '
        'patterns and clutter, asked about in every way (default: %(default)s)',
    )
    parser.add_argument(
        '--seed',
        type=_seed,
        metavar='N',
        help=f'which of them to show (default: {", ".join(map(str, SEEDS))}, one after the other)',
    )
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        '--pick',
        nargs='+',
        metavar='QUERY',
        help='what to take: "the red can". A gripper in physics comes for each, on a table that '
        'has it, and is filmed; needs the extra `physics`',
    )
    asked.add_argument(
        '--questions',
        nargs='+',
        metavar='QUERY',
        help='what to ask instead, of every table shown: "the red mug" "the blue ball"',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('demo_output'),
        metavar='FOLDER',
        help='for pictures and logs (default: %(default)s)',
    )
    parser.add_argument(
        '--list',
        action='store_true',
        help='only say what may lie on the tables, kinds and colours, and so be asked about',
    )
    parser.add_argument(
        '--view',
        action='store_true',
        help='then serve a page in the browser to look around and ask more, until Ctrl-C',
    )
    add_page_arguments(parser)
    add_engine_arguments(parser)
    return parser


def _things_to_pick(arguments: argparse.Namespace) -> list[Asking]:
    from molmo_ros.tabletop.demo.picks import table_with

    table, asked = arguments.table, []
    for query in arguments.pick:
        seed = table_with(query, table) if arguments.seed is None else arguments.seed
        asked += askings_about(table, (seed,), (query,))
    return asked


def _pick(rows: Sequence[DemoRow], folder: Path, console: Console) -> int:
    """Try what was answered in physics; the exit status."""
    from molmo_ros.tabletop.demo.picks import lines, take

    for old in folder.glob('pick_*'):
        old.unlink()
    taken = []
    for number, row in enumerate(rows, 1):
        stem = folder / f'pick_{number:02d}'
        taken.append(take(row.asking.query, row.asking.view, row.answered, stem))
    table = _table('Picks')
    headings, *cells = lines(taken)
    for heading in headings:
        table.add_column(heading)
    for line, one in zip(cells, taken, strict=True):
        table.add_row(*line[:-2], Text(line[-2], 'green' if one.held else 'red'), line[-1])
    console.print(_answers_table(rows))
    console.print()
    console.print(table)
    held = sum(one.held for one in taken)
    console.print(f'{held} of {len(taken)} are held.')
    console.print(f'Pictures and logs: {folder}/')
    return 0 if 2 * held > len(taken) else 1


def _things(table: str) -> str:
    """What may lie on a table, in lines of text."""
    spec = TABLES[table]
    parts = dict.fromkeys(
        f'{part.name} of the {kind}'
        for kind in spec.kinds
        for part in kind_of(kind).parts
        if part.name
    )
    lists = {'kinds': spec.kinds, 'colours': spec.colours, 'parts': parts if spec.rich else ()}
    lines = [
        textwrap.fill(f'{name}: {", ".join(words)}', 100, subsequent_indent='  ')
        for name, words in lists.items()
        if words
    ]
    one = f'the {spec.colours[0]} {spec.kinds[0]}'
    return '\n'.join([*lines, f'for example: molmo-ros demo --table {table} --questions "{one}"'])


def _free_domain() -> int:
    try:
        from molmo_ros.ros.domain import free_domain
    except ModuleNotFoundError as error:
        raise UserError(str(error)) from error
    return free_domain()


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError('a seed is a number from 0 to 2147483647')
    return int(text)


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{path} cannot be made: {error.strerror}; give another --out') from error
    return path


def _node(arguments: argparse.Namespace) -> list[str]:
    parameters = {
        'checkpoint': checkpoint_of(arguments),
        'adapter': arguments.adapter or '',
        'device': arguments.device,
        'dtype': arguments.dtype,
        'max_crops': arguments.max_crops or 0,
        'diagnostics_period': 0.25,
        # The table stands still, and a busy machine may starve the camera.
        'max_frame_age': 10.0,
        'frame_wait': 10.0,
    }
    if arguments.pick:
        from molmo_ros.tabletop.demo.picks import NODE_PARAMETERS

        parameters |= NODE_PARAMETERS
    return _ros_arguments(parameters)


def _camera(table: str, seed: int) -> list[str]:
    return _ros_arguments({'table': table, 'seed': seed, 'parent_frame': TABLE_FRAME})


def _ros_arguments(parameters: dict[str, object]) -> list[str]:
    # As JSON, which is YAML: a folder named 7 stays a text.
    given = [f'{name}:={json.dumps(value)}' for name, value in parameters.items()]
    return ['--ros-args', *(part for one in given for part in ('-p', one))]


def _asked(
    nodes: NodeProcesses, askings: Sequence[Asking], checkpoint: str, console: Console
) -> list[DemoRow]:
    # Not before the domain is chosen, and not for `--help`.
    from molmo_ros.ros.client import PointQueryClient, ServiceUnavailable
    from molmo_ros.tabletop.demo.watching import CameraWatch

    columns = (description_column(), BarColumn(), TimeElapsedColumn())
    with (
        PointQueryClient(node_name='demo_client') as client,
        CameraWatch() as camera,
        Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as progress,
    ):
        try:
            _wait_for_engine(client, nodes, checkpoint, progress)
            task = progress.add_task('asking', total=len(askings))
            rows = []
            for row in _rows(client, camera, askings, nodes):
                rows.append(row)
                progress.update(task, advance=1, description=row.asking.label)
            return rows
        except ServiceUnavailable as error:
            nodes.check()
            raise UserError(str(error)) from error


def _wait_for_engine(
    client: PointQueryClient, nodes: NodeProcesses, checkpoint: str, progress: Progress
) -> None:
    task = progress.add_task('starting', total=None)

    def told(what: str, share: float) -> None:
        known = share if math.isfinite(share) else 0.0
        progress.update(task, description=what, total=1.0 if known else None, completed=known)

    deadline = time.monotonic() + _LOAD_TIMEOUT_S
    while not client.wait_until_ready(1.0, told):
        nodes.check()
        if client.engine_state.startswith('failed'):
            reason = client.engine_state.removeprefix('failed: ')
            raise UserError(f'{checkpoint} could not be loaded: {reason}')
        if time.monotonic() > deadline:
            raise UserError(f'the model was not loaded within {_LOAD_TIMEOUT_S:.0f} s')
    progress.remove_task(task)


def _rows(
    client: PointQueryClient,
    camera: CameraWatch,
    askings: Sequence[Asking],
    nodes: NodeProcesses,
) -> Iterator[DemoRow]:
    shown, since = None, 0
    for asking in askings:
        if asking.view is not shown:
            shown, seed = asking.view, asking.view.scene.seed
            try:
                since = camera.show(seed, shown.picture.color, _SHOW_TIMEOUT_S, nodes.check)
            except TimeoutError:
                raise UserError(f'the camera did not show table {seed} in time') from None
        yield _ask(client, asking, since)


def _ask(client: PointQueryClient, asking: Asking, since: int) -> DemoRow:
    while True:
        begun = time.monotonic()
        answered = client.ask(
            asking.query,
            mode=asking.mode,
            target_frame=TABLE_FRAME,
            timeout=_ANSWER_TIMEOUT_S,
        )
        spent = time.monotonic() - begun
        # An image taken before the table was changed can be the node's newest for a moment.
        if not answered.stamp_ns or answered.stamp_ns >= since:
            return _judged(asking, answered, spent)


def _judged(asking: Asking, answered: Answered, spent: float) -> DemoRow:
    from molmo_ros.ros.answering import Status

    if answered.status not in (Status.SUCCESS, Status.NO_POINTS):
        return DemoRow(asking, answered, None, nan, spent)
    camera = asking.view.picture.camera
    verdict = None
    if asking.sample:
        answer = _answer(answered, camera.width, camera.height)
        verdict = judge(asking.sample, answer, camera.width, camera.height).verdict
    if not answered.points:
        return DemoRow(asking, answered, verdict, nan, spent)
    first = answered.points[0]
    T = asking.view.scene.T_world_camera
    truth = T[:3, :3] @ true_position(asking.view, first.image) + T[:3, 3]
    error = float(np.linalg.norm(first.surface.position - truth))
    return DemoRow(asking, answered, verdict, error, spent)


def _answer(answered: Answered, width: int, height: int) -> Answer:
    """As an engine gives it."""
    points = tuple(point.image for point in answered.points)
    count = answered.count if answered.count >= 0 else None
    absent = read_points(answered.answer, width, height).absent
    return Answer(answered.answer, points, count, absent)


def _save(rows: Sequence[DemoRow], folder: Path) -> None:
    """A picture of each answer, all of them on one sheet, and what `molmo-ros ask` needs."""
    for old in folder.glob('answer_*.png'):
        old.unlink()
    pictures = []
    for number, row in enumerate(rows, 1):
        asking = row.asking
        lines = [f'{asking.label}: {row.judgement}', _where(row)]
        picture = answer_picture(asking.view.picture.color, row.points, asking.masks, lines)
        name = '_'.join(''.join(c if c.isalnum() else ' ' for c in asking.query).split())
        write_color(folder / f'answer_{number:02d}_{name[:40]}.png', picture)
        pictures.append(picture)
    write_color(folder / 'answers.png', contact_sheet(pictures))
    for view in {row.asking.view: None for row in rows}:
        stem = f'table_{view.scene.seed}'
        write_color(folder / f'{stem}.png', view.picture.color)
        write_depth(folder / f'{stem}_depth.png', view.picture.depth)
        write_camera(folder / f'{stem}_camera.yaml', view.picture.camera)


def _where(row: DemoRow) -> str:
    if not np.isfinite(row.position).all():
        return row.answered.message.splitlines()[0][:72]
    off = f' ({millimetres(row.error)} off)' if math.isfinite(row.error) else ''
    first = '' if row.found == '1 point' else f'{row.found}, first '
    return f'{first}at {xyz(row.position)} m{off}'


def _answers_table(rows: Sequence[DemoRow]) -> Table:
    table = _table('Answers')
    position = 'first: u, v', f'x y z (m) in {TABLE_FRAME!r}', 'off by'
    for heading in ('', 'table', 'asked for', 'status', 'found', *position, 'judged'):
        table.add_column(heading)
    for number, row in enumerate(rows, 1):
        good = row.verdict is None or row.verdict.right
        table.add_row(
            str(number),
            str(row.asking.view.scene.seed),
            row.asking.label,
            row.answered.status.name,
            row.found,
            f'{row.points[0].u:.0f}, {row.points[0].v:.0f}' if row.points else '-',
            xyz(row.position),
            millimetres(row.error),
            Text(row.judgement, 'green' if good else 'red'),
        )
    return table


def _stages_table(rows: Sequence[DemoRow]) -> Table:
    table = _table('Milliseconds: the whole call, and each stage as the node tells it')
    stages = list({stage: None for row in rows for stage in row.answered.stage_times})
    for stage in ('', 'call', *stages):
        table.add_column(stage, justify='right')
    for number, row in enumerate(rows, 1):
        times = row.answered.stage_times
        cells = (f'{1000 * times[stage]:.0f}' if stage in times else '-' for stage in stages)
        table.add_row(str(number), f'{1000 * row.seconds:.0f}', *cells)
    return table


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify='left', title_style='bold', box=None, collapse_padding=True
    )


def _conclusion(rows: Sequence[DemoRow], folder: Path, console: Console, judged: bool) -> int:
    """Say what came of it; the exit status."""
    from molmo_ros.ros.answering import Status

    failed = [row for row in rows if row.answered.status not in (Status.SUCCESS, Status.NO_POINTS)]
    for row in failed:
        console.print(
            f'{row.asking.label}: {row.answered.status.name}: {row.answered.message}', style='red'
        )
    known = [row for row in rows if row.verdict is not None]
    right = [row for row in known if row.verdict is not None and row.verdict.right]
    for row in known:
        if row not in right:
            console.print(
                f'Table {row.asking.view.scene.seed}, {row.asking.label}: {row.judgement}.',
                style='red',
            )
    if known:
        console.print(f'{len(right)} of {len(known)} answers are right.')
    console.print(f'Pictures and logs: {folder}/ (all answers: {folder}/answers.png)')
    if failed:
        return 2
    return 1 if judged and 2 * len(right) <= len(known) else 0
