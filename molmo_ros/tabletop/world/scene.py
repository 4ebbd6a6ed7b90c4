# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a scene is: things on a table, a light, a camera. Plain data and its geometry.

Frames: world (the table top is z = 0, z up, origin in the middle of the table) and the camera's
optical frame (x right, y down, z forward). Pixels have their integers at pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial.camera_model import CameraModel
from molmo_ros.tabletop.world.shapes import outline_of

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Object:
    """One thing on the table.

    Attributes:
        kind: a key of ``shapes.KINDS``.
        colour: the colour's name.
        albedo: RGB in 0..1.
        position: of the middle of its base, world frame, metres.
        yaw: rotation about z, radians.
        scale: of its nominal mesh along the object's own x, y, z.
        gloss: strength of its highlight, 0..1.
        pattern: a key of ``patterns.ON_OBJECTS``.
        accent: RGB in 0..1 of the pattern's second colour.
        rotation: rows of its (3, 3) rotation where it is not upright; then yaw says nothing.
    """

    kind: str
    colour: str
    albedo: Vector
    position: Vector
    yaw: float
    scale: Vector
    gloss: float
    pattern: str = 'plain'
    accent: Vector = (1.0, 1.0, 1.0)
    rotation: tuple[Vector, Vector, Vector] | None = None

    @property
    def T_world_object(self) -> NDArray[np.float64]:
        """(4, 4) pose; the scale is not part of it."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        pose = np.eye(4)
        pose[:2, :2] = [[c, -s], [s, c]]
        if self.rotation is not None:
            pose[:3, :3] = self.rotation
        pose[:3, 3] = self.position
        return pose


@dataclass(frozen=True)
class Table:
    """A rectangle at z = 0.

    Attributes:
        pattern: a key of ``patterns.PATTERNS``.
        pattern_yaw, pattern_offset: how the pattern lies: radians, fraction of its period.
        extent: half its sides along the world's x and y, metres.
    """

    colour: str
    albedo: Vector
    pattern: str
    pattern_yaw: float
    pattern_offset: tuple[float, float]
    extent: tuple[float, float]


@dataclass(frozen=True)
class Light:
    """A far light: unit vector towards it in the world frame, and how bright it and the sky are."""

    towards: Vector
    strength: float
    ambient: float


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a rendering depends on.

    Attributes:
        T_world_camera: (4, 4) float64, pose of the optical frame in the world.
        camera: a pinhole without distortion; pictures of another size show the same view.
        background: RGB in 0..1 of what is behind the table.
        clutter: things that nobody asks for; instances count them to the table.
    """

    seed: int
    objects: tuple[Object, ...]
    table: Table
    light: Light
    T_world_camera: NDArray[np.float64]
    camera: CameraModel
    background: Vector
    clutter: tuple[Object, ...] = ()

    @property
    def things(self) -> tuple[Object, ...]:
        """All that lies on the table, what is asked for first."""
        return self.objects + self.clutter


def bounding_box(item: Object, scene: Scene) -> NDArray[np.float64]:
    """(4,) left, top, right, bottom of an object in pixels, hidden parts included."""
    uv = project(outline_in_world(item), scene.T_world_camera, scene.camera)
    return np.concatenate([uv.min(0), uv.max(0)])


def outline_in_world(item: Object) -> NDArray[np.float64]:
    """(P, 3) points in the world frame that bound an object in any view."""
    pose = item.T_world_object
    return (outline_of(item.kind) * item.scale) @ pose[:3, :3].T + pose[:3, 3]


def project(
    xyz: NDArray[np.float64], T_world_camera: NDArray[np.float64], camera: CameraModel
) -> NDArray[np.float64]:
    """(..., 2) pixels of (..., 3) world points in front of a camera without distortion."""
    optical = (xyz - T_world_camera[:3, 3]) @ (T_world_camera[:3, :3] @ camera.K.T)
    return optical[..., :2] / optical[..., 2:]


def fitted(camera: CameraModel, width: int, height: int) -> CameraModel:
    """The camera read out at another size: all of its view, and more where the shape differs."""
    scale = min(width / camera.width, height / camera.height)
    K = camera.K.copy()
    K[:2] *= scale
    K[0, 2] += (width - 1 - scale * (camera.width - 1)) / 2
    K[1, 2] += (height - 1 - scale * (camera.height - 1)) / 2
    return CameraModel(width, height, K)
