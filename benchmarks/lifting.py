# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well a pixel is lifted to 3D: ours beside what is usually done.

    python benchmarks/lifting.py [--scenes 80] [--first-seed 50000] [--camera realsense]
    python benchmarks/lifting.py --checkpoint models/tabletop     time, beside the model's

Rendered tables, near and far, seen by a simulated stereo camera; every object is pointed at in
several random pixels at least --margin pixels inside its outline. Each method gives a depth, and
the point is where the pixel's ray has that depth; its error is the distance to the true point.
A point is on the wrong surface if its depth is nearer to that of another object seen within 10
pixels (and 10 mm or more before or behind it) than to its own, or if it is more than 20 mm off
(20 mm times z^2 beyond one metre).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from numpy.typing import NDArray
from stereo_camera import REALSENSE, StereoCamera

from molmo_ros.spatial import LiftSettings, StereoNoise, lift_points
from molmo_ros.tabletop.world import EASY, Rendering, make_scene, render
from molmo_ros.tabletop.world.shapes import KINDS, Kind, Mesh, lathe, tube

NEAR, FAR = (0.4, 0.95), (0.95, 1.7)
METHODS = ('single pixel', '5x5 median', 'box mode', 'ours')
POINTS = 8
# What sees the tables, and the preset that ours is told; '' for the camera's own numbers.
CAMERAS: dict[str, tuple[StereoCamera | None, str]] = {
    'stereo': (StereoCamera(), ''),
    'realsense': (REALSENSE, 'd435'),
    'perfect': (None, ''),
    'ideal': (None, 'ideal'),
}


def spoon() -> Mesh:
    """A spoon on its back: a bowl 34 mm wide, a handle 9 mm wide and 4 mm thick, 5 mm up."""
    x = np.linspace(-0.07, 0.07, 29)
    path = np.stack([x, 0 * x, 0.018 + 2 * x**2], 1)
    bowl = 0.017 * np.sqrt(np.clip(1 - ((x + 0.045) / 0.025) ** 2, 0, 1))
    mesh = tube(path, np.maximum(bowl, 0.0045))
    flat = np.array([1, 1, 0.4], np.float32)
    normals = mesh.normals / flat
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return replace(mesh, vertices=mesh.vertices * flat, normals=normals)


def stick() -> Mesh:
    """A stick 10 mm thick that stands upright."""
    return lathe([(0.005, 0), (0.005, 0.12)], [(0.005, 0.12), (0, 0.12)])


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """One picture: what the stereo camera saw, and the truth of it."""

    seed: int
    seen: NDArray[np.float32]
    truth: Rendering
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """One point: a pixel of an object, and the true depth there in metres."""

    seed: int
    kind: str
    u: int
    v: int
    z: float
    thin: bool


@dataclass(frozen=True)
class LiftError:
    """What one method made of one query; error in metres, NaN where it gave no answer."""

    error: float
    wrong: bool


def views(seeds: Iterable[int], noise: StereoCamera | None) -> Iterable[Viewpoint]:
    """Tables near and far in turn."""
    KINDS.update(spoon=Kind(spoon, round=False), stick=Kind(stick))
    for seed in seeds:
        spec = replace(
            EASY,
            kinds=(*EASY.kinds, 'can', 'spoon', 'stick'),
            distance=(NEAR, FAR)[seed % 3 == 2],
            tilt_deg=(25.0, 65.0),
            min_objects=4,
            max_objects=7,
            min_width=0.02,
            max_width=0.4,
            min_visible=0.5,
        )
        scene = make_scene(seed, spec)
        truth = render(scene)
        rng = np.random.default_rng(seed)
        seen = noise.see(truth.depth, truth.normals, truth.camera, rng) if noise else truth.depth
        yield Viewpoint(seed, seen, truth, tuple(item.kind for item in scene.objects))


def queries(view: Viewpoint, margin: int) -> list[Query]:
    """Random pixels of every object, at least margin pixels from where it ends."""
    rng = np.random.default_rng((view.seed, 1))
    chosen = []
    for number, kind in enumerate(view.kinds, 1):
        mask = np.pad(view.truth.instances == number, 1).astype(np.uint8)
        inside = cv2.distanceTransform(mask, cv2.DIST_C, 3)[1:-1, 1:-1]
        rows, columns = np.nonzero(inside > margin)
        for i in rng.choice(len(rows), min(POINTS, len(rows)), replace=False):
            u, v = int(columns[i]), int(rows[i])
            widest = inside[max(v - 6, 0) : v + 7, max(u - 6, 0) : u + 7].max()
            thin = bool(widest <= 6)
            chosen.append(Query(view.seed, kind, u, v, float(view.truth.depth[v, u]), thin))
    return chosen


def single_pixel(view: Viewpoint, query: Query) -> float:
    """The reading at the pixel."""
    return float(view.seen[query.v, query.u])


def median_5x5(view: Viewpoint, query: Query) -> float:
    """The median of the readings in a square of 5 pixels around it."""
    square = _square(view.seen, query, 2)
    square = square[np.isfinite(square)]
    return float(np.median(square)) if len(square) else np.nan


def box_mode(view: Viewpoint, query: Query) -> float:
    """The fullest 10 mm bin over the object's true bounding box, and the median of its readings."""
    instances = view.truth.instances
    rows, columns = np.nonzero(instances == instances[query.v, query.u])
    box = view.seen[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    box = box[np.isfinite(box)]
    bins = np.floor(box / 0.01).astype(int)
    return float(np.median(box[bins == np.bincount(bins).argmax()])) if len(box) else np.nan


def _square(image: NDArray, query: Query, radius: int) -> NDArray:
    u, v = query.u, query.v
    return image[max(v - radius, 0) : v + radius + 1, max(u - radius, 0) : u + radius + 1]


def judged(view: Viewpoint, query: Query, z: float) -> LiftError:
    """The error of a depth, and whether it is another surface's."""
    if not np.isfinite(z):
        return LiftError(np.nan, False)
    ray = view.truth.camera.ray(query.u, query.v)
    error = abs(z - query.z)
    here = view.truth.instances[query.v, query.u]
    around = _square(view.truth.depth, query, 10)
    others = around[_square(view.truth.instances, query, 10) != here]
    others = others[np.abs(others - query.z) > 0.01]
    nearer_another = len(others) > 0 and float(np.nanmin(np.abs(others - z))) < error
    far_off = error > 0.02 * max(1.0, query.z**2)
    return LiftError(error * float(np.linalg.norm(ray)), bool(nearer_another or far_off))


@dataclass(frozen=True)
class Lifted:
    """What ours says beside the position: angle of the normal to the true one in degrees, the
    squared error along the ray over its variance, and how many pixels it stood on."""

    angle: float
    nees: float
    pixels: int
    bridged: bool


@dataclass(frozen=True)
class Row:
    """One query with what every method made of it."""

    query: Query
    results: dict[str, LiftError]
    lifted: Lifted


def run(
    seeds: Iterable[int], noise: StereoCamera | None, margin: int, preset: str = ''
) -> list[Row]:
    """All methods on all points of the views of these seeds; preset: ours is told no more."""
    settings = LiftSettings(pixel_sigma=0.0, noise=_model_of(noise), preset=preset)
    rows = []
    for view in views(seeds, noise):
        asked = queries(view, margin)
        if not asked:
            continue
        camera = view.truth.camera
        points = lift_points([(q.u, q.v) for q in asked], view.seen, camera, settings)
        for query, point in zip(asked, points, strict=True):
            depths = (single_pixel(view, query), median_5x5(view, query), box_mode(view, query))
            z = dict(zip(METHODS, (*depths, float(point.position[2])), strict=True))
            off = point.position - camera.ray(query.u, query.v) * query.z
            cosine = float(point.normal @ view.truth.normals[query.v, query.u])
            lifted = Lifted(
                float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))),
                float(off @ off / np.trace(point.covariance)),
                point.valid_pixels,
                point.bridged,
            )
            rows.append(Row(query, {m: judged(view, query, z[m]) for m in METHODS}, lifted))
    return rows


def _model_of(noise: StereoCamera | None) -> StereoNoise:
    camera = noise or StereoCamera()
    return StereoNoise(camera.baseline, camera.sigma, camera.step, camera.blur)


def groups(rows: Sequence[Row]) -> Iterable[tuple[str, list[Row]]]:
    """The rows of the table: all within a metre, by kind within a metre, by distance."""
    near = [row for row in rows if row.query.z <= 1]
    yield 'all <= 1 m', near
    for kind in sorted({row.query.kind for row in near}):
        yield kind, [row for row in near if row.query.kind == kind]
    yield 'thin parts', [row for row in near if row.query.thin]
    for low, high in ((0.0, 0.6), (0.6, 0.8), (0.8, 1.0), (1.0, 1.3), (1.3, 3.0)):
        yield f'{low:.1f} to {high:.1f} m', [r for r in rows if low < r.query.z <= high]


def figures(rows: Sequence[Row], method: str) -> dict[str, float]:
    """Errors in mm, shares in percent."""
    results = [row.results[method] for row in rows]
    errors = 1e3 * np.array([r.error for r in results if np.isfinite(r.error)])
    median, p95, worst = np.percentile(errors, [50, 95, 100]) if len(errors) else [np.nan] * 3
    return {
        'median': float(median),
        'rmse': float(np.sqrt(np.mean(errors**2))) if len(errors) else np.nan,
        'p95': float(p95),
        'worst': float(worst),
        'wrong': 100 * float(np.mean([r.wrong for r in results])),
        'none': 100 * (1 - len(errors) / len(results)),
    }


CELLS = '| {median:6.2f} {rmse:6.2f} {p95:6.2f} {worst:6.1f} {wrong:6.2f} {none:5.2f}'


def report(rows: Sequence[Row]) -> None:
    """The table, as text."""
    print(f'{"":12s} {"n":>5s}', *(f'| {method:^40s}' for method in METHODS))
    columns = '| median   rmse    p95  worst wrong% none%'
    print(f'{"error in mm":12s} {"":5s}', *([columns] * len(METHODS)))
    for name, some in groups(rows):
        if some:
            cells = (CELLS.format(**figures(some, method)) for method in METHODS)
            print(f'{name:12s} {len(some):5d}', *cells)
    print(
        f'\n{"ours":12s} {"n":>5s} | normal: median    p95 deg | NEES mean (band)  median | pixels'
    )
    for name, some in groups(rows):
        if some:
            print(f'{name:12s} {len(some):5d} | {_quality([row.lifted for row in some])}')


def _quality(lifted: Sequence[Lifted]) -> str:
    angles = [x.angle for x in lifted if np.isfinite(x.angle)]
    nees = [x.nees for x in lifted if np.isfinite(x.nees)]
    band = 1.96 * np.sqrt(2 / max(len(nees), 1))
    return (
        f'{np.median(angles):14.2f} {np.percentile(angles, 95):6.2f}     | '
        f'{np.mean(nees):9.2f} (1 +- {band:.2f}) {np.median(nees):.2f} | '
        f'{np.mean([x.pixels for x in lifted]):6.1f}'
    )


def speed(count: int = 100, repeats: int = 100) -> tuple[float, float]:
    """Least and median milliseconds to lift so many points of a 640x480 image.

    Of the processor, where other programs would be in them else.
    """
    view = next(iter(views([1], StereoCamera())))
    pixels = np.random.default_rng(0).uniform((0, 0), (639, 479), (count, 2))
    return _milliseconds(
        lambda _: lift_points(pixels, view.seen, view.truth.camera), range(repeats)
    )


def answering(folder: str, repeats: int = 10) -> tuple[float, float, float]:
    """The same for a checkpoint's answers about new 640x480 images, and how many passes one took.

    All of an answer: crops, encoder, decoder; on one core like lifting.
    """
    import torch

    from molmo_ros.engine import Question, load_engine

    torch.set_num_threads(1)
    engine = load_engine(folder, device='cpu', dtype='float32')
    asked = []
    for seed in range(repeats):
        scene = make_scene(seed, EASY)
        thing = scene.objects[0]  # that something is not there is said in one pass
        asked.append((render(scene).color, f'the {thing.colour} {thing.kind}'))
    passes: list[int] = []

    def ask(about: tuple[NDArray[np.uint8], str]) -> None:
        passes.append(engine.answer(about[0], Question(about[1])).passes)

    ask(asked[0])
    least, median = _milliseconds(ask, asked[1:])
    engine.close()
    return least, median, float(np.median(passes))


def _milliseconds(work: Callable[[Any], object], inputs: Iterable[Any]) -> tuple[float, float]:
    times = []
    for given in inputs:
        start = time.process_time()
        work(given)
        times.append(1e3 * (time.process_time() - start))
    return min(times), float(np.median(times))


def compare(folder: str) -> None:
    """Print what lifting takes beside the model, in turn so that both meet the same machine."""
    rounds = [(speed(), answering(folder)) for _ in range(3)]
    lifting = min(least for (least, _), _ in rounds), np.median([m for (_, m), _ in rounds])
    least, median = (min(a[0] for _, a in rounds), np.median([a[1] for _, a in rounds]))
    passes = rounds[0][1][2]
    print('milliseconds of one core at 640x480: least, median')
    print(f'100 points lifted      {lifting[0]:8.2f} {lifting[1]:8.2f}')
    print(f'one answer             {least:8.2f} {median:8.2f}   in {passes:g} passes')
    print(f'of these, one pass     {least / passes:8.2f} {median / passes:8.2f}')
    print(f'lifting / one pass     {lifting[0] * passes / least:8.3f}')


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=80)
    parser.add_argument('--first-seed', type=int, default=50000)
    parser.add_argument('--margin', type=int, default=2, help='pixels inside the outline')
    parser.add_argument(
        '--camera',
        choices=tuple(CAMERAS),
        default='stereo',
        help='that sees the tables: a tame stereo camera, one with the flaws of a RealSense (ours '
        'is told the preset d435 and no more), one without any (perfect), or the same and ours is '
        'told so (ideal)',
    )
    parser.add_argument(
        '--checkpoint', help='time lifting beside an answer of this folder, no more'
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.checkpoint:
        compare(arguments.checkpoint)
        return
    noise, preset = CAMERAS[arguments.camera]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.scenes)
    report(run(seeds, noise, arguments.margin, preset))
    least, median = speed()
    print(f'\n100 points at 640x480: {least:.2f} ms at least, {median:.2f} ms in the median')


if __name__ == '__main__':
    main()
