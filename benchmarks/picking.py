# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does the robot hold it? Things of rendered tables picked in physics, told by the stage that lost.

    python -m benchmarks.picking [--quick] [--scenes 40] [--first-seed 81000] [--json FILE]
        [--tables easy rich] [--cameras perfect stereo realsense] [--grasps candidates ...]
        [--checkpoint models/tabletop] [--only things parts spaces] [--kinds] [--losses]
    python -m benchmarks.picking --report FILE [FILE ...]

A Franka Hand in MuJoCo comes along the approach from 10 cm, closes, lifts by 15 cm, is shaken and
holds for a second (molmo_ros/tabletop/physics). Every thing of a table is asked for, each time on
the untouched table, and the best grasp is tried. What can be picked at all is found with the true
mesh: thirty grasps of it are tried in the same physics; shares of what is held are of that.

Pointing: `oracle` is the middle of what is seen; with `--checkpoint`, `service` is the node in a
process of its own, asked in words for what one name fits. `candidates` are then its grasps. Others'
ways are told the same pixel, and the true way up.

Parts: the handle of a mug and such, where fingers can hold it. Spaces: a 6 cm cube is put where a
question asks for space ("the empty space between ..."), if the radius told there has room for it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pick_rows import OURS, Row, SpaceRow, by_kind, losses, parts, spaces, summary
from benchmarks.pick_service import Service
from benchmarks.pick_strategies import STRATEGIES, Asked, settings_for
from benchmarks.stereo_camera import REALSENSE, StereoCamera
from molmo_ros.grounding import picking
from molmo_ros.grounding.capture import OPTICAL, Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing.points import centred
from molmo_ros.spatial import LiftSettings, LiftStatus, StereoNoise, lift
from molmo_ros.tabletop.physics.hand import Grasp
from molmo_ros.tabletop.physics.oracle import best_grasp
from molmo_ros.tabletop.physics.parts import parts_touched
from molmo_ros.tabletop.physics.pick import Picked, pick
from molmo_ros.tabletop.physics.place import Put, cube, put_down, world_to_put
from molmo_ros.tabletop.physics.world import World
from molmo_ros.tabletop.questions import Topic, ask
from molmo_ros.tabletop.questions.table import Name, Table
from molmo_ros.tabletop.samples.table_views import TableView, view_of
from molmo_ros.tabletop.samples.tables import is_bare, things_of, world_of
from molmo_ros.tabletop.world import TABLES
from molmo_ros.tabletop.world.shapes import kind_of

Floats = NDArray[np.float64]

STUDIES = ('things', 'parts', 'spaces')
CUBE = 0.06  # metres
ROOM = CUBE / np.sqrt(2)  # radius that it needs, whichever way it is turned


@dataclass(frozen=True)
class Camera:
    """What sees the tables, and what ours is told of it. preset: the same for the node."""

    noise: StereoCamera | None
    settings: LiftSettings
    preset: str

    def see(self, view: TableView) -> Capture:
        """The table as this camera shows it."""
        picture = view.picture
        depth = picture.depth
        if self.noise is not None:
            rng = np.random.default_rng(view.scene.seed)
            normals = picture.normals.astype(np.float64)
            depth = self.noise.see(depth, normals, picture.camera, rng)
        return Capture(Frame(picture.color, depth, picture.camera, 0, 'camera'))


_TAME = StereoCamera()
_TAME_NOISE = StereoNoise(_TAME.baseline, _TAME.sigma, _TAME.step, _TAME.blur)
CAMERAS = {
    'perfect': Camera(None, LiftSettings(preset='ideal'), 'ideal'),
    # The node's own numbers.
    'stereo': Camera(_TAME, LiftSettings(noise=_TAME_NOISE), 'custom'),
    'realsense': Camera(REALSENSE, LiftSettings(preset='d435'), 'd435'),
}


@dataclass(frozen=True)
class Task:
    """A thing to take, or a part of it.

    number: of the thing. query: the words; '' where no words fit it alone. pixel: (u, v) that the
    oracle points at, integers at pixel centres. mask: (H, W) where a point is right. part: its
    name, '' for the whole.
    """

    number: int
    query: str
    pixel: tuple[float, float]
    mask: NDArray[np.bool_]
    part: str = ''


@dataclass(frozen=True)
class Choice:
    """What to run."""

    table: str
    cameras: tuple[str, ...]
    grasps: tuple[str, ...]
    studies: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """A table, its physics, and what each camera shows of it."""

    view: TableView
    world: World
    captures: dict[str, Capture]


def of_table(choice: Choice, seed: int, service: Service | None) -> Iterator[Row | SpaceRow]:
    """All that is asked about one table."""
    view = view_of(seed, TABLES[choice.table])
    captures = {name: CAMERAS[name].see(view) for name in choice.cameras}
    shown = Shown(view, World(view.scene), captures)
    for task in tasks_of(view, choice.studies):
        yield from _of_task(choice, shown, task, service)
    if 'spaces' in choice.studies and choice.table == 'rich':
        yield from _of_space(choice, shown, service)


def tasks_of(view: TableView, studies: Iterable[str]) -> Iterator[Task]:
    """The things that are seen, and their parts."""
    table = Table(things_of(view))
    for number, truth in enumerate(view.truths):
        if not truth.visible_pixels:
            continue
        alone = table.certain(Name('', truth.colour, truth.kind)) == [number]
        name = f'the {truth.colour} {truth.kind}'
        if 'things' in studies:
            yield Task(number, name if alone else '', truth.target, truth.mask)
        for part, seen in truth.parts.items() if 'parts' in studies else ():
            query = f'the {part} of {name}' if alone else ''
            yield Task(number, query, seen.target, seen.mask, part)


def _of_task(choice: Choice, shown: Shown, task: Task, service: Service | None) -> Iterator[Row]:
    item = shown.view.scene.objects[task.number]
    names = [part.name for part in kind_of(item.kind).parts]
    part = names.index(task.part) + 1 if task.part else None
    found = best_grasp(shown.world, task.number, part)
    rows = []
    for camera, capture in shown.captures.items():
        by_oracle = _asked(shown, camera, capture, task, task.pixel)
        rows += [
            _attempt(choice, shown, camera, 'oracle', how, task, by_oracle) for how in choice.grasps
        ]
        if service is not None and task.query:
            answered = service.ask(task.query, capture.frame)
            told = None
            if answered.points:
                point = answered.points[0]
                told = _asked(shown, camera, capture, task, centred(point.image.u, point.image.v))
                told = replace(told, answered=point)
            rows += [
                _attempt(choice, shown, camera, 'service', how, task, told) for how in choice.grasps
            ]
    possible = found is not None
    if task.part:
        possible = found is not None and _on_part(shown.world, task.number, found[1], part)
        possible |= any(row.held and row.on_part for row in rows)
    else:
        possible |= any(row.held for row in rows)
    yield from (replace(row, possible=possible) for row in rows)


def _asked(
    shown: Shown, camera: str, capture: Capture, task: Task, pixel: tuple[float, float]
) -> Asked:
    up = shown.view.scene.T_world_camera[2, :3]
    lift_settings = CAMERAS[camera].settings
    return Asked(capture, pixel, lift_settings, up)


def _attempt(
    choice: Choice,
    shown: Shown,
    camera: str,
    pointing: str,
    how: str,
    task: Task,
    asked: Asked | None,
) -> Row:
    """One grasp of one thing; None: nothing was pointed at."""
    item, scene = shown.view.scene.objects[task.number], shown.view.scene
    row = Row(
        choice.table,
        camera,
        pointing,
        how,
        scene.seed,
        task.number,
        item.kind,
        task.part,
        'pointing',
    )
    if asked is None:
        return replace(row, reason='no point')
    began = time.perf_counter()
    found = STRATEGIES[how](asked)
    row = replace(row, milliseconds=round(1e3 * (time.perf_counter() - began), 1))
    column, line = (round(value) for value in asked.pixel)
    height, width = task.mask.shape
    astray = not task.mask[min(max(line, 0), height - 1), min(max(column, 0), width - 1)]
    if found.grasps:
        row = replace(row, score=round(found.score, 3))
        row = _tried(row, shown.world, found.grasps[0].seen_from(scene.T_world_camera), task)
    else:
        row = replace(row, stage=found.lost, reason=found.reason)
    if astray and not row.held:
        return replace(row, stage='pointing', reason='beside it')
    return row


def _tried(row: Row, world: World, grasp: Grasp, task: Task) -> Row:
    result = pick(world, grasp, task.number)
    on_part = False
    if task.part:
        names = [part.name for part in kind_of(row.kind).parts]
        on_part = _on_part(world, task.number, result, names.index(task.part) + 1)
    return replace(
        row,
        stage=result.stage.value,
        pushed=tuple(world.things[other].kind for other in result.pushed),
        touched=' on '.join(result.touched) if result.touched else '',
        on_part=on_part,
    )


def _on_part(world: World, number: int, result: Picked, part: int | None) -> bool:
    """Whether the fingers closed on that part, most of where they touch."""
    touched = parts_touched(world.things[number], result.contact)
    return part is not None and 2 * touched.count(part) > len(touched)


def _of_space(choice: Choice, shown: Shown, service: Service | None) -> Iterator[SpaceRow]:
    view, scene = shown.view, shown.view.scene
    rng = random.Random(f'{scene.seed} picking')
    spec = TABLES[choice.table]
    question = ask(things_of(view), Topic.SPACE, world_of(spec), rng, partial(is_bare, view))
    if question is None:
        return
    x, y = question.targets[0].point
    height, width = view.picture.depth.shape
    pixel = centred(x / 100 * width, y / 100 * height)
    world = world_to_put(scene, cube(CUBE))
    possible = _stands_at(pixel, view, world)
    for camera, capture in shown.captures.items():
        row = SpaceRow(
            choice.table, camera, 'oracle', scene.seed, question.query, '', possible, 0.0
        )
        place = _place(capture, CAMERAS[camera].settings, pixel)
        yield _judged(row, world, *place)
        if service is not None:
            row = replace(row, pointing='service')
            points = service.ask(question.query, capture.frame).points
            if not points:
                yield replace(row, stage='pointing', reason='no point')
                continue
            told = points[0].place
            up = np.asarray(_z_of(told.quaternion))
            judged = _judged(row, world, told.position, up, told.radius, told.reason)
            u, v = centred(points[0].image.u, points[0].image.v)
            judged = replace(judged, possible=_stands_at((u, v), view, world))
            on_thing = not is_bare(view, 100 * u / width, 100 * v / height)
            if on_thing and judged.stage != 'stands':
                judged = replace(judged, stage='pointing', reason='on a thing')
            yield judged


def _stands_at(pixel: tuple[float, float], view: TableView, world: World) -> bool:
    """Whether the cube stands where a pixel truly shows the table, turned this way and that, as its
    room is a circle."""
    height, width = view.picture.depth.shape
    column, line = min(max(round(pixel[0]), 0), width - 1), min(max(round(pixel[1]), 0), height - 1)
    true = view.picture.camera.ray(column, line) * float(view.picture.depth[line, column])
    up = view.scene.T_world_camera[2, :3]
    return all(_put(world, true, up, turn) is Put.STANDS for turn in (0.0, np.pi / 4))


def _z_of(quaternion: Floats) -> tuple[float, float, float]:
    x, y, z, w = quaternion
    return 2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)


def _place(
    capture: Capture, settings: LiftSettings, pixel: tuple[float, float]
) -> tuple[Floats, Floats, float, str]:
    frame = capture.frame
    assert frame.camera is not None and frame.depth is not None
    point = lift(*pixel, frame.depth, frame.camera, settings)
    if point.status is not LiftStatus.OK:
        return point.position, point.position, float('nan'), point.reason
    place = picking.pick(point, capture, OPTICAL, settings, settings_for()).place
    return place.position, place.up, place.radius, place.reason


def _judged(
    row: SpaceRow, world: World, position: Floats, up: Floats, radius: float, reason: str
) -> SpaceRow:
    if not radius >= ROOM:
        return replace(row, stage='refused', radius=radius, reason=reason)
    return replace(row, stage=_put(world, position, up).value, radius=radius, reason=reason)


def _put(world: World, position: Floats, up: Floats, turn: float = 0.0) -> Put:
    """Of a position and a way up in the optical frame."""
    T = world.scene.T_world_camera
    towards = np.array([np.cos(turn), np.sin(turn), 0.0])
    return put_down(world, T[:3, :3] @ position + T[:3, 3], T[:3, :3] @ up, towards)


def main() -> None:
    """Print the tables."""
    arguments = parsed(sys.argv[1:])
    rows: list[Row | SpaceRow] = []
    if arguments.report:
        rows = [row for path in arguments.report for row in load(path)]
        report(rows, arguments.kinds, arguments.losses)
        return
    cv2.setNumThreads(1)
    began = time.perf_counter()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.scenes)
    # A node is told of one camera; pointing does not depend on which.
    cameras = (arguments.service_camera,) if arguments.checkpoint else tuple(arguments.cameras)
    preset = CAMERAS[cameras[0]].preset
    served = Service(arguments.checkpoint, preset) if arguments.checkpoint else nullcontext()
    with served as service:
        for table in arguments.tables:
            choice = Choice(table, cameras, tuple(arguments.grasps), tuple(arguments.only))
            for done, seed in enumerate(seeds, 1):
                rows += of_table(choice, seed, service)
                spent = time.perf_counter() - began
                print(f'{table} {done} of {len(seeds)}, {spent:.0f} s', file=sys.stderr)
                if arguments.json:
                    save(arguments.json, rows)
    report(rows, arguments.kinds, arguments.losses)


def parsed(argv: list[str]) -> argparse.Namespace:
    """The arguments; what `--quick` says may be said otherwise."""
    quick = ['--scenes', '6', '--cameras', 'stereo', '--only', 'things']
    return _parser().parse_args([*(quick if '--quick' in argv else []), *argv])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=40, help='of each table')
    parser.add_argument('--first-seed', type=int, default=81000)
    parser.add_argument('--tables', nargs='+', choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument('--cameras', nargs='+', choices=tuple(CAMERAS), default=tuple(CAMERAS))
    parser.add_argument('--grasps', nargs='+', choices=tuple(STRATEGIES), default=tuple(STRATEGIES))
    parser.add_argument('--only', nargs='+', choices=STUDIES, default=STUDIES)
    parser.add_argument('--checkpoint', type=Path, help='ask the node too, with these weights')
    parser.add_argument('--service-camera', choices=tuple(CAMERAS), default='stereo')
    parser.add_argument('--kinds', action='store_true', help='a table by kind of each line')
    parser.add_argument(
        '--losses', action='store_true', help='a line for each thing that ours loses'
    )
    parser.add_argument('--json', type=Path, help='write every pick into this file')
    parser.add_argument(
        '--report', nargs='+', type=Path, help='only print the tables of such files, all together'
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='6 tables, the stereo camera, no parts, no spaces',
    )
    return parser


def save(path: Path, rows: Iterable[Row | SpaceRow]) -> None:
    """Every pick and every cube."""
    kinds = {Row: 'pick', SpaceRow: 'space'}
    path.write_text(json.dumps([{'what': kinds[type(row)], **asdict(row)} for row in rows]))


def load(path: Path) -> Iterator[Row | SpaceRow]:
    """What `save` wrote."""
    for fields in json.loads(path.read_text()):
        if fields.pop('what') == 'space':
            yield SpaceRow(**fields)
        else:
            yield Row(**{**fields, 'pushed': tuple(fields['pushed'])})


def report(rows: Iterable[Row | SpaceRow], kinds: bool, all_losses: bool) -> None:
    """All tables that are wanted."""
    rows = list(rows)
    picks = [row for row in rows if isinstance(row, Row)]
    things = [row for row in picks if not row.part]
    if things:
        _print('Things', summary(things))
    for key in dict.fromkeys(row.key for row in things) if kinds else ():
        _print(', '.join(key), by_kind([row for row in things if row.key == key]))
    if len(things) < len(picks):
        _print('Parts', parts([row for row in picks if row.part]))
    put = [row for row in rows if isinstance(row, SpaceRow)]
    if put:
        _print('Spaces', spaces(put))
    if all_losses:
        _print('Lost', losses([row for row in picks if row.how == OURS]))
        bad = (
            f'{row.seed} {row.pointing} {row.query}: {row.stage} {row.radius:.3f} {row.reason}'
            for row in put
            if row.stage != 'stands'
        )
        _print('Not put down', bad)


def _print(title: str, lines: Iterable[str]) -> None:
    print(f'\n{title}\n')
    for line in lines:
        print(line, flush=True)


if __name__ == '__main__':
    main()
