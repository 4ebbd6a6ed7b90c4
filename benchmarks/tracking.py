# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well points are carried between answers while the camera or a thing moves.

    python benchmarks/tracking.py [--scenes 3] [--first-seed 61000] [--table rich] [--delay 0.5]

A rendered table along paths of a camera at 30 Hz, with the noise of a sensor in its pictures.
Answers are perfect, 1 s apart, and come `delay` seconds after the picture that they are about.
A point counts from its first answer on, in every picture in which its place on the thing is seen
and has been seen since the picture of the last answer; it is good where it is tracked to within
5 pixels. Late: the most pictures in which a point was told although it was out of sight. Times are
of one core; a pyramid is what OpenCV needs for one with derivatives.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
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
    """What came of one path.

    off: pixels, of points that ought to be there and are. missing: how many are not. late: pictures
    in which a point was told although it was out of sight, each time. drifts: what was said of it.
    points: at once. seconds, carried: a picture, and one picture of an answer's way forward.
    """

    off: list[float] = field(default_factory=list)
    missing: int = 0
    late: list[int] = field(default_factory=list)
    drifts: list[float] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    carried: list[float] = field(default_factory=list)

    @property
    def good(self) -> float:
        """Share of the points that ought to be there and are, to within 5 pixels."""
        wanted = len(self.off) + self.missing
        return float(np.sum(np.array(self.off) <= GOOD)) / wanted if wanted else np.nan


Moment = tuple[Scene, Rendering]


def film(
    scene: Scene, path: Path, size: tuple[int, int] = (640, 480), seconds: float = SECONDS
) -> list[Moment]:
    """The pictures along a path, with a sensor's noise in their colors."""
    rng = np.random.default_rng(scene.seed)
    shot = []
    for tick in range(round(seconds * RATE)):
        now = path(scene, tick / RATE)
        picture = render(now, *size, smooth=True)
        noisy = picture.color + rng.normal(0, 2.0, picture.color.shape)
        color = np.clip(noisy, 0, 255).astype(np.uint8)
        shot.append((now, replace(picture, color=color, normals=np.empty((0, 0, 3), np.float32))))
    return shot


def follow(
    moments: Sequence[Moment], tally: Tally, *, with_depth: bool = True, delay: float = 0.5
) -> None:
    """Track along a path, and compare with the truth."""
    tracker = PointTracker()
    every, wait = round(PERIOD * RATE), round(delay * RATE)
    asked: dict[str, Place] = {}
    hidden: set[str] = set()  # out of sight at some time since the answer's picture
    wanted: dict[str, Place] = {}
    out: dict[str, int] = {}  # of wanted ones: pictures in which it was told out of sight
    for tick, (now, picture) in enumerate(moments):
        depth = picture.depth if with_depth else None
        frame = Frame(picture.color, depth, picture.camera, (tick + 1) * 33_333_333, '')
        begun = time.thread_time()
        told = {
            one.point.label: one for one in tracker.add_view(view_of(Capture(frame))).get('all', ())
        }
        tally.seconds.append(time.thread_time() - begun)
        tally.points.append(len(told))
        for name, place in wanted.items():
            (u, v), seen = place.seen(now, picture)
            if not seen or name in out:
                _count_late(out, name, name in told and not seen, tally)
            elif name in told:
                at = told[name].point.centred
                tally.off.append(float(np.hypot(at[0] - u, at[1] - v)))
                tally.drifts.append(told[name].drift)
            else:
                tally.missing += 1
        if tick % every == 0:
            stamp = frame.stamp
            tracker.begin(stamp)
            asked = {str(place.thing): place for place in places_of(now, picture)}
            answer = [
                ImagePoint(*from_centred(*place.seen(now, picture)[0]), name)
                for name, place in asked.items()
            ]
            hidden = set()
        hidden |= {name for name, place in asked.items() if not place.seen(now, picture)[1]}
        if tick % every == wait:
            begun = time.thread_time()
            tracker.answered('all', stamp, answer)
            tally.carried.append((time.thread_time() - begun) / max(wait, 1))
            for name in list(out):
                _count_late(out, name, False, tally)
            wanted, out = dict(asked), dict.fromkeys(hidden, 0)


def _count_late(out: dict[str, int], name: str, told: bool, tally: Tally) -> None:
    """Count pictures in which a point is told out of sight; note them when that has ended."""
    out.setdefault(name, 0)
    if told:
        out[name] += 1
    elif out[name]:
        tally.late.append(out[name])
        out[name] = 0


def pyramid_seconds(size: tuple[int, int]) -> float:
    """What one pyramid of OpenCV's own costs on this machine."""
    grey = np.random.default_rng(0).integers(0, 255, (size[1], size[0]), np.uint8)
    times = []
    for _ in range(30):
        begun = time.thread_time()
        cv2.buildOpticalFlowPyramid(grey, (15, 15), 3, withDerivatives=True)
        times.append(time.thread_time() - begun)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--scenes', type=int, default=3)
    parser.add_argument('--first-seed', type=int, default=61000)
    parser.add_argument('--table', choices=TABLES, default='rich')
    parser.add_argument('--delay', type=float, default=0.5)
    parser.add_argument('--paths', nargs='*', choices=PATHS, default=list(PATHS))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    heads = (
        'path',
        'depth',
        'points',
        'within 5 px',
        'missing',
        'p95, px',
        'late',
        'within 2 drifts',
        'ms (pyramids)',
        'ms carried',
    )
    print(f'| {" | ".join(heads)} |\n|{"---|" * len(heads)}')
    scenes = [
        make_scene(arguments.first_seed + i, TABLES[arguments.table])
        for i in range(arguments.scenes)
    ]
    pyramid = pyramid_seconds((640, 480))
    for name in arguments.paths:
        tallies = {True: Tally(), False: Tally()}
        for scene in scenes:
            moments = film(scene, PATHS[name])
            for with_depth, tally in tallies.items():
                follow(moments, tally, with_depth=with_depth, delay=arguments.delay)
        for with_depth, tally in tallies.items():
            print(row(name, with_depth, tally, pyramid), flush=True)


def row(name: str, with_depth: bool, tally: Tally, pyramid: float) -> str:
    """A line of the table."""
    wanted = len(tally.off) + tally.missing
    off, drift = np.array(tally.off), np.array(tally.drifts)
    once = float(np.median(tally.seconds))
    cells = [
        name,
        'yes' if with_depth else 'no',
        f'{np.mean(tally.points):.1f}',
        f'{tally.good:.1%}',
        f'{tally.missing / wanted:.1%}',
        f'{np.percentile(off, 95):.2f}',
        f'{max(tally.late, default=0)}',
        f'{np.mean(off <= np.maximum(2 * drift, 0.5)):.1%}',
        f'{once * 1e3:.2f} ({once / pyramid:.1f})',
        f'{np.median(tally.carried) * 1e3:.2f}',
    ]
    return f'| {" | ".join(cells)} |'


if __name__ == '__main__':
    main()
