# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth that another camera saw: found at the asked pixels only, never for the whole image.

A pixel's ray is followed from near to far through the depth image. It hits the first surface that
it passes from in front to behind. Where the depth image jumps nearer in between, the ray has gone
behind something and is followed on until it comes out; if it never does, the surface is hidden
from the depth camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .lift_settings import LiftSettings
from .seeds import RANGE, STEEPEST
from .surface_point import LiftStatus, is_rotation
from .windows import Floats, within

HIDDEN = 'hidden from the depth camera by something nearer'
BEYOND = 'nothing within max_range along the ray'
UNSEEN = 'the ray does not pass through the depth image'
NO_READING = 'no reading along the ray'

_BEYOND = 1.0  # pixels, how far outside of the depth image a ray is followed from and to


@dataclass(frozen=True)
class Registration:
    """The camera that saw the depth image, and where it stands.

    depth_camera: of the depth image. T_color_depth: (4, 4) pose of the depth camera's optical frame
    in the color camera's, metres. Raises ValueError if that is not a rigid transform.
    """

    depth_camera: CameraModel
    T_color_depth: NDArray[np.float64]

    def __post_init__(self) -> None:
        T = np.asarray(self.T_color_depth, np.float64)
        if T.shape != (4, 4) or not is_rotation(T[:3, :3]):
            raise ValueError('T_color_depth must be a (4, 4) rigid transform in metres')
        object.__setattr__(self, 'T_color_depth', T)

    @property
    def R_depth_color(self) -> Floats:
        """(3, 3) rotation from the color camera's frame to the depth camera's."""
        return self.T_color_depth[:3, :3].T

    @property
    def t_depth_color(self) -> Floats:
        """(3,) the color camera's centre in the depth camera's frame, metres."""
        return -self.R_depth_color @ self.T_color_depth[:3, 3]


@dataclass(frozen=True)
class Hits:
    """pixels: (N, 2) of the depth image, NaN without a hit. status: (N,) of LiftStatus."""

    pixels: Floats
    status: NDArray[np.intp]
    reasons: tuple[str, ...]


def find_hits(
    rays: Floats, depth: NDArray[np.float32], registration: Registration, settings: LiftSettings
) -> Hits:
    """Where rays (N, 3) with z = 1 in the color camera's frame meet a depth image (H, W)."""
    camera = registration.depth_camera
    directions = rays @ registration.R_depth_color.T
    origin = registration.t_depth_color
    steps = _steps(directions, origin, camera, settings)
    points = origin + directions[:, None] / steps[..., None]
    pixels = camera.project(points)
    seen = _readings(depth, pixels, camera)
    behind = points[..., 2] - seen
    chosen = [
        _first_hit(p, d, b, 1 / s, camera, settings)
        for p, d, b, s in zip(pixels, seen, behind, steps, strict=True)
    ]
    hits = np.full((len(rays), 2), np.nan)
    found = [i for i, (status, _, _) in enumerate(chosen) if status == LiftStatus.OK]
    inverse = np.array([chosen[i][2] for i in found]).reshape(-1, 1)
    hits[found] = camera.project(origin + directions[found] / inverse)
    status = np.array([c[0] for c in chosen], np.intp)
    return Hits(hits, status, tuple(c[1] for c in chosen))


def _steps(
    directions: Floats, origin: Floats, camera: CameraModel, settings: LiftSettings
) -> Floats:
    """Inverse depths (N, K) from near to far, a pixel apart or less in the depth image.

    Only where a ray may be seen in the image: of cameras half a metre apart its way through all
    depths is thousands of pixels long.
    """
    spans = _spans(directions, origin, camera, settings)
    ends = camera.project(origin + directions[:, None] / spans[..., None])
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    most = camera.width + camera.height
    longest = np.nan_to_num(length, nan=most).max(initial=0.0)
    return np.linspace(spans[:, 0], spans[:, 1], int(np.ceil(min(longest, most))) + 2, axis=1)


def _spans(
    directions: Floats, origin: Floats, camera: CameraModel, settings: LiftSettings
) -> Floats:
    """Inverse depths (N, 2), near and far, between which rays are before the image.

    A ray is on one side of a plane from or to some inverse depth, and changes sides once.
    """
    ends = 1 / settings.max_range, 1 / settings.min_range
    far, near = (np.full(len(directions), end) for end in ends)
    for side in _sides(camera):
        slope = float(origin @ side)
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            crossing = np.clip(-(directions @ side) / np.float64(slope), *ends)
        if slope > 0:
            far = np.fmax(far, crossing)
        elif slope < 0:
            near = np.fmin(near, crossing)
    return np.stack([np.maximum(near, far), far], 1)


def _sides(camera: CameraModel) -> Floats:
    """Planes (4, 3) through the camera around all that its image shows; X . side > 0 is within."""
    across = np.arange(-_BEYOND, camera.width + _BEYOND)
    down = np.arange(-_BEYOND, camera.height + _BEYOND)
    right, below = camera.width - 1 + _BEYOND, camera.height - 1 + _BEYOND
    rays = np.concatenate(
        [
            camera.ray(across, np.full_like(across, -_BEYOND)),
            camera.ray(across, np.full_like(across, below)),
            camera.ray(np.full_like(down, -_BEYOND), down),
            camera.ray(np.full_like(down, right), down),
        ]
    )[:, :2]
    if not np.isfinite(rays).all():
        return np.empty((0, 3))  # Of a lens that does not reach the corners.
    (left, top), (right, below) = rays.min(0), rays.max(0)
    return np.array([(1, 0, -left), (-1, 0, right), (0, 1, -top), (0, -1, below)])


def _readings(depth: NDArray[np.float32], pixels: Floats, camera: CameraModel) -> Floats:
    """Readings (N, K) at the nearest pixels, NaN where there is none or the image ends."""
    inside = within(pixels, camera.width, camera.height)
    nearest = np.rint(np.where(inside[..., None], pixels, 0)).astype(np.intp)
    seen = depth[nearest[..., 1], nearest[..., 0]].astype(np.float64)
    return np.where(inside & ((seen > 0) | np.isneginf(seen)), seen, np.nan)


def _first_hit(
    pixels: Floats,
    seen: Floats,
    behind: Floats,
    z: Floats,
    camera: CameraModel,
    settings: LiftSettings,
) -> tuple[LiftStatus, str, float]:
    """Status, reason and inverse depth of the first hit along one ray of K steps."""
    known = np.flatnonzero(~np.isnan(behind))
    if not len(known):
        return _nothing(pixels, camera)
    now, then = known[:-1], known[1:]
    entering = (behind[now] < 0) & (behind[then] >= 0)
    apart = np.linalg.norm(pixels[then] - pixels[now], axis=1)
    focal = float(camera.K[0, 0])
    with np.errstate(invalid='ignore'):
        jump = seen[now] - seen[then]
        slope = seen[then] * (STEEPEST / focal) * (apart + 1)
        noise = 6 * settings.noise.sigma(np.where(np.isfinite(seen), seen, 0.0), focal)[then]
        bridged = apart <= 2 * settings.hole_radius + 1
        met = entering & (jump < slope + noise) & np.isfinite(seen[then])
        hit = met & bridged
    if hit.any():
        k = int(np.argmax(hit))
        return LiftStatus.OK, '', _crossing(behind, seen, z, now[k], then[k])
    if known[-1] < len(behind) - 1 and not within(pixels[-1:], camera.width, camera.height).any():
        return LiftStatus.OUTSIDE_DEPTH, UNSEEN, np.nan
    if met.any():
        return LiftStatus.DEPTH_INVALID, NO_READING, np.nan  # In a hole too wide to be bridged.
    if behind[known[-1]] < 0:
        if known[-1] < len(behind) - 1:
            return LiftStatus.DEPTH_INVALID, NO_READING, np.nan
        return LiftStatus.OUT_OF_RANGE, BEYOND, np.nan
    if (seen[known] < settings.min_range).all():
        return LiftStatus.OUT_OF_RANGE, RANGE, np.nan
    return LiftStatus.DEPTH_INVALID, HIDDEN, np.nan


def _crossing(behind: Floats, seen: Floats, z: Floats, now: np.intp, then: np.intp) -> float:
    """Inverse depth between two steps where the ray goes from in front to behind."""
    a, b = behind[now], behind[then]
    if not np.isfinite(a) or seen[then] - seen[now] > z[then] - z[now]:
        # The first step saw something else, farther or nothing: stay with what the second saw.
        return float(1 / max(z[then] - b, z[now]))
    share = a / (a - b)
    return float((1 - share) / z[now] + share / z[then])


def _nothing(pixels: Floats, camera: CameraModel) -> tuple[LiftStatus, str, float]:
    if within(pixels, camera.width, camera.height).any():
        return LiftStatus.DEPTH_INVALID, NO_READING, np.nan
    return LiftStatus.OUTSIDE_DEPTH, UNSEEN, np.nan
