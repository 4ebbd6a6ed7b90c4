# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exact depth images of simple bodies, in the camera's optical frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from molmo_ros.spatial import CameraModel

Floats = NDArray[np.float64]
Body = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class World:
    """Bodies that tell how far along rays (..., 3) from an origin (3,) they are met."""

    bodies: tuple[Body, ...]

    def trace(self, origin: Floats, rays: Floats) -> tuple[Floats, NDArray[np.intp]]:
        """How many times the ray to the nearest body, and its index; NaN and -1 for none."""
        met = np.stack([body(origin, rays) for body in self.bodies])
        nearest = met.min(0)
        return (
            np.where(np.isfinite(nearest), nearest, np.nan),
            np.where(np.isfinite(nearest), met.argmin(0), -1),
        )

    def depth(self, camera: CameraModel, T_world_camera: Floats | None = None) -> Floats:
        """(H, W) float32 depth image."""
        return self.see(camera, T_world_camera)[0].astype(np.float32)

    def see(
        self, camera: CameraModel, T_world_camera: Floats | None = None
    ) -> tuple[Floats, NDArray[np.intp]]:
        """(H, W) depths and indices of bodies."""
        rows, columns = np.indices((camera.height, camera.width))
        T = np.eye(4) if T_world_camera is None else T_world_camera
        return self.trace(T[:3, 3], camera.ray(columns, rows) @ T[:3, :3].T)


def plane(normal: tuple[float, float, float], through: tuple[float, float, float]) -> Body:
    """A plane."""
    n = np.array(normal, float)

    def met(origin: Floats, rays: Floats) -> Floats:
        with np.errstate(divide='ignore', invalid='ignore'):
            t = (n @ (np.array(through) - origin)) / (rays @ n)
        return np.where(t > 0, t, np.inf)

    return met


def ball(centre: tuple[float, float, float], radius: float) -> Body:
    """A ball."""

    def met(origin: Floats, rays: Floats) -> Floats:
        off = origin - np.array(centre)
        a, b = (rays * rays).sum(-1), rays @ off
        root = b * b - a * (off @ off - radius**2)
        t = (-b - np.sqrt(np.maximum(root, 0))) / a
        return np.where((root > 0) & (t > 0), t, np.inf)

    return met


def box(centre: tuple[float, float, float], size: tuple[float, float, float], turn: Floats) -> Body:
    """A box; turn: (3, 3), its axes as columns."""

    def met(origin: Floats, rays: Floats) -> Floats:
        o, d = (origin - np.array(centre)) @ turn, rays @ turn
        half = np.array(size) / 2
        with np.errstate(divide='ignore', invalid='ignore'):
            low, high = (-half - o) / d, (half - o) / d
        enter = np.minimum(low, high).max(-1)
        leave = np.maximum(low, high).min(-1)
        return np.where((enter < leave) & (enter > 0), enter, np.inf)

    return met


def cylinder(foot: tuple[float, float, float], axis: Floats, radius: float, height: float) -> Body:
    """An upright cylinder: from its foot along the unit vector axis."""
    first = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    first /= np.linalg.norm(first)
    turn = np.stack([first, np.cross(axis, first), axis], 1)

    def met(origin: Floats, rays: Floats) -> Floats:
        o, d = (origin - np.array(foot)) @ turn, rays @ turn
        a, b = (d[..., :2] ** 2).sum(-1), d[..., :2] @ o[:2]
        root = b * b - a * (o[:2] @ o[:2] - radius**2)
        with np.errstate(divide='ignore', invalid='ignore'):
            side = (-b - np.sqrt(np.maximum(root, 0))) / a
            at = o[2] + side * d[..., 2]
            top = (height - o[2]) / d[..., 2]
        inside = ((o[:2] + top[..., None] * d[..., :2]) ** 2).sum(-1) < radius**2
        side = np.where((root > 0) & (side > 0) & (at > 0) & (at < height), side, np.inf)
        return np.minimum(side, np.where(inside & (top > 0), top, np.inf))

    return met


class Bodies:
    """What the scenes of these tests are made of."""

    World = World
    plane = staticmethod(plane)
    ball = staticmethod(ball)
    box = staticmethod(box)
    cylinder = staticmethod(cylinder)


@pytest.fixture(scope='session')
def bodies() -> type[Bodies]:
    """Constructors of bodies, and the World that holds them."""
    return Bodies


@pytest.fixture(scope='session')
def camera() -> CameraModel:
    """A 640x480 pinhole."""
    return CameraModel(640, 480, np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]]))


@pytest.fixture(scope='session')
def stereo_noise() -> Callable[..., NDArray[np.float32]]:
    """Adds the noise of StereoNoise's own model to a depth image: blurred, even in disparity."""

    def noisy(
        depth: NDArray[np.float32], scale: float, seed: int, sigma: float = 0.08, blur: float = 1.0
    ) -> NDArray[np.float32]:
        white = np.random.default_rng(seed).standard_normal(depth.shape)
        smooth = cv2.GaussianBlur(white, (0, 0), blur)
        disparity = scale / depth + sigma * smooth / smooth.std()
        return (scale / (np.round(disparity * 32) / 32)).astype(np.float32)

    return noisy
