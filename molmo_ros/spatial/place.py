# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where something can be put down: the level surface at a point, and how far around it is free.

Free is what the camera sees to be so: where a pixel shows something above or below the surface, or
nothing, the surface is not known to be there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .extent import patch_around
from .lift_settings import DEFAULT_SETTINGS, LiftSettings
from .support import Plane, supporting_plane
from .surface_point import LiftStatus, SurfacePoint
from .windows import Bools, Floats, Integers

_NEAR = 0.05  # metres about the point that its surface is fitted to
_SIGMAS, _ROUGHNESS = 3.0, 0.003  # of a reading on the surface: noise, and metres that it is uneven
_LEVEL = np.radians(10)  # how far a surface may lean, where up is known
_LEAST = 0.01  # metres: nothing stands on less
_NOWHERE = np.full(3, np.nan)


@dataclass(frozen=True, eq=False)
class Place:
    """position: (3,) metres, on the surface. up: (3,) unit vector out of it. radius: metres about
    the position in which it is level and nothing is on it; NaN where there is no such place.
    reason: what ends the radius, or why there is none; '' where nothing ends it as far as was
    looked.
    """

    position: Floats
    up: Floats
    radius: float
    reason: str = ''


def _none(reason: str) -> Place:
    return Place(_NOWHERE, _NOWHERE, float('nan'), reason)


NO_PLACE = _none('')


def place_at(
    point: SurfacePoint,
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings = DEFAULT_SETTINGS,
    *,
    look: float = 0.25,
    up: Floats | None = None,
) -> Place:
    """The place at a lifted point, in the frame of the camera that saw the depth image (H, W).

    look: metres, how far around. up: (3,) unit vector against gravity in the same frame, if known;
    without it every flat surface counts as level.
    """
    if point.status != LiftStatus.OK:
        return _none('the point has no position')
    settings = settings.for_width(depth.shape[1])
    patch = patch_around(point.position, depth, camera, settings, look)
    tolerance = _SIGMAS * patch.sigma + _ROUGHNESS
    near = patch.valid & (np.linalg.norm(patch.points - point.position, axis=2) < _NEAR)
    here = float(_SIGMAS * settings.noise.sigma(point.position[2], float(camera.K[0, 0])))
    here += _ROUGHNESS
    plane = supporting_plane(patch.points[near], tolerance[near], point.position, here)
    if plane is None or plane.height(point.position) > here:
        return _none('the surface at the point is not flat')
    lean = 0.0 if up is None else float(np.arccos(np.clip(plane.normal @ up, -1, 1)))
    if lean > _LEVEL:
        return _none(f'the surface at the point leans by {np.degrees(lean):.0f} degrees')
    position = point.position - plane.height(point.position) * plane.normal
    heights = plane.height(patch.points)
    at = _crossings(camera, patch.columns, patch.rows, plane)
    away = np.linalg.norm(at - position, axis=2)
    shown = away < look
    above = patch.valid & (heights > tolerance)
    foot = np.linalg.norm(patch.points - heights[..., None] * plane.normal - position, axis=2)
    below = patch.valid & (heights < -tolerance)
    # Readings farther off than the look are no part of the patch's valid ones.
    z = depth[np.ix_(patch.rows, patch.columns)].astype(np.float64)
    _, read = settings.inverse(z)
    nothing = shown & ~read
    ends = [
        (_nearest(np.minimum(foot, away), above), 'something stands {} away'),
        (_nearest(away, below | (shown & read & ~patch.valid)), 'the surface ends {} away'),
        (_nearest(away, nothing), 'the depth shows nothing {} away'),
        (_border(away, shown, patch.columns, patch.rows, depth.shape), 'the image ends {} away'),
    ]
    radius, why = min(ends, key=lambda end: end[0])
    place = Place(position, plane.normal, min(radius, look))
    if radius >= look:
        return place
    reason = why.format(f'{1e3 * max(radius, 0.0):.0f} mm')
    if radius < _LEAST:
        return _none(f'not free: {reason}')
    return replace(place, reason=reason)


def transform_place(place: Place, T_target_source: Floats) -> Place:
    """The same place in another frame, by the (4, 4) pose of its frame in the target's."""
    R, t = T_target_source[:3, :3], T_target_source[:3, 3]
    return replace(place, position=R @ place.position + t, up=R @ place.up)


def _crossings(camera: CameraModel, columns: Integers, rows: Integers, plane: Plane) -> Floats:
    """(h, w, 3) where the rays of pixels meet the plane; inf where they do not."""
    rays = camera.ray(columns[None, :], rows[:, None])
    towards = rays @ plane.normal
    with np.errstate(divide='ignore', invalid='ignore'):
        along = plane.offset / towards
    return np.where((along > 0)[..., None], rays * along[..., None], np.inf)


def _nearest(away: Floats, where: Bools) -> float:
    """The least distance where something is so in more than specks."""
    solid = cv2.morphologyEx(where.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0
    return float(away[solid].min()) if solid.any() else float('inf')


def _border(
    away: Floats, shown: Bools, columns: Integers, rows: Integers, shape: tuple[int, ...]
) -> float:
    """How far the border of the image is, if it is within the patch."""
    stride = int(columns[1] - columns[0]) if len(columns) > 1 else 1
    edge = np.zeros(away.shape, bool)
    edge[:, 0], edge[:, -1] = columns[0] < stride, columns[-1] >= shape[1] - stride
    edge[0] |= rows[0] < stride
    edge[-1] |= rows[-1] >= shape[0] - stride
    edge &= shown
    return float(away[edge].min()) if edge.any() else float('inf')
