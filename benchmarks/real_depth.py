# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well a pixel of a real depth image is lifted: ours beside what is usually done.

    python -m benchmarks.real_depth FOLDER [--points 800] [--seed 0] [--half right] [--defaults]

FOLDER holds one folder a sensor, as `scenes` names them. Real frames have no truth at each pixel,
so it is taken from where there is one:

* planes: a plane fitted robustly to the readings in the ring of 15 to 45 pixels around a pixel,
  where nearly all of them lie on it, and of those within the ring as well, so that the plane is
  bare. The middle, 15 pixels away from any reading that was fitted, is asked for.
* chessboards: pairs of a stereo camera, calibrated on them, rectified and matched by OpenCV; the
  board is the plane of its corners, found to a fraction of a pixel and triangulated.
* stereo: Middlebury's motorcycle, matched by OpenCV, against its structured light.

Errors are along the ray. A point is on the wrong surface if it is off by more than 20 mm, times z
squared beyond one metre. NEES is the squared error along the true normal over what the covariance
says of it; 1 is due. With --defaults no sensor's preset is named. Numbers were chosen on the left
halves of the frames, docs/accuracy.md reports the right ones (--half right).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial import (
    CameraModel,
    LiftSettings,
    LiftStatus,
    lift_points,
    visible_extent,
)

Floats = NDArray[np.float64]
Depth = NDArray[np.float32]

RING = 15, 45  # pixels
FLAT = 0.9  # of the ring's pixels that lie on its plane
BARE = 0.97  # of the readings within the ring that do
ON = 4.0  # sigmas of the sensor that a reading on a plane is off at most, and
ALIKE = 2.0  # that the planes of two halves of the ring are apart in its middle
METHODS = ('single pixel', '5x5 median', 'ours')


@dataclass(frozen=True, eq=False)
class Scene:
    """A depth image in metres with its camera.

    truth: (H, W) metres where it is known by other means, with its normal (3,) if that is a plane.
    sigma: metres that a reading at one metre is off, for what is a plane; it grows with z squared.
    """

    name: str
    preset: str
    depth: Depth
    camera: CameraModel
    truth: Depth | None = None
    normal: Floats | None = None
    sigma: float = 0.0


@dataclass(frozen=True, eq=False)
class Query:
    """A pixel whose true depth is known, and its normal (3,), NaN where it is not."""

    u: float
    v: float
    z: float
    normal: Floats


@dataclass(frozen=True)
class Judged:
    """errors: metres by method, NaN without an answer. normal: degrees. thing: ours saw one."""

    z: float
    errors: dict[str, float]
    nees: float
    normal: float
    thing: bool


def kinect(folder: Path) -> Scene:
    """One frame of TUM's fr1, in 1/5000 m."""
    about = _about(folder / 'camera.json')
    depth = _metres(folder / 'depth.png', about['depth_unit_m'])
    camera = _camera(depth, np.array(about['K']))
    return Scene('kinect v1', 'kinect_v1', depth, camera, sigma=0.0016)


def xtion(folder: Path) -> Scene:
    """A room at 2 to 4 m, in millimetres."""
    depth = _metres(folder / 'depth.png', 0.001)
    K = np.array([[518.0, 0, 325.5], [0, 519.0, 253.5], [0, 0, 1]])
    return Scene('xtion', 'xtion', depth, _camera(depth, K), sigma=0.0024)


def azure(folder: Path) -> Scene:
    """Time of flight, in the depth camera's own view."""
    about = _about(folder / 'cameras.json')
    depth = _metres(folder / 'depth.png', about['depth_unit_m'])
    lens = about['depth']
    camera = CameraModel(
        lens['width'], lens['height'], np.array(lens['K']), np.array(lens['D']), lens['model']
    )
    return Scene('azure kinect', 'azure_kinect', depth, camera, sigma=0.0012)


def motorcycle(folder: Path) -> Scene:
    """A stereo pair, matched, with its depth by structured light."""
    left, right = (_read(folder / name, 0) for name in ('left.png', 'right.png'))
    focal, baseline, offset = 994.978, 0.193001, 31.086
    K = np.array([[focal, 0, 311.193], [0, focal, 254.877], [0, 0, 1]])
    true = np.load(_there(folder / 'disparity.npz'))
    disparity = np.asarray(true[true.files[0]], np.float64)
    truth = np.where(np.isfinite(disparity), focal * baseline / (disparity + offset), np.nan)
    found = _matched(left, right, 64)
    depth = np.where(found > 0, focal * baseline / (found + offset), np.nan)
    return Scene(
        'middlebury', 'zed', depth.astype(np.float32), _camera(depth, K), truth.astype(np.float32)
    )


BOARD, SQUARE = (9, 6), 0.025  # inner corners, metres


def chessboards(folder: Path) -> list[Scene]:
    """Four boards before a stereo camera 8 cm wide."""
    pairs = [
        [_read(folder / f'{side}{number}.jpg', 0) for side in ('left', 'right')]
        for number in ('01', '05', '09', '13')
    ]
    corners = [[_corners(image) for image in pair] for pair in pairs]
    grid = np.zeros((BOARD[0] * BOARD[1], 3), np.float32)
    grid[:, :2] = SQUARE * np.mgrid[: BOARD[0], : BOARD[1]].T.reshape(-1, 2)
    size = pairs[0][0].shape[::-1]
    boards, lefts, rights = [grid] * len(pairs), [c[0] for c in corners], [c[1] for c in corners]
    own = [
        cv2.calibrateCamera(boards, seen, size, None, None, flags=cv2.CALIB_FIX_K3)[1:3]
        for seen in (lefts, rights)
    ]
    both = cv2.stereoCalibrate(boards, lefts, rights, *own[0], *own[1], size, flags=0)
    K, D, right_K, right_D, R, T = both[1:7]
    R1, R2, P1, P2, *_ = cv2.stereoRectify(K, D, right_K, right_D, size, R, T, alpha=0)
    lenses = (K, D, R1, P1), (right_K, right_D, R2, P2)
    maps = [cv2.initUndistortRectifyMap(*lens, size, cv2.CV_32FC1) for lens in lenses]
    scene = []
    for number, pair in enumerate(pairs):
        flat = [cv2.remap(image, *m, cv2.INTER_LINEAR) for image, m in zip(pair, maps, strict=True)]
        seen = [
            cv2.undistortPoints(corners[number][side], k, d, R=r, P=p)[:, 0].T
            for side, (k, d, r, p) in enumerate(lenses)
        ]
        points = cv2.triangulatePoints(P1, P2, *seen)
        xyz = (points[:3] / points[3]).T
        scene.append(
            _board(
                number, flat, np.asarray(P1[:, :3], np.float64), -float(P2[0, 3] / P2[0, 0]), xyz
            )
        )
    return scene


def _corners(image: NDArray) -> NDArray:
    found, corners = cv2.findChessboardCorners(image, BOARD)
    if not found:
        raise SystemExit('a chessboard was not found')
    until = cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 40, 1e-3
    return np.asarray(cv2.cornerSubPix(image, corners, (7, 7), (-1, -1), until))


def _board(
    number: int, pair: Sequence[NDArray], K: Floats, baseline: float, corners: Floats
) -> Scene:
    """corners: (N, 3) of the board in metres, in the rectified left camera."""
    disparity = _matched(pair[0], pair[1], 192)
    camera = _camera(disparity, K)
    depth = np.where(disparity > 0, K[0, 0] * baseline / np.maximum(disparity, 0.1), np.nan)
    plane = np.linalg.lstsq(corners, np.ones(len(corners)), rcond=None)[0]
    rows, columns = np.indices(disparity.shape)
    truth = 1 / (camera.ray(columns, rows) @ plane)
    mask = np.zeros(disparity.shape, np.uint8)
    outline = cv2.convexHull(np.array([camera.project(corner) for corner in corners], np.float32))
    cv2.fillConvexPoly(mask, outline.astype(np.int32), 1)
    truth = np.where(mask > 0, truth, np.nan)
    name = f'chessboard {number + 1}'
    normal = -plane / np.linalg.norm(plane)
    return Scene(name, 'oak_d', depth.astype(np.float32), camera, truth.astype(np.float32), normal)


def scenes(folder: Path) -> Iterator[Scene]:
    """All that the folder holds."""
    yield kinect(folder / 'kinect-v1-tum')
    yield xtion(folder / 'xtion-room')
    yield azure(folder / 'azure-kinect')
    yield from chessboards(folder / 'opencv-stereo')
    yield motorcycle(folder / 'middlebury-motorcycle')


def _there(path: Path) -> Path:
    if not path.is_file():
        raise SystemExit(f'{path} is not there: give the folder of real frames')
    return path


def _about(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(_there(path).read_text())
    return about


def _read(path: Path, flags: int) -> NDArray:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise SystemExit(f'{path} cannot be read')
    return np.asarray(image)


def _metres(path: Path, unit: float) -> Depth:
    raw = _read(path, cv2.IMREAD_UNCHANGED)
    return np.where(raw > 0, raw * unit, np.nan).astype(np.float32)


def _camera(depth: NDArray, K: Floats) -> CameraModel:
    return CameraModel(depth.shape[1], depth.shape[0], K)


def _matched(left: NDArray, right: NDArray, most: int) -> Floats:
    """Disparity in pixels, 0 where there is none, as a stereo camera without a projector has it."""
    block = 5
    matcher = cv2.StereoSGBM.create(
        0, most, block, 8 * block**2, 32 * block**2, 1, 0, 10, 100, 2, cv2.STEREO_SGBM_MODE_HH
    )
    return np.maximum(matcher.compute(left, right).astype(np.float64) / 16, 0)


def queries(
    scene: Scene, count: int, rng: np.random.Generator, half: str = 'both'
) -> Iterator[Query]:
    """Pixels with a truth: by a plane around them, or by the scene's own."""
    height, width = scene.depth.shape
    first = width // 2 if half == 'right' else RING[1]
    end = width // 2 if half == 'left' else width - RING[1]
    for _ in range(60 * count):
        if count <= 0:
            return
        u = int(rng.integers(first, end))
        v = int(rng.integers(RING[1], height - RING[1]))
        query = _by_truth(scene, u, v) if scene.truth is not None else _by_plane(scene, u, v)
        if query is not None:
            count -= 1
            yield query


def _by_truth(scene: Scene, u: int, v: int) -> Query | None:
    assert scene.truth is not None
    z = float(scene.truth[v, u])
    normal = np.full(3, np.nan) if scene.normal is None else scene.normal
    return Query(u, v, z, normal) if np.isfinite(z) else None


def _by_plane(scene: Scene, u: int, v: int) -> Query | None:
    """The plane of a ring, in inverse depth over rays, where it is one and nothing is on it."""
    reach = np.arange(-RING[1], RING[1] + 1, 2)
    dx, dy = np.meshgrid(reach, reach)
    distance = np.hypot(dx, dy)
    within = distance <= RING[1]
    columns, rows, distance = u + dx[within], v + dy[within], distance[within]
    z = scene.depth[rows, columns].astype(np.float64)
    valid = np.isfinite(z)
    ring = distance >= RING[0]
    if valid[ring].mean() < FLAT or not valid[~ring].any():
        return None
    rays = scene.camera.ray(columns, rows)
    plane = _robust(rays[ring & valid], 1 / z[ring & valid])
    here = scene.camera.ray(u, v)
    along = float(here @ plane)
    if along <= 0:
        return None
    sigma = scene.sigma * np.maximum(z, 1.0) ** 2
    on = np.abs(1 / np.maximum(rays @ plane, 1e-6) - z) < ON * sigma
    if on[ring].mean() < FLAT or on[valid & ~ring].mean() < BARE:
        return None
    most = ALIKE * float(np.median(sigma[ring & valid])) * along**2
    for side in (dx[within], dy[within]):
        halves = (ring & valid & (half >= 0) for half in (-side, side))
        one, other = (here @ _robust(rays[half], 1 / z[half]) for half in halves)
        if abs(one - other) > most:
            return None  # It bends or has a step.
    return Query(u, v, 1 / along, -plane / np.linalg.norm(plane))


def _robust(rays: Floats, inverse: Floats) -> Floats:
    """p (3,) with p . ray = inverse depth for most: least squares, reweighed (Tukey)."""
    weight = np.ones(len(rays))
    plane: Floats = np.zeros(3)
    for _ in range(8):
        solved = np.linalg.lstsq(rays * weight[:, None], inverse * weight, rcond=None)
        plane = np.asarray(solved[0], np.float64)
        off = inverse - rays @ plane
        scale = 4.685 * 1.4826 * max(float(np.median(np.abs(off))), 1e-6)
        weight = np.maximum(1 - (off / scale) ** 2, 0)
    return plane


def judged(
    scene: Scene, asked: Sequence[Query], settings: LiftSettings, extents: bool
) -> Iterator[Judged]:
    """What every method makes of each query."""
    pixels = [(query.u, query.v) for query in asked]
    points = lift_points(pixels, scene.depth, scene.camera, settings)
    for query, point in zip(asked, points, strict=True):
        row, column = int(query.v), int(query.u)
        window = scene.depth[row - 2 : row + 3, column - 2 : column + 3]
        good = window[np.isfinite(window)]
        answers = {
            'single pixel': float(scene.depth[row, column]),
            '5x5 median': float(np.median(good)) if len(good) else np.nan,
            'ours': float(point.position[2]),
        }
        errors = {method: z - query.z for method, z in answers.items()}
        nees, angle, thing = np.nan, np.nan, False
        if point.status is LiftStatus.OK and np.isfinite(query.normal).all():
            # How far off the true plane: what a gripper would feel, and all that a plane can tell.
            off = query.normal @ (point.position - scene.camera.ray(query.u, query.v) * query.z)
            nees = float(off**2 / (query.normal @ point.covariance @ query.normal))
            cosine = float(np.clip(query.normal @ point.normal, -1, 1))
            angle = float(np.degrees(np.arccos(cosine)))
            if extents:
                thing = visible_extent(point, scene.depth, scene.camera, settings) is not None
        yield Judged(query.z, errors, nees, angle, thing)


def report(name: str, results: Sequence[Judged]) -> None:
    """Rows of a table, one for each method."""
    wrong_at = np.array([0.02 * max(result.z, 1.0) ** 2 for result in results])
    for method in METHODS:
        errors = np.array([result.errors[method] for result in results])
        known = np.isfinite(errors)
        off = np.abs(errors)
        wrong = known & (off > wrong_at)
        right = 1e3 * off[known]
        median, p95 = np.percentile(right, [50, 95])
        cells = [
            name,
            method,
            str(len(results)),
            f'{median:.2f}',
            f'{np.sqrt(np.mean(right**2)):.2f}',
            f'{p95:.2f}',
            f'{wrong.mean():.2%}',
            f'{1 - known.mean():.2%}',
        ]
        nees = np.array([result.nees for result in results])
        angles = np.array([result.normal for result in results])
        if method == 'ours' and np.isfinite(nees).any():
            things = np.mean([result.thing for result in results])
            cells += [
                f'{np.nanmean(nees):.2f}',
                f'{np.nanmedian(nees):.2f}',
                f'{np.nanmedian(angles):.1f}',
                f'{things:.1%}',
            ]
        else:
            cells += ['', '', '', '']
        print('|', ' | '.join(cells), '|')


def main(arguments: Iterable[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--points', type=int, default=800, help='a sensor')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--half', choices=('left', 'right', 'both'), default='both')
    parser.add_argument('--defaults', action='store_true', help="without the sensors' presets")
    parsed = parser.parse_args(None if arguments is None else list(arguments))
    print('| sensor | method | n | median mm | RMSE | 95 % | wrong | none | NEES mean | NEES median'
          ' | normal deg | a thing on a plane |')  # fmt: skip
    print('|' + '---|' * 12)
    for scene in scenes(parsed.folder):
        rng = np.random.default_rng(parsed.seed)
        asked = list(queries(scene, parsed.points, rng, parsed.half))
        settings = LiftSettings(preset='' if parsed.defaults else scene.preset)
        report(scene.name, list(judged(scene, asked, settings, extents=True)))


if __name__ == '__main__':
    main()
