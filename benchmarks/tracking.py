# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well points are carried between answers while the camera or a thing moves.

    python benchmarks/tracking.py [--scenes 6] [--first-seed 61000] [--table rich] [--delay 0.5]

A rendered table along paths of a camera at 30 Hz, with the noise of a sensor in its pictures.
Answers are perfect, 1 s apart, and come `delay` seconds after the picture that they are about.
A point counts from its first answer on, in every picture in which its place on the thing is seen
and has been seen since the picture of the last answer; it is good where it is tracked to within
5 pixels. Late: of the points that went out of sight while they were tracked, the most pictures
until they were dropped.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.tracking import PointTracker, view_of
from molmo_ros.pointing.points import ImagePoint, from_centred
from molmo_ros.tabletop.world import TABLES, Object, Scene, make_scene, render, truth_of
from molmo_ros.tabletop.world.render import Rendering
from molmo_ros.tabletop.world.scene import project

RATE, PERIOD, SECONDS = 30, 1.0, 3.0
GOOD = 5.0  # pixels
_SAME_DEPTH = 0.006  # metres: less off is the place itself, not something before it

Pose = NDArray[np.float64]
Path = Callable[[Scene, float], Scene]


def turned(pose: Pose, axis: tuple[float, float, float], degrees: float) -> Pose:
    """A camera's pose turned about one of its own axes."""
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.radians(degrees) * np.array(axis))[0]
    return pose @ turn


def shifted(pose: Pose, xyz: tuple[float, float, float]) -> Pose:
    """A camera's pose shifted along its own axes, metres."""
    return pose @ np.block([[np.eye(3), np.array(xyz)[:, None]], [np.zeros((1, 3)), 1.0]])


def still(scene: Scene, t: float) -> Scene:
    """Nothing moves."""
    return scene


def translation(scene: Scene, t: float) -> Scene:
    """0.15 m to and fro, at up to 0.3 m/s."""
    shift = (0.15 * np.sin(2 * t), 0.04 * np.sin(3 * t), 0.0)
    return replace(scene, T_world_camera=shifted(scene.T_world_camera, shift))


def rotation(scene: Scene, t: float) -> Scene:
    """Rolls at 30 degrees a second, pans and tilts."""
    pose = turned(scene.T_world_camera, (0, 0, 1), 30 * t)
    pose = turned(pose, (0, 1, 0), 6 * np.sin(3 * t))
    return replace(scene, T_world_camera=turned(pose, (1, 0, 0), 4 * np.sin(4 * t)))


def approach(scene: Scene, t: float) -> Scene:
    """Towards the table at 0.1 m/s and around it, as a camera on a hand."""
    pose = scene.T_world_camera
    around = np.eye(4)
    around[:3, :3] = cv2.Rodrigues(np.radians(12 * t) * np.array([0, 0, 1.0]))[0]
    return replace(scene, T_world_camera=shifted(around @ pose, (0, 0.02 * t, 0.1 * t)))


def shaken(scene: Scene, t: float) -> Scene:
    """A hand that trembles: up to 60 degrees a second."""
    pose = turned(scene.T_world_camera, (0, 1, 0), 1.2 * np.sin(50 * t) + 2 * np.sin(9 * t))
    return replace(scene, T_world_camera=turned(pose, (1, 0, 0), 1.0 * np.sin(41 * t + 1)))


def occluder(scene: Scene, t: float) -> Scene:
    """The camera drifts while a bottle crosses close above the things, about every 3 s."""
    drifting = translation(scene, t / 3)
    pose = scene.T_world_camera
    across, back = pose[:3, 0], -pose[:3, 2]
    middle = np.array([0, 0, 0.05]) + 0.15 * back - 0.1 * pose[:3, 1]
    place = middle + across * (0.45 * (t - SECONDS / 2))
    hand = Object(
        'bottle', 'grey', (0.4, 0.42, 0.45), tuple(place), 0.0, (1.2, 1.2, 1.6), 0.2, 'plain'
    )
    return replace(drifting, clutter=(*scene.clutter, hand))


def pushed(scene: Scene, t: float) -> Scene:
    """The first thing slides over the table at 0.1 m/s, and the camera stands still."""
    first, *others = scene.objects
    x, y, z = first.position
    moved = replace(first, position=(x + 0.08 * np.sin(1.2 * t), y, z), yaw=first.yaw + 0.3 * t)
    return replace(scene, objects=(moved, *others))


PATHS: dict[str, Path] = {
    path.__name__: path
    for path in (still, translation, rotation, approach, shaken, occluder, pushed)
}


@dataclass(frozen=True, eq=False)
class Place:
    """A place on a thing: its number, and (4,) in the thing's own frame."""

    thing: int
    xyz: NDArray[np.float64]

    def seen(self, scene: Scene, picture: Rendering) -> tuple[tuple[float, float], bool]:
        """Its pixel, and whether it is in the picture and nothing stands before it."""
        world = scene.objects[self.thing].T_world_object @ self.xyz
        u, v = project(world[:3], scene.T_world_camera, picture.camera)
        optical = np.linalg.inv(scene.T_world_camera) @ world
        height, width = picture.depth.shape
        column, row = round(float(u)), round(float(v))
        if not (0 <= column < width and 0 <= row < height):
            return (u, v), False
        around = picture.depth[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        near = bool(np.nanmin(np.abs(around - optical[2])) < _SAME_DEPTH)
        return (float(u), float(v)), near


def places_of(scene: Scene, picture: Rendering) -> list[Place]:
    """Where a perfect model points: on every thing that shows enough of itself."""
    found = []
    for number, (item, truth) in enumerate(
        zip(scene.objects, truth_of(scene, picture), strict=True)
    ):
        if truth.visible_fraction > 0.3 and np.all(np.isfinite(truth.position)):
            world = scene.T_world_camera @ [*truth.position, 1.0]
            found.append(Place(number, np.linalg.inv(item.T_world_object) @ world))
    return found


@dataclass
class Tally:
    """What came of one path."""

    off: list[float] = field(default_factory=list)
    missing: int = 0
    late: list[int] = field(default_factory=list)
    drifts: list[tuple[float, float]] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    replayed: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)

    @property
    def good(self) -> float:
        """Share of the points that ought to be there and are."""
        wanted = len(self.off) + self.missing
        return float(np.sum(np.array(self.off) <= GOOD)) / wanted if wanted else np.nan


def frames(scene: Scene, path: Path, size: tuple[int, int], seconds: float, seed: int) -> Iterator:
    """(time, scene, rendering with noise in its colors) at each tick."""
    rng = np.random.default_rng(seed)
    for tick in range(round(seconds * RATE)):
        now = path(scene, tick / RATE)
        picture = render(now, *size, smooth=True)
        noisy = picture.color + rng.normal(0, 2.0, picture.color.shape)
        yield tick, now, replace(picture, color=np.clip(noisy, 0, 255).astype(np.uint8))


def follow(
    scene: Scene,
    path: Path,
    *,
    with_depth: bool = True,
    size: tuple[int, int] = (640, 480),
    seconds: float = SECONDS,
    delay: float = 0.5,
    tally: Tally | None = None,
) -> Tally:
    """Track along a path, and compare with the truth."""
    tally = tally or Tally()
    tracker = PointTracker()
    every, wait = round(PERIOD * RATE), round(delay * RATE)
    asked: list[tuple[str, Place]] = []
    valid: dict[str, Place] = {}
    unseen: dict[str, int] = {}
    stamp = 0
    for tick, now, picture in frames(scene, path, size, seconds, scene.seed):
        depth = picture.depth if with_depth else None
        capture = Capture(Frame(picture.color, depth, picture.camera, (tick + 1) * 33_333_333, ''))
        begun = time.perf_counter()
        told = tracker.add_view(view_of(capture)).get('all', ())
        tally.seconds.append(time.perf_counter() - begun)
        tally.points.append(len(told))
        if tick % every == 0:
            stamp = capture.frame.stamp
            tracker.asked(stamp)
            asked = [(str(place.thing), place) for place in places_of(now, picture)]
            answer = [
                ImagePoint(*from_centred(*place.seen(now, picture)[0]), name)
                for name, place in asked
            ]
            hidden: set[str] = set()
        by_name = {one.point.label: one for one in told}
        for name, place in valid.items():
            (u, v), seen = place.seen(now, picture)
            one = by_name.get(name)
            if not seen:
                unseen[name] = unseen.get(name, 0) + 1
                if one is None and unseen[name] > 0 and name in by_name_before:
                    tally.late.append(unseen[name] - 1)
                elif one is not None and unseen[name] > 10:
                    tally.late.append(unseen[name])
                continue
            if name in unseen:
                continue  # it may only come back with an answer
            if one is None:
                tally.missing += 1
            else:
                off = float(np.hypot(one.point.centred[0] - u, one.point.centred[1] - v))
                tally.off.append(off)
                tally.drifts.append((one.drift, off))
        by_name_before = by_name
        hidden |= {name for name, place in asked if not place.seen(now, picture)[1]}
        if tick % every == wait:
            begun = time.perf_counter()
            tracker.answered('all', stamp, answer)
            tally.replayed.append((time.perf_counter() - begun) / max(wait, 1))
            valid = dict(asked)
            unseen = {name: 1 for name in hidden}
    return tally


def pyramid_seconds(size: tuple[int, int]) -> float:
    """What one pyramid of OpenCV's own costs on this machine."""
    grey = np.random.default_rng(0).integers(0, 255, (size[1], size[0]), np.uint8)
    times = []
    for _ in range(30):
        begun = time.perf_counter()
        cv2.buildOpticalFlowPyramid(grey, (15, 15), 3, withDerivatives=True)
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--scenes', type=int, default=6)
    parser.add_argument('--first-seed', type=int, default=61000)
    parser.add_argument('--table', choices=TABLES, default='rich')
    parser.add_argument('--delay', type=float, default=0.5)
    parser.add_argument('--paths', nargs='*', choices=PATHS, default=list(PATHS))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print('| path | depth | points | within 5 px | missing | p95 px | late | in drift | ms | carry |')
    print('|---|---|---|---|---|---|---|---|---|---|')
    scenes = [
        make_scene(arguments.first_seed + i, TABLES[arguments.table])
        for i in range(arguments.scenes)
    ]
    pyramid = pyramid_seconds((640, 480))
    for name in arguments.paths:
        for with_depth in (True, False):
            tally = Tally()
            for scene in scenes:
                follow(
                    scene,
                    PATHS[name],
                    with_depth=with_depth,
                    delay=arguments.delay,
                    tally=tally,
                )
            wanted = len(tally.off) + tally.missing
            drift, off = np.array(tally.drifts).T
            print(
                f'| {name} | {"yes" if with_depth else "no"} | {np.mean(tally.points):.1f} '
                f'| {tally.good:.1%} | {tally.missing / wanted:.1%} '
                f'| {np.percentile(tally.off, 95):.2f} '
                f'| {max(tally.late, default=0)} of {len(tally.late)} '
                f'| {np.mean(off <= np.maximum(2 * drift, 0.5)):.1%} '
                f'| {np.median(tally.seconds) * 1e3:.2f} '
                f'({np.median(tally.seconds) / pyramid:.1f} pyramids) '
                f'| {np.median(tally.replayed) * 1e3:.2f} |',
                flush=True,
            )


if __name__ == '__main__':
    main()
