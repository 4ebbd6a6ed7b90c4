# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros demo --pick`: a gripper in physics takes what was answered, and is filmed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from molmo_ros.cameras.files import write_color
from molmo_ros.evaluation.metrics import pixel_of
from molmo_ros.spatial.grasp import rotation_of
from molmo_ros.tabletop.physics.film import Film, film, strip, write_film
from molmo_ros.tabletop.physics.hand import FRANKA, Grasp
from molmo_ros.tabletop.physics.world import World
from molmo_ros.tabletop.samples.table_views import TableView, view_of
from molmo_ros.tabletop.samples.tables import understood
from molmo_ros.tabletop.world import TABLES, make_scene

if TYPE_CHECKING:
    from molmo_ros.ros.client import Answered

NODE_PARAMETERS: dict[str, object] = {
    'waypoint_from': 'object',
    'gripper.opening': FRANKA.opening,
    'gripper.finger_width': FRANKA.finger_width,
    'gripper.finger_thickness': FRANKA.finger_thickness,
    'gripper.finger_length': FRANKA.finger_length,
    'gripper.palm': ' '.join(map(str, FRANKA.palm)),
}
"""What the node has to be told for it."""

_FIRST_SEED, _LOOKED_AT = 5000, 400
_FILM, _STRIP = (640, 480), 4


@dataclass(frozen=True)
class Taken:
    """What became of one question.

    pointed_at: the thing that the point is on, '' for none. how: the grasp in words. outcome:
    whether it was held, or what lost it. pictures: the file that shows it; None where nothing was
    tried.
    """

    query: str
    seed: int
    pointed_at: str
    how: str
    outcome: str
    held: bool
    pictures: Path | None


def table_with(query: str, table: str) -> int:
    """The seed of a table on which these words fit one thing; the first of all if none is found."""
    words = set(query.split())
    for seed in range(_FIRST_SEED, _FIRST_SEED + _LOOKED_AT):
        scene = make_scene(seed, TABLES[table])
        if not any(item.kind in words and item.colour in words for item in scene.objects):
            continue
        question = understood(query, view_of(seed, TABLES[table]), TABLES[table])
        if question is not None and question.targets:
            return seed
    return _FIRST_SEED


def take(query: str, view: TableView, answered: Answered, stem: Path) -> Taken:
    """Try the best grasp of the first point of an answer, in the table's frame, and film it.

    stem: of the files that are written, without an ending.
    """
    seed = view.scene.seed
    if not answered.points:
        return Taken(query, seed, '', '', 'nothing was pointed at', False, None)
    point = answered.points[0]
    camera = view.picture.camera
    column, row = pixel_of(point.image, camera.width, camera.height)
    target = int(view.picture.instances[row, column]) - 1
    if target < 0:
        return Taken(query, seed, 'the table', '', 'the point is on the table', False, None)
    item = view.scene.objects[target]
    name = f'{item.colour} {item.kind}'
    free = [way for way in point.object.grasps if not way.reason]
    if not free:
        ways = point.object.grasps
        reason = ways[0].reason if ways else point.object.reason or point.surface.reason
        return Taken(query, seed, name, '', f'no grasp: {reason}', False, None)
    best = free[0]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_of(best.quaternion), best.position
    shown = film(World(view.scene), Grasp(pose, best.opening, best.width), target, size=_FILM)
    how = f'{best.approach.lower()}, {1e3 * best.width:.0f} mm'
    written = _written(shown, stem)
    return Taken(query, seed, name, how, _outcome(shown, view), shown.picked.held, written)


def _outcome(shown: Film, view: TableView) -> str:
    picked = shown.picked
    said = picked.stage.value
    if picked.touched is not None:
        said += f': {picked.touched[0]} on {picked.touched[1]}'
    names = [view.scene.objects[number].kind for number in picked.pushed]
    return f'{said}; pushed: {", ".join(names)}' if names else said


def _written(shown: Film, stem: Path) -> Path:
    """The film where OpenCV can write one; a strip of pictures always."""
    path = stem.with_suffix('.png')
    write_color(path, strip(shown, _STRIP))
    moving = stem.with_suffix('.webp')
    return moving if write_film(moving, shown.pictures) else path


def lines(taken: Sequence[Taken]) -> Iterator[tuple[str, ...]]:
    """Cells of a table, its headings first."""
    yield 'asked for', 'table', 'pointed at', 'grasp', 'outcome', 'shown in'
    for one in taken:
        shown = one.pictures.name if one.pictures else '-'
        yield one.query, str(one.seed), one.pointed_at or '-', one.how or '-', one.outcome, shown
