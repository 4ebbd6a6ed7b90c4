# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a pixel and a depth image to a point on the surface that the pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .surface_point import LiftStatus, SurfacePoint


@dataclass(frozen=True)
class LiftSettings:
    """min_range, max_range: metres, depths outside are OUT_OF_RANGE. radius: pixels."""

    min_range: float = 0.1
    max_range: float = 10.0
    radius: int = 7


def lift(
    u: float,
    v: float,
    depth: NDArray[np.float32] | None,
    camera: CameraModel | None,
    settings: LiftSettings = LiftSettings(),
) -> SurfacePoint:
    """The surface point behind pixel (u, v) in the camera's optical frame.

    depth: (H, W) float32 metres along the optical axis, of the camera's own image.
    """
    if camera is None:
        return SurfacePoint(LiftStatus.NO_CAMERA_INFO, reason='no camera_info for this image')
    if depth is None:
        return SurfacePoint(LiftStatus.NO_DEPTH, reason='no depth image for this image')
    height, width = depth.shape
    if not (-0.5 <= u < width - 0.5 and -0.5 <= v < height - 0.5):
        return SurfacePoint(LiftStatus.OUTSIDE_DEPTH, reason='the depth image ends before (u, v)')
    x, y, r = round(u), round(v), settings.radius
    x0, y0 = max(x - r, 0), max(y - r, 0)
    window = depth[y0 : y + r + 1, x0 : x + r + 1].astype(np.float64)
    in_range = (window >= settings.min_range) & (window <= settings.max_range)
    rows, columns = np.nonzero(in_range)
    distance = np.hypot(rows + y0 - v, columns + x0 - u)
    if not len(rows) or distance.min() > 3:
        out = np.isinf(window) | (np.isfinite(window) & ~in_range)
        status = LiftStatus.OUT_OF_RANGE if out.any() else LiftStatus.DEPTH_INVALID
        return SurfacePoint(status, reason='no usable depth within 3 pixels of (u, v)')
    seed = int(distance.argmin())
    surface = _connected(window, in_range, rows[seed], columns[seed])
    return _fitted(u, v, surface, window, x0, y0, camera)


def _connected(
    window: NDArray[np.float64], valid: NDArray[np.bool_], row: int, column: int
) -> NDArray[np.bool_]:
    z = window[row, column]
    near = valid & (np.abs(window - z) < 0.005 + 0.03 * z)
    _, labels = cv2.connectedComponents(near.astype(np.uint8), connectivity=8)
    return labels == labels[row, column]


def _fitted(
    u: float,
    v: float,
    surface: NDArray[np.bool_],
    window: NDArray[np.float64],
    x0: int,
    y0: int,
    camera: CameraModel,
) -> SurfacePoint:
    """The plane through the surface's pixels: linear in 1/z over the rays, where noise is even."""
    rows, columns = np.nonzero(surface)
    z = window[rows, columns]
    rays = camera.ray(columns + x0, rows + y0)
    ray = camera.ray(u, v)
    if len(z) < 6:
        z_at = float(np.median(z))
        normal = np.full(3, np.nan)
    else:
        plane, *_ = np.linalg.lstsq(rays, 1 / z, rcond=None)
        z_at = 1 / float(plane @ ray)
        normal = -plane / np.linalg.norm(plane)
    spread = 1.4826 * float(np.median(np.abs(z - np.median(z))))
    sigma = np.array([z_at / camera.K[0, 0], z_at / camera.K[1, 1], 0.002 * z_at**2])
    return SurfacePoint(
        LiftStatus.OK,
        position=ray * z_at,
        normal=normal,
        covariance=np.diag(sigma**2),
        valid_pixels=len(z),
        spread=spread,
        bridged=not surface[round(v) - y0, round(u) - x0],
    )
