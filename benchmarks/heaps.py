# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Is it said that "it" may be two things? Heaps of rendered tables, and things that stand alone.

    python -m benchmarks.heaps [--scenes 20] [--first-seed 86000] [--cameras perfect stereo ...]

Of each rich table neighbours are shoved together until their outlines touch, and small things are
put on flat ones; all else is taken away. Each of the two is pointed at, in the middle of what is
seen of it. `alone` are the things of the same tables, each with nothing else on the table. `one
for the depth` are points whose extent reaches far into the other thing: the depth does not part
them.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.pick_strategies import settings_for
from benchmarks.picking import CAMERAS, Camera
from molmo_ros.grounding.capture import OPTICAL
from molmo_ros.grounding.picking import pick
from molmo_ros.spatial import LiftStatus, lift
from molmo_ros.tabletop.samples.table_views import SIZE, TableView
from molmo_ros.tabletop.world import RICH, Object, Scene, make_scene, render, truth_of
from molmo_ros.tabletop.world.scene import outline_in_world

Floats = NDArray[np.float64]

_GAP = 0.001  # metres between outlines that touch
_FLAT = ('book', 'box', 'plate')  # kinds that something can lie on
_SMALLER = 0.8  # of the flat thing's least side, or it would not lie there
_LEAST_SEEN = 0.5  # of either, or there is nothing to tell
_WHOLE = 0.8  # of its own, from which on an extent is no part of a thing
_MERGED = 0.2  # of the other thing's pixels in an extent, from which on both are one


def heaps(scene: Scene) -> Iterator[tuple[str, Scene]]:
    """What it is, and a scene of it."""
    for item in scene.objects:
        yield 'alone', replace(scene, objects=(item,), clutter=())
    for one, other in pairwise(scene.objects):
        yield 'touching', replace(scene, objects=(one, _beside(one, other)), clutter=())
    for under in (item for item in scene.objects if item.kind in _FLAT):
        for other in scene.objects:
            if other is not under and _reach(other) < _SMALLER * _reach(under):
                yield 'on it', replace(scene, objects=(under, _on(under, other)), clutter=())


def _beside(one: Object, other: Object) -> Object:
    """The other, moved towards the one until they touch."""
    start = np.array(other.position)
    way = np.array(one.position) - start
    low, high = 0.0, 1.0
    hull = _hull(one)
    for _ in range(12):
        share = (low + high) / 2
        moved = _hull(_at(other, start + share * way))
        near = _distance(hull, moved) < _GAP
        low, high = (low, share) if near else (share, high)
    return _at(other, start + low * way)


def _on(under: Object, other: Object) -> Object:
    """The other, lying on the middle of the one."""
    top = float(outline_in_world(under)[:, 2].max())
    middle = outline_in_world(under)[:, :2]
    x, y = (middle.min(0) + middle.max(0)) / 2
    return _at(other, np.array([x, y, other.position[2] + top]))


def _at(item: Object, position: Floats) -> Object:
    x, y, z = (float(value) for value in position)
    return replace(item, position=(x, y, z))


def _reach(item: Object) -> float:
    """Metres, the lesser side of its outline from above."""
    return float(np.ptp(outline_in_world(item)[:, :2], axis=0).min())


def _hull(item: Object) -> NDArray[np.float32]:
    points = outline_in_world(item)[:, :2].astype(np.float32)
    return np.asarray(cv2.convexHull(points)[:, 0], np.float32)


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Metres between two outlines; negative where they overlap."""
    return -max(
        cv2.pointPolygonTest(hull, (float(x), float(y)), True)
        for hull, other in ((a, b), (b, a))
        for x, y in _along(other)
    )


def _along(hull: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points of an outline, close to each other."""
    share = np.linspace(0, 1, 12, dtype=np.float32)[:, None, None]
    return ((1 - share) * hull + share * np.roll(hull, 1, 0)).reshape(-1, 2)


def told(scene: Scene, camera: Camera) -> Iterator[tuple[bool, bool]]:
    """Of each thing of a scene: whether it is said that it may be several, and whether both are one
    for the depth. Left out is what is hardly seen, and of what stands alone that of which the
    extent is a part: then the word is right."""
    picture = render(scene, *SIZE, smooth=True)
    view = TableView(scene, picture, truth_of(scene, picture))
    if any(truth.visible_fraction < _LEAST_SEEN for truth in view.truths):
        return
    capture = camera.see(view)
    depth, model = capture.frame.depth, capture.frame.camera
    assert depth is not None and model is not None
    for truth in view.truths:
        point = lift(*truth.target, depth, model, camera.settings)
        if point.status is not LiftStatus.OK:
            continue
        found = pick(point, capture, OPTICAL, camera.settings, settings_for())
        if found.extent is None or not found.grasps.ways:
            continue
        column, row = found.extent.pixels.T
        stands_for = found.extent.pitch**2
        merged = any(
            other.mask[row, column].sum() * stands_for > _MERGED * other.visible_pixels
            for other in view.truths
            if other is not truth
        )
        seen = truth.mask[row, column].sum() * stands_for / truth.visible_pixels
        if len(view.truths) > 1 or seen > _WHOLE:
            yield found.grasps.may_be_several, merged


def main() -> None:
    """Print the table."""
    arguments = parser().parse_args()
    cv2.setNumThreads(1)
    counts: Counter[tuple[str, str, str]] = Counter()
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.scenes):
        for what, scene in heaps(make_scene(seed, RICH)):
            for name in arguments.cameras:
                for said, one in told(scene, CAMERAS[name]):
                    counts[name, what, 'asked'] += 1
                    counts[name, what, 'said'] += said
                    counts[name, what, 'merged'] += one
                    counts[name, what, 'merged, said'] += one and said
    print('| camera | heap | "may be several" | one for the depth | of these said |')
    print('|---|---|---|---|---|')
    for name in arguments.cameras:
        for what in ('alone', 'touching', 'on it'):
            asked, flagged, merged, both = (
                counts[name, what, key] for key in ('asked', 'said', 'merged', 'merged, said')
            )
            print(f'| {name} | {what} | {flagged} of {asked} | {merged} | {both} |')


def parser() -> argparse.ArgumentParser:
    """What may be given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=20)
    parser.add_argument('--first-seed', type=int, default=86000)
    parser.add_argument('--cameras', nargs='+', choices=tuple(CAMERAS), default=list(CAMERAS))
    return parser


if __name__ == '__main__':
    main()
