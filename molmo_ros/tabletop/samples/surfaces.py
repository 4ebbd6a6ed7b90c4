# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far a position is from a true surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def distance_to_triangles(point: Floats, corners: Floats) -> float:
    """Distance of a point (3,) from the nearest of the triangles (N, 3, 3), in their unit."""
    return float(np.sqrt(_squared_distances(point, corners).min()))


def nearest_triangle(point: Floats, corners: Floats) -> int:
    """Which of the triangles (N, 3, 3) is nearest to a point (3,)."""
    return int(_squared_distances(point, corners).argmin())


def _squared_distances(point: Floats, corners: Floats) -> Floats:
    """(N,): to the plane where the point stands over the triangle, else to the nearest edge."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1)
    over = area > 0
    for start, end in ((a, b), (b, c), (c, a)):
        inward = np.cross(normal, end - start)
        over = over & (((point - start) * inward).sum(1) >= 0)
    edges = [_to_segments(point, *ends) for ends in ((a, b), (b, c), (c, a))]
    height = ((point - a) * normal).sum(1) / np.where(area > 0, area, 1.0)
    return np.where(over, height**2, np.minimum.reduce(edges))


def _to_segments(point: Floats, start: Floats, end: Floats) -> Floats:
    along = end - start
    length = (along**2).sum(1)
    share = ((point - start) * along).sum(1) / np.where(length > 0, length, 1.0)
    nearest = start + np.clip(share, 0, 1)[:, None] * along
    return np.asarray(((point - nearest) ** 2).sum(1))
