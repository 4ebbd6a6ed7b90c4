# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cloud of a view, thinned to what a browser draws at once, and what a click on it meant."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.cloud import depth_of
from molmo_ros.spatial import CameraModel
from molmo_ros.viewing.views import View

# How far off the ray of a click, in radians, a point may be that it meant: a few pixels.
_NEAR = 0.012


@dataclass(frozen=True, eq=False)
class SeenCloud:
    """xyz: (N, 3) float32 metres in the frame of the view. rgb: (N, 3) uint8. pixels: (N, 2) u, v,
    the centre of the first pixel at 0, 0. step: pixels from one to the next."""

    xyz: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    step: int


class CloudMaker:
    """Makes clouds of one camera after the other; rays are kept for as long as it is the same."""

    def __init__(self) -> None:
        self._of: tuple[CameraModel | None, tuple[int, ...], int] = (None, (), 0)
        self._rays = np.zeros((0, 0, 3), np.float32)

    def cloud(self, view: View, most: int) -> SeenCloud | None:
        """Of every so many pixels that there are at most `most`; None where there is no 3D."""
        camera, T = view.capture.frame.camera, view.target.T_target_optical
        depth = depth_of(view.capture)
        if depth is None or camera is None or T is None:
            return None
        step = max(1, ceil(sqrt(depth.size / most)))
        thin = depth[::step, ::step]
        xyz = self._rays_of(camera, depth.shape, step) * thin[..., None]
        v, u = np.nonzero(np.isfinite(xyz).all(-1) & (thin > 0))
        R, t = T[:3, :3].astype(np.float32), T[:3, 3].astype(np.float32)
        pixels = np.stack([u, v], 1) * step
        color = view.capture.frame.color[pixels[:, 1], pixels[:, 0]]
        return SeenCloud(xyz[v, u] @ R.T + t, color, pixels, step)

    def _rays_of(
        self, camera: CameraModel, shape: tuple[int, ...], step: int
    ) -> NDArray[np.float32]:
        """(H, W, 3) of every step-th pixel."""
        known, *rest = self._of
        if known is None or rest != [shape, step] or not _is_same(known, camera):
            v, u = np.mgrid[0 : shape[0] : step, 0 : shape[1] : step]
            self._rays = camera.ray(u, v).astype(np.float32)
            self._of = camera, shape, step
        return self._rays


def _is_same(one: CameraModel, other: CameraModel) -> bool:
    return one is other or (
        (one.width, one.height, one.distortion_model)
        == (other.width, other.height, other.distortion_model)
        and np.array_equal(one.K, other.K)
        and np.array_equal(one.D, other.D)
        and np.array_equal(one.R, other.R)
    )


def pixel_on_ray(
    cloud: SeenCloud, origin: NDArray[np.float64], direction: NDArray[np.float64]
) -> tuple[float, float] | None:
    """The pixel, from the top left corner, of what a ray meets first; None where it meets nothing.

    origin, direction: (3,) in the frame of the cloud.
    """
    offset = cloud.xyz - np.asarray(origin, np.float32)
    along = offset @ np.asarray(direction / np.linalg.norm(direction), np.float32)
    aside = np.sqrt(np.maximum((offset**2).sum(1) - along**2, 0.0))
    near = np.flatnonzero((along > 0) & (aside < _NEAR * along))
    if not len(near):
        return None
    # Of what is about as near as the first, the one that the ray goes through most exactly.
    first = near[along[near] < along[near].min() * 1.02]
    best = first[np.argmin(aside[first] / along[first])]
    u, v = cloud.pixels[best]
    return float(u) + 0.5, float(v) + 0.5
