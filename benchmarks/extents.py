# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which points have a thing under them: on bare tables, on low things, beside neighbours.

    python -m benchmarks.extents [--scenes 60] [--first-seed 61000] [--only leaks]

Rendered tables at 0.4 to 0.95 m, on perfect depth and as three stereo cameras see it. An object on
a bare table is a false one. A low thing is found where its extent is within 20 mm of its length and
10 mm of its width (thin: 120 by 15 mm, flat: 90 by 55 mm). Two boxes side by side leak where a
twentieth of an extent's points is on the other one. A gap is closed by a jump of 12 mm, beside the
noise, and by what hides the table in it, so that nearly all boxes leak that are nearer than 6 mm:
gaps of 10 to 20 mm tell better from worse. Real frames: `benchmarks/real_depth.py`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.stereo_camera import REALSENSE, REALSENSE_WIDE, StereoCamera
from molmo_ros.spatial import Extent, LiftSettings, StereoNoise, lift_points, visible_extent
from molmo_ros.tabletop.world import EASY, Object, Rendering, Scene, make_scene, render

CUBE = np.array([0.10, 0.10, 0.09])  # metres, the nominal size of the kind
HEIGHTS = (0.005, 0.008, 0.010, 0.012, 0.016, 0.025)
SHAPES = {'thin': (0.12, 0.015), 'flat': (0.09, 0.055)}
GAPS = (0.0, 0.01, 0.015, 0.02)  # metres between neighbours, the other one so much higher:
STEPS = (0.01, 0.02, 0.04)
BESIDE = (0.012, 0.03)  # metres, heights of boxes that stand beside another
BARE_POINTS = 16


@dataclass(frozen=True)
class Camera:
    """What sees the tables; preset: what ours is told. wide: 1280 pixels, else 640."""

    name: str
    noise: StereoCamera | None
    settings: LiftSettings
    wide: bool = False


def cameras() -> tuple[Camera, ...]:
    """Perfect depth, told or not that it is; a tame stereo camera; a RealSense of both widths."""
    tame = StereoCamera()
    model = StereoNoise(tame.baseline, tame.sigma, tame.step, tame.blur)
    return (
        Camera('perfect, preset ideal', None, LiftSettings(preset='ideal')),
        Camera('perfect, defaults', None, LiftSettings()),
        Camera('stereo', tame, LiftSettings(noise=model)),
        Camera('RealSense 640, preset d435', REALSENSE, LiftSettings(preset='d435')),
        Camera('RealSense 1280, preset d435', REALSENSE_WIDE, LiftSettings(preset='d435'), True),
    )


@dataclass(frozen=True, eq=False)
class View:
    """A table as a camera sees it."""

    depth: NDArray[np.float32]
    truth: Rendering
    settings: LiftSettings

    def extents(self, pixels: NDArray[np.intp]) -> Iterator[Extent | None]:
        """Of what is seen at pixels (N, 2)."""
        camera = self.truth.camera
        for point in lift_points(pixels.astype(float), self.depth, camera, self.settings):
            yield visible_extent(point, self.depth, camera, self.settings)

    def share(self, extent: Extent, number: int) -> float:
        """Of the extent's points that are on the thing of that number."""
        u, v = np.rint(self.truth.camera.project(extent.points)).astype(int).T
        return float(np.mean(self.truth.instances[v, u] == number))


def seen(scene: Scene, camera: Camera) -> View:
    """The scene through the camera."""
    size = (1280, 960) if camera.wide else (640, 480)
    truth = render(scene, *size)
    depth = truth.depth
    if camera.noise is not None:
        rng = np.random.default_rng(scene.seed)
        depth = camera.noise.see(truth.depth, truth.normals.astype(np.float64), truth.camera, rng)
    return View(depth, truth, camera.settings)


def table(seed: int, *objects: Object) -> Scene:
    """A table with nothing but these things, looked at from somewhere."""
    scene = make_scene(seed, replace(EASY, distance=(0.4, 0.95), tilt_deg=(20.0, 65.0)))
    return replace(scene, objects=objects, clutter=())


def block(seed: int, size: Iterable[float], at: tuple[float, float] = (0.0, 0.0)) -> Object:
    """A box of length, width and height in metres, its middle at x, y of its own turned frame."""
    turn = float(np.random.default_rng(seed).uniform(0, np.pi))
    x, y = at
    c, s = np.cos(turn), np.sin(turn)
    place = (c * x - s * y, s * x + c * y, 0.0)
    scale = tuple((np.array(list(size)) / CUBE).tolist())
    return Object('box', 'grey', (0.5, 0.5, 0.5), place, turn, scale, 0.1)


def middle_of(view: View, number: int) -> NDArray[np.intp]:
    """(1, 2) the pixel of a thing that is farthest from its outline; (0, 2) if it is not seen."""
    mask = np.pad(view.truth.instances == number, 1).astype(np.uint8)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return np.array([(column, row)] if inside[row, column] > 1 else np.empty((0, 2)), np.intp)


def bare(seeds: Iterable[int], camera: Camera) -> tuple[int, int]:
    """How many points of bare tables have a thing under them, and of how many."""
    things = points = 0
    for seed in seeds:
        view = seen(table(seed), camera)
        on_table = np.isfinite(view.truth.depth)
        on_table[:20] = on_table[-20:] = False
        on_table[:, :20] = on_table[:, -20:] = False
        rows, columns = np.nonzero(on_table)
        chosen = np.random.default_rng(seed).choice(len(rows), BARE_POINTS)
        found = list(view.extents(np.column_stack([columns, rows])[chosen]))
        things += sum(extent is not None for extent in found)
        points += len(found)
    return things, points


def low(seeds: Iterable[int], camera: Camera, shape: str, height: float) -> tuple[int, int]:
    """How many things of a height are found, and of how many."""
    found = things = 0
    length, width = SHAPES[shape]
    for seed in seeds:
        view = seen(table(seed, block(seed, (length, width, height))), camera)
        for extent in view.extents(middle_of(view, 1)):
            things += 1
            found += (
                extent is not None
                and abs(extent.size[0] - length) < 0.02
                and abs(extent.size[1] - width) < 0.01
            )
    return found, things


def leaks(seeds: Iterable[int], camera: Camera, height: float, gap: float) -> tuple[int, int]:
    """Of the boxes beside a higher one: how many have an extent that goes over to it, of all that
    have an extent."""
    leaked = found = 0
    for seed in seeds:
        for step in STEPS:
            first = block(seed, (0.06, 0.05, height))
            other = block(seed, (0.06, 0.05, height + step), (0.0, 0.05 + gap))
            view = seen(table(seed, first, other), camera)
            for extent in view.extents(middle_of(view, 1)):
                if extent is not None:
                    found += 1
                    leaked += view.share(extent, 2) > 0.05
    return leaked, found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=60)
    parser.add_argument('--first-seed', type=int, default=61000)
    parser.add_argument('--only', choices=('found', 'leaks'), help='one of the tables')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.scenes)
    if arguments.only != 'leaks':
        _print_found(seeds)
    if arguments.only != 'found':
        _print_leaks(seeds)


def _print_found(seeds: range) -> None:
    heights = ' | '.join(f'{1e3 * height:g} mm' for height in HEIGHTS)
    print(f'| camera | thing on a bare table | shape | found of {heights} |')
    for camera in cameras():
        things, points = bare(seeds, camera)
        for shape in SHAPES:
            counts = (low(seeds, camera, shape, height) for height in HEIGHTS)
            cells = ' | '.join(f'{found / of:.0%}' for found, of in counts)
            print(f'| {camera.name} | {things / points:.2%} of {points} | {shape} | {cells} |')


def _print_leaks(seeds: range) -> None:
    gaps = ' | '.join(f'{1e3 * gap:g} mm' for gap in GAPS)
    print(f'| camera | height | leaks, of those found, at a gap of {gaps} |')
    for camera in cameras():
        for height in BESIDE:
            counts = (leaks(seeds, camera, height, gap) for gap in GAPS)
            cells = ' | '.join(f'{leaked} of {found}' for leaked, found in counts)
            print(f'| {camera.name} | {1e3 * height:g} mm | {cells} |', flush=True)


if __name__ == '__main__':
    main()
