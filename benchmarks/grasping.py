# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well a thing's extent and an approach pose are told from one picture.

    python benchmarks/grasping.py [--scenes 60] [--first-seed 52000]

Boxes, cans, balls and bottles on rendered tables, pointed at where Molmo would (the middle of what
is seen), on perfect depth and as the simulated stereo camera sees it. The true width is the least
distance of two parallel planes, both upright on the table, with the whole thing between them. Width
is the grasp's, size the worse of length and width of the extent.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from lifting import _model_of
from numpy.typing import NDArray
from stereo_camera import StereoCamera

from molmo_ros.spatial import (
    GraspSettings,
    LiftSettings,
    LiftStatus,
    approach_pose,
    lift,
    visible_extent,
)
from molmo_ros.tabletop.world import EASY, Object, make_scene, render, truth_of
from molmo_ros.tabletop.world.shapes import outline_of

KINDS = ('box', 'can', 'ball', 'bottle')


@dataclass(frozen=True)
class Measured:
    """What one thing gave: NaN where there was no answer. Degrees and metres."""

    kind: str
    normal: float
    up: float
    width: float
    size: float
    height: float
    centre: float


def run(seeds: Iterable[int], noise: StereoCamera | None) -> list[Measured]:
    """All things of the scenes of these seeds."""
    spec = replace(EASY, kinds=KINDS, distance=(0.5, 0.95), min_width=0.05)
    rows = []
    for seed in seeds:
        scene = make_scene(seed, spec)
        truth = render(scene)
        rng = np.random.default_rng(seed)
        depth = truth.depth
        if noise is not None:
            depth = noise.see(truth.depth, truth.normals, truth.camera, rng)
        up = scene.T_world_camera[2, :3]
        settings = LiftSettings(noise=_model_of(noise))
        for item, seen in zip(scene.objects, truth_of(scene, truth), strict=True):
            u, v = seen.target
            point = lift(u, v, depth, truth.camera, settings)
            if point.status != LiftStatus.OK:
                rows.append(Measured(item.kind, *[np.nan] * 6))
                continue
            extent = visible_extent(point, depth, truth.camera, settings)
            pose = approach_pose(point, extent, GraspSettings(opening=0.3))
            normal = truth.normals[int(v), int(u)]
            length, width, height = true_size(item)
            centre = seen.T_optical_object[:3, 3] + up * height / 2
            plane = extent.plane if extent else None
            rows.append(
                Measured(
                    item.kind,
                    angle(point.normal, normal),
                    angle(plane.normal, up) if plane else np.nan,
                    abs(pose.width - width) if pose else np.nan,
                    float(np.abs(extent.size[:2] - (length, width)).max()) if extent else np.nan,
                    abs(extent.size[2] - height) if extent else np.nan,
                    float(np.linalg.norm(extent.centre - centre)) if extent else np.nan,
                )
            )
    return rows


def true_size(item: Object) -> tuple[float, float, float]:
    """Narrowest width over all turns about the vertical, and before it the length across it, after
    it the height, in metres."""
    outline = outline_of(item.kind) * item.scale
    turns = np.linspace(0, np.pi, 360, endpoint=False)
    widths = np.ptp(outline[:, :2] @ np.stack([np.cos(turns), np.sin(turns)]), axis=0)
    narrow = int(widths.argmin())
    return float(widths[narrow - 180]), float(widths[narrow]), float(np.ptp(outline[:, 2]))


def angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Degrees between two unit vectors."""
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def report(rows: list[Measured]) -> None:
    """Median (95th percentile) of each error, by kind."""
    columns = 'width mm     size mm      height mm    centre mm   '
    print(f'           n | normal deg    up deg       | {columns} | none%')
    for kind in (*KINDS, 'all'):
        some = [row for row in rows if kind in (row.kind, 'all')]
        if not some:
            continue
        cells = []
        for name, scale in (
            ('normal', 1),
            ('up', 1),
            ('width', 1e3),
            ('size', 1e3),
            ('height', 1e3),
            ('centre', 1e3),
        ):
            values = scale * np.array([getattr(row, name) for row in some])
            values = values[np.isfinite(values)]
            middle, high = np.percentile(values, [50, 95]) if len(values) else (np.nan, np.nan)
            cells.append(f'{middle:5.2f} ({high:5.1f})')
        none = 100 * np.mean([not np.isfinite(row.width) for row in some])
        print(f'{kind:7s} {len(some):4d} |', *cells[:2], '|', *cells[2:], f'| {none:.1f}')


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=60)
    parser.add_argument('--first-seed', type=int, default=52000)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.scenes)
    for title, noise in (('perfect depth', None), ('stereo camera', StereoCamera())):
        print(f'\n{title}')
        report(run(seeds, noise))


if __name__ == '__main__':
    main()
