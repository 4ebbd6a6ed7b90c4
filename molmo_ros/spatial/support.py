# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plane that a thing stands on: what its surroundings have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .windows import Bools, Floats, Integers, distances, from_origin, sums

_TRIES = 300  # planes through three points; a plane with a fifth of them is missed once in ten
_SAMPLE = 1500  # points that each plane is judged by at most: every second of 3000
_LEAST_SHARE = 0.1  # of the points around must lie on the plane
_UPRIGHT = float(np.cos(np.radians(20)))  # how far from upright a table may lean, where up is known


@dataclass(frozen=True)
class Plane:
    """All X with normal . X = offset; the normal (3,) is a unit vector towards the camera."""

    normal: Floats
    offset: float

    def height(self, points: Floats) -> Floats:
        """Heights (...) in metres of points (..., 3) over the plane, on the camera's side."""
        return np.asarray(points @ self.normal - self.offset)


def supporting_plane(
    points: Floats, tolerance: Floats, position: Floats, here: float, up: Floats | None = None
) -> Plane | None:
    """The plane under a position (3,), or through it, that most of the points (M, 3) lie on.

    tolerance: (M,) metres, how far off the plane a point may be by noise; here: the same at the
    position. up: (3,) unit vector, if known, that the normal must agree with within 20 degrees.
    None if no plane that the position is not behind has a tenth of the points on it and hardly any
    behind it.

    Where the position is on the plane rather than above it is for the caller to judge: were such
    planes left out, the bare table that a point is on would make room for a worse plane.
    """
    if len(points) < 50:
        return None
    rng = np.random.default_rng(0)
    some = slice(None, None, -(-len(points) // _SAMPLE))
    planes = _through_triples(points[rng.integers(len(points), size=(_TRIES, 3))])
    may_be = planes[:, :3] @ position - planes[:, 3] >= -here
    if up is not None:
        may_be &= planes[:, :3] @ up >= _UPRIGHT
    planes = planes[may_be]
    if not len(planes):
        return None  # All points lie in one line, or no plane is under the position.
    # Single precision is a micrometre here, and twice as fast.
    single = np.float32
    heights = planes[:, :3].astype(single) @ points[some].T.astype(single)
    heights -= planes[:, 3:].astype(single)
    near = tolerance[some].astype(single)
    behind = _counted(heights < -3 * near)
    score = _counted(np.abs(heights) < near) - 2.0 * behind
    best = int(score.argmax())
    if score[best] < _LEAST_SHARE * len(near):
        return None
    plane = Plane(planes[best, :3], float(planes[best, 3]))
    on = np.zeros(len(points), bool)
    for _ in range(3):
        before, on = on, np.abs(plane.height(points)) < tolerance
        if np.array_equal(on, before):
            break
        plane = _fitted(points, on, plane)
    return plane if plane.height(position) > -here else None


def _counted(where: Bools) -> Integers:
    """How many of each row (R, N) of fewer than 65536; four times as fast as NumPy's own."""
    return where.view(np.uint8).sum(1, dtype=np.uint16).astype(np.intp)


def _through_triples(triples: Floats) -> Floats:
    """Planes (N, 4), normal and offset, through (N, 3, 3); those through no triangle are left."""
    a, b, c = triples[:, 0], triples[:, 1], triples[:, 2]
    (px, py, pz), (qx, qy, qz) = (b - a).T, (c - a).T
    # NumPy's own products and lengths take three times as long.
    normals = np.stack([py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx], 1)
    length = distances(normals, np.zeros(3))
    good = length > 1e-6
    normals = normals[good] / length[good, None]
    offsets = (normals * a[good]).sum(1)
    # The camera, at the origin, is on the side that the normal points to.
    sign = np.where(offsets > 0, -1.0, 1.0)
    return np.column_stack([normals * sign[:, None], offsets * sign])


def _fitted(points: Floats, on: Bools, plane: Plane) -> Plane:
    if on.sum() < 3:
        return plane
    chosen = points.compress(on, axis=0)
    middle = sums(chosen) / len(chosen)
    apart = from_origin(chosen, middle)
    apart = from_origin(apart, sums(apart) / len(apart))  # What is left by rounding.
    normal = np.linalg.eigh(apart.T @ apart * (1 / (len(apart) - 1)))[1][:, 0]
    if normal @ plane.normal < 0:
        normal = -normal
    return Plane(normal, float(normal @ middle))
