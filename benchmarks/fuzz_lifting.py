# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Lifts and extents of whatever depth and settings: none raises, and what they say is sound.

    python -m benchmarks.fuzz_lifting [--cases 50000] [--seed 0]

Settings are anywhere in the ranges of the node's parameters, depth is anything that an image can
hold. A covariance has to be symmetric and positive semidefinite, a normal and a quaternion have to
be of length one, and a point that is not OK has to have a reason and no position. Prints how often
each status came, and every fault with the number that repeats it: --seed NUMBER --cases 1.
"""

from __future__ import annotations

import argparse
import os
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.ros.parameters import POINT_QUERY
from molmo_ros.spatial import (
    PRESETS,
    Approach,
    CameraModel,
    DepthNoise,
    Extent,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    Registration,
    StereoNoise,
    SurfacePoint,
    TofNoise,
    approach_pose,
    lift_points,
    transform_surface_point,
    visible_extent,
)
from molmo_ros.spatial.grasp import quaternion_of

Floats = NDArray[np.float64]
POINTS = 4  # a case
RANGES = {p.name: p.range for p in POINT_QUERY if p.range is not None}


@dataclass(frozen=True, eq=False)
class Case:
    """One call."""

    depth: NDArray[np.float32]
    camera: CameraModel
    settings: LiftSettings
    registration: Registration | None
    pixels: Floats
    grasp: GraspSettings
    up: Floats | None


def make_case(seed: int) -> Case:
    """The case of a number."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(5, 80, 2))
    if rng.random() < 0.1:
        height, width = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    camera = _camera(rng, width, height)
    registration = None
    if rng.random() < 0.3:
        color = _camera(rng, int(rng.integers(2, 90)), int(rng.integers(2, 90)))
        registration, camera = Registration(camera, _pose(rng)), color
    elif rng.random() < 0.2:
        camera = camera.resized(2 * width, 2 * height)
    beyond = (camera.width + 2.0, camera.height + 2.0)
    pixels = rng.uniform((-2, -2), beyond, (POINTS, 2))
    pixels[:2] = rng.uniform(0.2, 0.8, (2, 2)) * (camera.width, camera.height)
    if rng.random() < 0.05:
        pixels[-1] = np.nan, np.inf
    up = rng.normal(size=3)
    return Case(
        _depth(rng, height, width),
        camera,
        _settings(rng),
        registration,
        pixels,
        GraspSettings(
            Approach(str(rng.choice(['above', 'normal', 'ray']))),
            float(rng.uniform(*RANGES['waypoint_standoff'])),
            float(rng.uniform(*RANGES['gripper.opening'])),
            float(rng.uniform(*RANGES['gripper.finger_width'])),
        ),
        up / np.linalg.norm(up) if rng.random() < 0.5 else None,
    )


def _camera(rng: np.random.Generator, width: int, height: int) -> CameraModel:
    focal = max(width, height) * 10 ** rng.uniform(-0.6, 0.8)
    middle = rng.uniform(0.2, 0.8, 2) * (width, height)
    K = np.array([[focal, 0, middle[0]], [0, focal * rng.uniform(0.9, 1.1), middle[1]], [0, 0, 1]])
    if rng.random() < 0.3:
        return CameraModel(width, height, K, rng.normal(0, (0.2, 0.1, 0.002, 0.002, 0.05)))
    return CameraModel(width, height, K)


def _pose(rng: np.random.Generator) -> Floats:
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(rng.normal(0, rng.choice([0.0, 0.05, 1.0]), 3))[0]
    T[:3, 3] = rng.normal(0, rng.choice([0.0, 0.03, 0.5]), 3)
    return T


def _settings(rng: np.random.Generator) -> LiftSettings:
    """Anywhere in the ranges of the node's parameters, often at their ends."""

    def of(name: str) -> float:
        low, high = RANGES[name]
        end = rng.random()
        if end < 0.2:
            return low if end < 0.1 else high
        if low <= 0 or rng.random() < 0.3:
            return float(rng.uniform(low, high))
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    near, far = of('lift.min_range'), of('lift.max_range')
    if rng.random() < 0.6 or near >= far:
        near, far = 0.1, 10.0
    noise: DepthNoise = StereoNoise(
        of('noise.stereo.baseline'),
        of('noise.stereo.disparity_sigma'),
        of('noise.stereo.disparity_step'),
        of('noise.stereo.correlation'),
    )
    if rng.random() < 0.4:
        noise = TofNoise(
            of('noise.tof.constant'), of('noise.tof.quadratic'), of('noise.tof.correlation')
        )
    elif rng.random() < 0.3:
        noise = StereoNoise()
    return LiftSettings(
        min_range=near,
        max_range=far,
        radius=of('lift.radius') if rng.random() < 0.2 else float(rng.uniform(3, 10)),
        radius_metres=of('lift.radius_metres')
        if rng.random() < 0.5
        else LiftSettings.radius_metres,
        hole_radius=round(of('lift.hole_radius'))
        if rng.random() < 0.1
        else int(rng.integers(1, 10)),
        noise=noise,
        pixel_sigma=of('lift.pixel_sigma'),
        edge_reach=float(rng.choice([0.0, 1.0, 3.0, 8.0])),
        preset=str(rng.choice(list(PRESETS))) if rng.random() < 0.3 else '',
    )


def _depth(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    rows, columns = np.indices((height, width)).astype(float)
    z = np.full(
        (height, width), 10 ** rng.uniform(*((-0.5, 0.5) if rng.random() < 0.6 else (-3, 3)))
    )
    kind = int(rng.integers(7))
    if kind == 1:
        z = z * (1 + rng.normal(0, 10 ** rng.uniform(-4, 0), z.shape))
    elif kind == 2:
        z = z * (1 + 0.1 * (columns // rng.integers(1, 12)) + 0.02 * (rows // rng.integers(1, 12)))
    elif kind == 3:
        steep = rng.normal(0, 10 ** rng.uniform(-4, 0), 2)
        z = z / np.maximum(1 + steep[0] * columns + steep[1] * rows, 1e-9)
    elif kind == 4:
        near = np.hypot(columns - width / 2, rows - height / 2) < width / 4
        z = np.where(near, z * rng.uniform(0.3, 1.0), z * (1 + 0.01 * rows))
    elif kind == 5:
        z = np.exp(rng.uniform(-6, 6, z.shape))
    elif kind == 6:
        z = np.round(z * 1e3 * (1 + 0.001 * rows)).clip(0, 65535) / 1e3
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-30, 1e30, 3e38, 65.535])
    if rng.random() < 0.4:
        share = rng.choice([0.01, 0.1, 0.5, 1.0])
        z = np.where(rng.random(z.shape) < share, rng.choice(odd, z.shape), z)
    elif rng.random() < 0.3:
        z[: max(1, height // 3)] = rng.choice(odd)
    with np.errstate(over='ignore'):
        return z.astype(np.float32)


def judged(case: Case) -> tuple[list[str], Counter[str]]:
    """What is unsound in the answers to a case, and what came; raises what they raise."""
    faults: list[str] = []
    came: Counter[str] = Counter()
    points = lift_points(case.pixels, case.depth, case.camera, case.settings, case.registration)
    for point in points:
        came[point.status.name] += 1
        faults += _of_point(point)
        if point.status is not LiftStatus.OK:
            continue
        extent = _extent(case, point)
        pose = approach_pose(point, extent, case.grasp, case.up)
        if pose is None or not (_unit(pose.quaternion) and np.isfinite(pose.position).all()):
            faults.append(f'pose {pose}')
        if extent is not None:
            came['extents'] += 1
            faults += _of_extent(extent)
    return faults, came


def _extent(case: Case, point: SurfacePoint) -> Extent | None:
    """As `picking` asks for it: in the frame of the camera that saw the depth."""
    if case.registration is not None:
        camera = case.registration.depth_camera
        T_depth_color: Floats = np.asarray(np.linalg.inv(case.registration.T_color_depth))
        point = transform_surface_point(point, T_depth_color)
    else:
        camera = case.camera.resized(case.depth.shape[1], case.depth.shape[0])
    return visible_extent(point, case.depth, camera, case.settings, up=case.up)


def _of_extent(extent: Extent) -> Iterator[str]:
    if not np.allclose(extent.axes @ extent.axes.T, np.eye(3), atol=1e-6):
        yield f'axes {extent.axes.tolist()}'
    if not _unit(quaternion_of(extent.axes.T)) or np.linalg.det(extent.axes) < 0:
        yield f'axes are no rotation: {extent.axes.tolist()}'
    numbers = (extent.centroid, extent.size, extent.centre, extent.points)
    if not all(np.isfinite(n).all() for n in numbers) or extent.size.min() < 0:
        yield f'extent {extent.centroid} {extent.size} {extent.centre}'


def _of_point(point: SurfacePoint) -> Iterator[str]:
    if point.status is not LiftStatus.OK:
        if not point.reason or not np.isnan(point.position).all():
            yield f'{point.status.name} with reason {point.reason!r} and {point.position}'
        return
    covariance = point.covariance
    if not np.isfinite(point.position).all() or not np.isfinite(covariance).all():
        yield f'OK with {point.position} and covariance {covariance.tolist()}'
        return
    scale = float(np.abs(covariance).max())
    if not np.allclose(covariance, covariance.T, atol=1e-9 * scale, rtol=1e-9):
        yield f'covariance is not symmetric: {covariance.tolist()}'
    if np.linalg.eigvalsh(covariance).min() < -1e-9 * scale:
        yield f'covariance is not positive: {np.linalg.eigvalsh(covariance)}'
    if not (np.isnan(point.normal).all() or _unit(point.normal)):
        yield f'normal {point.normal}'
    if not point.spread >= 0 or point.valid_pixels < 1:
        yield f'spread {point.spread} of {point.valid_pixels} readings'


def _unit(vector: Floats) -> bool:
    return bool(abs(np.linalg.norm(vector) - 1) < 1e-6)


def main() -> None:
    """Print the report; ends with status 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=int, default=50000)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    count: Counter[str] = Counter()
    bad = 0
    for number in range(arguments.seed, arguments.seed + arguments.cases):
        case = make_case(number)
        try:
            found, came = judged(case)
            count += came
        except Exception:
            found = [traceback.format_exc(limit=-3)]
        bad += bool(found)
        for fault in found if bad <= 20 else ():
            print(f'{number}: {fault}')
    print(f'{arguments.cases} cases of {POINTS} points, {bad} with faults')
    print(*(f'{name} {n}' for name, n in count.most_common()))
    raise SystemExit(bad > 0)


if __name__ == '__main__':
    main()
