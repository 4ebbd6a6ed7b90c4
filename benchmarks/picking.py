# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does the robot hold it? Things of rendered tables picked in physics, told by the stage that lost.

    python -m benchmarks.picking [--quick] [--scenes 40] [--first-seed 81000]
        [--tables easy rich] [--cameras perfect stereo realsense] [--strategies ...] [--json FILE]

A Franka Hand in MuJoCo comes along the approach from 10 cm, closes, lifts by 15 cm, is shaken and
holds for a second (molmo_ros/tabletop/physics). Every thing of a table is asked for on a table of
its own. What can be picked at all is found out with the true mesh: thirty grasps of it are tried in
the same physics. Shares of what is held are of that.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np

from benchmarks.pick_strategies import STRATEGIES, Asked
from benchmarks.stereo_camera import REALSENSE, StereoCamera
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.spatial import LiftSettings, StereoNoise
from molmo_ros.tabletop.physics.oracle import best_grasp
from molmo_ros.tabletop.physics.pick import pick
from molmo_ros.tabletop.physics.world import World
from molmo_ros.tabletop.samples.table_views import TableView, view_of
from molmo_ros.tabletop.world import TABLES

LOST = ('pointing', 'lifting', 'extent', 'refused', 'collision', 'miss', 'slip')


@dataclass(frozen=True)
class Camera:
    """What sees the tables, and what ours is told of it."""

    noise: StereoCamera | None
    settings: LiftSettings

    def see(self, view: TableView) -> Capture:
        """The table as this camera shows it."""
        picture = view.picture
        depth = picture.depth
        if self.noise is not None:
            rng = np.random.default_rng(view.scene.seed)
            normals = picture.normals.astype(np.float64)
            depth = self.noise.see(depth, normals, picture.camera, rng)
        return Capture(Frame(picture.color, depth, picture.camera, 0, 'optical'))


_TAME = StereoCamera()
CAMERAS = {
    'perfect': Camera(None, LiftSettings(preset='ideal')),
    'stereo': Camera(
        _TAME,
        LiftSettings(noise=StereoNoise(_TAME.baseline, _TAME.sigma, _TAME.step, _TAME.blur)),
    ),
    'realsense': Camera(REALSENSE, LiftSettings(preset='d435')),
}


@dataclass(frozen=True)
class Row:
    """What became of one thing.

    stage: 'held', or what lost it. possible: whether it can be picked at all. pushed: kinds of the
    neighbours that were moved by more than a centimetre or tipped. touched: what was hit.
    """

    table: str
    camera: str
    pointing: str
    strategy: str
    seed: int
    number: int
    kind: str
    possible: bool
    stage: str
    pushed: tuple[str, ...] = ()
    touched: str = ''
    reason: str = ''
    milliseconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether it is in the gripper at the end."""
        return self.stage == 'held'


@dataclass(frozen=True)
class Choice:
    """What to run."""

    tables: tuple[str, ...]
    cameras: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: range


def run(choice: Choice) -> Iterator[Row]:
    """All things of all tables, by all strategies."""
    for table in choice.tables:
        for seed in choice.seeds:
            view = view_of(seed, TABLES[table])
            world = World(view.scene)
            seen = {name: CAMERAS[name].see(view) for name in choice.cameras}
            for number, truth in enumerate(view.truths):
                if not truth.visible_pixels:
                    continue
                yield from _of_thing(choice, table, view, world, seen, number)


def _of_thing(
    choice: Choice,
    table: str,
    view: TableView,
    world: World,
    seen: dict[str, Capture],
    number: int,
) -> Iterator[Row]:
    possible = best_grasp(world, number) is not None
    rows = [
        attempt(name, table, view, world, camera, capture, number)
        for camera, capture in seen.items()
        for name in choice.strategies
    ]
    # What one of them holds can be held.
    possible |= any(row.held for row in rows)
    for row in rows:
        yield Row(**{**row.__dict__, 'possible': possible})


def attempt(
    name: str,
    table: str,
    view: TableView,
    world: World,
    camera: str,
    capture: Capture,
    number: int,
) -> Row:
    """One thing by one strategy, pointed at where its middle is seen."""
    truth, T = view.truths[number], view.scene.T_world_camera
    label = f'{truth.colour} {truth.kind}'
    asked = Asked(capture, truth.target, label, CAMERAS[camera].settings, T[2, :3])
    began = time.perf_counter()
    found = STRATEGIES[name](asked)
    spent = round(1e3 * (time.perf_counter() - began), 1)
    who = (table, camera, 'oracle', name, view.scene.seed, number, truth.kind, False)
    if not found.grasps:
        return Row(*who, found.lost, reason=found.reason, milliseconds=spent)
    result = pick(world, found.grasps[0].seen_from(T), number)
    pushed = tuple(world.things[other].kind for other in result.pushed)
    touched = ' on '.join(result.touched) if result.touched else ''
    return Row(*who, result.stage.value, pushed, touched, milliseconds=spent)


def summary(rows: list[Row]) -> Iterator[str]:
    """Markdown: a line for each table, camera and strategy."""
    heads = ('table', 'camera', 'pointing', 'how', 'can be picked', 'held', 'pushed', '"no" right')
    yield '| ' + ' | '.join([*heads, *LOST]) + ' |'
    yield '|---|---|---|---|---|---|---|---|' + '---|' * len(LOST)
    for key in dict.fromkeys((r.table, r.camera, r.pointing, r.strategy) for r in rows):
        some = [r for r in rows if (r.table, r.camera, r.pointing, r.strategy) == key]
        can = [row for row in some if row.possible]
        held = sum(row.held for row in can)
        pushed = sum(bool(row.pushed) for row in some if row.stage not in ('refused', 'extent'))
        tried = sum(row.stage not in ('pointing', 'lifting', 'extent', 'refused') for row in some)
        said_no = [row for row in some if row.stage == 'refused']
        right = sum(not row.possible for row in said_no)
        lost = Counter(row.stage for row in can)
        cells = [
            *key,
            f'{len(can)} of {len(some)}',
            f'**{share(held, len(can))}**',
            share(pushed, tried),
            f'{right} of {len(said_no)}',
            *(str(lost[stage] or '') for stage in LOST),
        ]
        yield '| ' + ' | '.join(cells) + ' |'


def by_kind(rows: list[Row]) -> Iterator[str]:
    """Markdown: a line for each kind, of what can be picked."""
    yield '| kind | can be picked | held | ' + ' | '.join(LOST) + ' |'
    yield '|---|---|---|' + '---|' * len(LOST)
    for kind in sorted({row.kind for row in rows}):
        some = [row for row in rows if row.kind == kind]
        can = [row for row in some if row.possible]
        lost = Counter(row.stage for row in can)
        cells = [kind, f'{len(can)} of {len(some)}', share(sum(r.held for r in can), len(can))]
        yield '| ' + ' | '.join([*cells, *(str(lost[stage] or '') for stage in LOST)]) + ' |'


def share(part: int, whole: int) -> str:
    """'12 of 20, 60 %'"""
    return f'{part} of {whole}, {part / whole:.0%}' if whole else '-'


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='6 scenes, the stereo camera alone')
    parser.add_argument('--scenes', type=int)
    parser.add_argument('--first-seed', type=int, default=81000)
    parser.add_argument('--tables', nargs='+', choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument('--cameras', nargs='+', choices=tuple(CAMERAS))
    parser.add_argument('--strategies', nargs='+', choices=tuple(STRATEGIES))
    parser.add_argument('--kinds', action='store_true', help='a table by kind of each')
    parser.add_argument('--losses', action='store_true', help='a line for each thing that is lost')
    parser.add_argument('--json', type=Path, help='write every pick into this file')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    scenes = arguments.scenes or (6 if arguments.quick else 40)
    cameras = arguments.cameras or (('stereo',) if arguments.quick else tuple(CAMERAS))
    choice = Choice(
        tuple(arguments.tables),
        tuple(cameras),
        tuple(arguments.strategies or STRATEGIES),
        range(arguments.first_seed, arguments.first_seed + scenes),
    )
    began = time.perf_counter()
    rows = list(run(choice))
    report(rows, arguments.kinds, arguments.losses)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows]))
    print(f'\n{len(rows)} picks in {time.perf_counter() - began:.0f} s')


def report(rows: list[Row], kinds: bool, losses: bool) -> None:
    """All tables that are wanted."""
    _print(summary(rows))
    groups = dict.fromkeys((r.table, r.camera, r.pointing, r.strategy) for r in rows)
    for key in groups if kinds else ():
        print('\n' + ', '.join(key) + ':\n')
        _print(by_kind([r for r in rows if (r.table, r.camera, r.pointing, r.strategy) == key]))
    for row in rows if losses else ():
        if row.possible and not row.held:
            what = f'{row.seed} {row.number} {row.kind}: {row.stage}'
            print(row.table, row.camera, row.strategy, what, row.touched, row.reason, row.pushed)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == '__main__':
    main()
