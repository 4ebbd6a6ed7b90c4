# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a pixel and a depth image to a point on the surface that the pixel shows.

A seed is the reading that stands for the pixel (seeds.py), around it a surface is fitted
(surface_fit.py), and the point is where the pixel's ray meets that surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel, CameraSizeMismatch
from .edges import Edges, find_edges
from .lift_settings import DEFAULT_SETTINGS, LiftSettings
from .registration import Hits, Registration, find_hits
from .seeds import RANGE, find_seeds
from .surface_fit import Surfaces, fit_surfaces
from .surface_point import LiftStatus, SurfacePoint
from .windows import Bools, Floats, Integers, within

NO_RAY = 'the lens model has no ray for this pixel'
NO_SURFACE = 'the readings around the pixel make no surface that its ray meets'

# A normal whose slope is less sure than this (tan of the angle) is no normal.
_UNSURE_SLOPE = 0.5


def lift(
    u: float,
    v: float,
    depth: NDArray[np.float32] | None,
    camera: CameraModel | None,
    settings: LiftSettings = DEFAULT_SETTINGS,
    registration: Registration | None = None,
) -> SurfacePoint:
    """The surface point behind pixel (u, v), in the camera's optical frame.

    depth: (H, W) float32 metres along the optical axis, as depth_to_metres gives it; None if there
    is none. Without a registration it shows the camera's own view, pixel for pixel or scaled.
    camera: of the image that (u, v) is a pixel of; None if its camera_info is not known.
    registration: of a depth image that another camera saw.
    Never raises for what a camera may send: the status says what is missing.
    """
    return lift_points([(u, v)], depth, camera, settings, registration)[0]


def lift_points(
    pixels: Sequence[tuple[float, float]] | Floats,
    depth: NDArray[np.float32] | None,
    camera: CameraModel | None,
    settings: LiftSettings = DEFAULT_SETTINGS,
    registration: Registration | None = None,
) -> tuple[SurfacePoint, ...]:
    """The surface points behind pixels (N, 2) of one image: as lift, faster than one by one.

    Raises TypeError for a depth image that is not floating point metres.
    """
    uv = np.asarray(pixels, np.float64).reshape(-1, 2)
    if camera is None:
        return _all(uv, LiftStatus.NO_CAMERA_INFO, 'no camera_info has come for the image')
    if depth is None:
        return _all(uv, LiftStatus.NO_DEPTH, 'no depth image has come for the image')
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.floating):
        raise TypeError('depth must be (H, W) metres in floating point: see depth_to_metres')
    try:
        registration = registration or _same_view(depth, camera)
    except CameraSizeMismatch:
        return _all(uv, LiftStatus.NO_DEPTH, other_shape(depth.shape, camera))
    return _lifted(uv, depth, camera, settings.for_width(depth.shape[1]), registration)


def other_shape(shape: tuple[int, ...], camera: CameraModel) -> str:
    """What is wrong with depth of (height, width) that no scaling makes the image of a camera."""
    height, width = shape
    return (
        f'the depth image is {width}x{height} and the image {camera.width}x{camera.height}: not '
        'the same view; use depth that is aligned to the color image'
    )


def _lifted(
    uv: Floats,
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings,
    registration: Registration | None,
) -> tuple[SurfacePoint, ...]:
    focal = float((registration.depth_camera if registration else camera).K[0, 0])
    rays = _Rays.through(camera, uv)
    hits = _hits(uv, rays, depth, registration, settings)
    points = _failed(np.arange(len(uv)), hits.status, hits.reasons)
    hit = np.flatnonzero(hits.status == LiftStatus.OK)
    seeds = find_seeds(depth, np.rint(hits.pixels[hit]).astype(np.intp), focal, settings)
    points |= _failed(hit, seeds.status, seeds.reasons)
    good = np.flatnonzero(seeds.status == LiftStatus.OK)
    if len(good):
        lifted = hit[good]
        surfaces = fit_surfaces(depth, seeds.pixels[good], focal, settings)
        pixels = hits.pixels[lifted]
        met = _meet(rays[lifted], pixels, surfaces, registration)
        edges = find_edges(depth, pixels, surfaces, focal, settings)
        bridged = seeds.bridged[good]
        found = _points(rays[lifted], met, surfaces, bridged, edges, focal, settings)
        points |= zip(lifted.tolist(), found, strict=True)
    return tuple(points[i] for i in range(len(uv)))


def _failed(
    which: Integers, status: Integers, reasons: Sequence[str] | NDArray[np.str_]
) -> dict[int, SurfacePoint]:
    """The points (index to point) whose status is not OK."""
    return {
        int(which[i]): SurfacePoint(LiftStatus(int(status[i])), reason=str(reasons[int(i)]))
        for i in np.flatnonzero(status != LiftStatus.OK)
    }


def _all(uv: Floats, status: LiftStatus, reason: str) -> tuple[SurfacePoint, ...]:
    return (SurfacePoint(status, reason=reason),) * len(uv)


def _same_view(depth: NDArray[np.float32], camera: CameraModel) -> Registration | None:
    height, width = depth.shape
    if (width, height) == (camera.width, camera.height):
        return None
    return Registration(camera.resized(width, height), np.eye(4))


def _hits(
    uv: Floats,
    rays: _Rays,
    depth: NDArray[np.float32],
    registration: Registration | None,
    settings: LiftSettings,
) -> Hits:
    """Where in the depth image the surfaces behind the pixels are to be looked for."""
    if registration is not None:
        hits = find_hits(np.nan_to_num(rays.ray), depth, registration, settings)
    else:
        height, width = depth.shape
        inside = within(uv, width, height)
        status = np.where(inside, LiftStatus.OK, LiftStatus.OUTSIDE_DEPTH)
        outside = f'the depth image is {width}x{height}, the pixel outside of it'
        hits = Hits(uv, status, tuple('' if good else outside for good in inside))
    known = np.isfinite(rays.ray + rays.along_u + rays.along_v)
    seen = np.asarray(known.all(1))
    if seen.all():
        return hits
    reasons = (r if good else NO_RAY for r, good in zip(hits.reasons, seen, strict=True))
    status = np.where(seen, hits.status, LiftStatus.OUTSIDE_DEPTH)
    return Hits(hits.pixels, status, tuple(reasons))


@dataclass(frozen=True)
class _Rays:
    """Rays (N, 3) with z = 1, and how they move (N, 3) per pixel in u and in v."""

    ray: Floats
    along_u: Floats
    along_v: Floats

    @classmethod
    def through(cls, camera: CameraModel, uv: Floats) -> _Rays:
        around = uv + 0.5 * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])[:, None]
        ray, right, left, below, above = camera.ray(around[..., 0], around[..., 1])
        return cls(ray, _per_pixel(left, ray, right), _per_pixel(above, ray, below))

    def __getitem__(self, which: Integers) -> _Rays:
        return _Rays(self.ray[which], self.along_u[which], self.along_v[which])

    def planes(self, inverse: Floats, gradient: Floats) -> Floats:
        """Planes p (N, 3), p . X = 1, whose inverse depth and its gradient (N, 2) are these."""
        rows = np.stack([self.along_u, self.along_v, self.ray], 1)
        values = np.column_stack([gradient, inverse])
        return np.asarray(np.linalg.solve(rows, values[:, :, None])[:, :, 0], np.float64)


def _per_pixel(before: Floats, here: Floats, after: Floats) -> Floats:
    """How rays (N, 3) move a pixel on, from those half a pixel to either side, or to one where the
    lens model has none on the other."""
    with np.errstate(invalid='ignore'):
        one_sided = 2 * np.where(np.isfinite(after), after - here, here - before)
        both = after - before
    return np.where(np.isfinite(both), both, one_sided)


@dataclass(frozen=True)
class _Met:
    """Planes (N, 3) that the rays meet, in the frame of the rays, and the standard deviation (N,)
    of where, in metres of z."""

    planes: Floats
    sigma: Floats


def _meet(
    rays: _Rays, pixels: Floats, surfaces: Surfaces, registration: Registration | None
) -> _Met:
    if registration is None:
        inverse, gradient, variance = surfaces.at(pixels)
        return _Met(rays.planes(inverse, gradient), np.sqrt(variance) / inverse**2)
    camera, R, t = (
        registration.depth_camera,
        registration.R_depth_color,
        registration.t_depth_color,
    )
    directions = rays.ray @ R.T
    for _ in range(2):  # Once errs by micrometres on a ball, twice by nothing.
        inverse, gradient, variance = surfaces.at(pixels)
        planes = _Rays.through(camera, pixels).planes(inverse, gradient)
        reach, steep = 1 - planes @ t, (planes * directions).sum(1)
        pixels = camera.project(t + directions * (reach / steep)[:, None])
    # How far the meeting moves when the inverse depth of the surface does.
    moved = (t[2] * steep + reach * directions[:, 2]) / steep**2
    return _Met((planes @ R) / reach[:, None], np.sqrt(variance) * np.abs(moved))


def _points(
    rays: _Rays,
    met: _Met,
    surfaces: Surfaces,
    bridged: Bools,
    edges: Edges,
    focal: float,
    settings: LiftSettings,
) -> list[SurfacePoint]:
    inverse = (met.planes * rays.ray).sum(1)
    with np.errstate(divide='ignore', invalid='ignore'):
        z = np.where(inverse > 0, 1 / inverse, np.nan)
    position = rays.ray * z[:, None]
    normal = -met.planes / np.linalg.norm(met.planes, axis=1, keepdims=True)
    level = surfaces.t[:, 0]
    normal[surfaces.slope_sigma() * focal / level > _UNSURE_SLOPE] = np.nan
    covariance = _covariance(rays, met, z, settings.pixel_sigma)
    covariance += edges.variance[:, None, None] * (rays.ray[:, :, None] * rays.ray[:, None, :])
    spread = surfaces.spread / level**2
    beyond = SurfacePoint(LiftStatus.OUT_OF_RANGE, reason=RANGE)
    nowhere = SurfacePoint(LiftStatus.DEPTH_INVALID, reason=NO_SURFACE)
    with np.errstate(invalid='ignore'):
        near = (z > settings.min_range / 2) & (z < settings.max_range * 2)
        in_range = settings.in_range(z)
    return [
        SurfacePoint(
            LiftStatus.OK,
            position[i],
            normal[i],
            covariance[i],
            int(surfaces.pixels[i]),
            float(spread[i]),
            bool(bridged[i]),
            bool(edges.near[i]),
        )
        if in_range[i]
        else (beyond if near[i] else nowhere)
        for i in range(len(z))
    ]


def _covariance(rays: _Rays, met: _Met, z: Floats, pixel_sigma: float) -> Floats:
    """(N, 3, 3): along the ray from the depth, over the surface from the pixel."""
    along = met.sigma[:, None] * rays.ray
    across = [
        pixel_sigma * (z[:, None] * step - (z**2 * (met.planes * step).sum(1))[:, None] * rays.ray)
        for step in (rays.along_u, rays.along_v)
    ]
    parts = np.stack([along, *across], 2)
    return np.asarray(parts @ parts.transpose(0, 2, 1))
