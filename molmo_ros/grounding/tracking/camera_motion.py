# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the camera has moved from one view to the next, by marks of known depth that stand still."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.tracking.view import View

Floats = NDArray[np.float64]

_LEAST = 8  # marks, and
_SHARE = 0.5  # of them that have to agree
_OFF = 0.5  # grey pixels from the motion: half the weight
_AGREES = 1.0  # grey pixels
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class CameraMotion:
    """R, t: (3, 3) and (3,) metres, from the optical frame of one view to that of the next."""

    R: Floats
    t: Floats

    def carried(self, rays: Floats, depths: Floats) -> Floats:
        """(N, 3) where points at rays (N, 2) and depths (N,) are in the next optical frame."""
        return depths[:, None] * np.column_stack([rays, np.ones(len(rays))]) @ self.R.T + self.t


def find_camera_motion(
    before: View, after: View, was: NDArray[np.floating], now: NDArray[np.floating], depths: Floats
) -> CameraMotion | None:
    """From places (N, 2) in both views and finite depths (N,) in the first; None if they disagree.

    Gauss-Newton, weighted so that most of them agree.
    """
    if len(was) < _LEAST or before.camera is None or after.camera is None:
        return None
    focal = before.focal
    rays, aims = before.rays(was), after.rays(now)
    there = np.isfinite(rays).all(1) & np.isfinite(aims).all(1)
    rays, aims, depths = rays[there], aims[there], depths[there]
    motion = CameraMotion(np.eye(3), np.zeros(3))
    off = np.full(len(rays), np.inf)
    for _ in range(_ROUNDS):
        points = motion.carried(rays, depths)
        z = np.maximum(points[:, 2], 1e-3)
        seen = points[:, :2] / z[:, None]
        rest = aims - seen
        off = focal * np.linalg.norm(rest, axis=1)
        weight = 1 / (1 + (off / np.maximum(_OFF, np.sort(off)[len(off) // 2])) ** 2) ** 2
        rows = _sensitivity(points, seen, z)
        weighted = (rows * np.repeat(weight, 2)[:, None]).T
        step = np.linalg.solve(weighted @ rows + 1e-9 * np.eye(6), weighted @ rest.ravel())
        turn = cv2.Rodrigues(step[3:])[0]
        motion = CameraMotion(turn @ motion.R, turn @ motion.t + step[:3])
    agree = np.count_nonzero(off < _AGREES)
    return motion if agree >= max(_LEAST, _SHARE * len(off)) else None


def _sensitivity(points: Floats, seen: Floats, z: Floats) -> Floats:
    """(2 N, 6) how rays go with a small shift and turn of points (N, 3)."""
    rows = np.zeros((len(points), 2, 6))
    x, y = seen.T
    rows[:, 0, 0] = rows[:, 1, 1] = 1 / z
    rows[:, 0, 2], rows[:, 1, 2] = -x / z, -y / z
    rows[:, 0, 3], rows[:, 0, 4], rows[:, 0, 5] = -x * y, 1 + x * x, -y
    rows[:, 1, 3], rows[:, 1, 4], rows[:, 1, 5] = -1 - y * y, x * y, x
    return rows.reshape(-1, 6)
