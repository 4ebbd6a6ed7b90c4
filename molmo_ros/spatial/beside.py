# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The thing beside a pixel that just misses it: who means a handle may hit what is behind it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .extent import patch_around
from .lift import lift
from .lift_settings import LiftSettings
from .support import supporting_plane
from .surface_point import LiftStatus, SurfacePoint
from .windows import Floats

_REACH = 1 / 128  # of the width of the depth image: 5 pixels of 640
_AS_NEAR = 1.5  # pixels: of what is hardly farther than the nearest what is in front is meant
_SIGMAS, _ROUGHNESS = 3.0, 0.003  # as an extent has them
_JUMP = 0.012  # metres in depth within which pixels are of one surface, beside the noise
_AROUND = 0.4  # metres about it in which the plane under it is looked for


def point_beside(
    pixel: tuple[float, float],
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings,
    up: Floats | None = None,
) -> tuple[SurfacePoint, float] | None:
    """A point on the thing nearest to a pixel (u, v) of the depth image, and how many pixels away.

    depth: (H, W) metres. camera: that saw it, in whose frame the point is. up: (3,) unit vector
    against gravity there, if known. None where nothing stands so near. The covariance of the point
    says how far beside the pixel it is, too.
    """
    height, width = depth.shape
    settings = settings.for_width(width)
    reach = max(2, round(_REACH * width))
    u, v = pixel
    if not np.isfinite(pixel).all():
        return None
    column, row = round(u), round(v)
    if not (0 <= column < width and 0 <= row < height):
        return None
    rows = np.arange(max(row - reach - 1, 0), min(row + reach + 2, height))
    columns = np.arange(max(column - reach - 1, 0), min(column + reach + 2, width))
    z = depth[np.ix_(rows, columns)].astype(np.float64)
    _, valid = settings.inverse(z)
    rays = camera.ray(columns[None, :], rows[:, None])
    valid &= np.isfinite(rays).all(-1)  # a lens model may have none for a pixel
    if not valid.any():
        return None
    z = np.where(valid, z, np.inf)
    focal = float(camera.K[0, 0])
    points = rays * np.where(valid, z, 1.0)[..., None]
    position = points[np.unravel_index(z.argmin(), z.shape)]
    patch = patch_around(position, depth, camera, settings, _AROUND)
    tolerance = _SIGMAS * patch.sigma[patch.valid] + _ROUGHNESS
    sigma = float(settings.noise.sigma(position[2], focal))
    most = _SIGMAS * sigma + _ROUGHNESS
    plane = supporting_plane(patch.points[patch.valid], tolerance, position, most, up)
    if plane is None:
        return None
    with np.errstate(invalid='ignore'):
        thing = valid & (plane.height(points) > most)
    # Not at its very outline, if it is wide enough.
    whole = cv2.erode(thing.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    away = np.hypot(columns[None, :] - u, rows[:, None] - v)
    away = np.where(whole if (whole & (away <= reach)).any() else thing, away, np.inf)
    if away.min() > reach:
        return None
    near = away <= away.min() + _AS_NEAR
    front = near & (z < z[near].min() + _JUMP + 4 * sigma)
    line, place = np.unravel_index(np.where(front, away, np.inf).argmin(), away.shape)
    there = float(columns[place]), float(rows[line])
    point = lift(*there, depth, camera, settings)
    if point.status is not LiftStatus.OK:
        return None
    offset = point.position - camera.ray(u, v) * point.position[2]
    covariance = point.covariance + np.outer(offset, offset)
    return replace(point, covariance=covariance, near_edge=True), float(away[line, place])
