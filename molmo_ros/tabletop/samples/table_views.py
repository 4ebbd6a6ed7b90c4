# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered tables with their truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from molmo_ros.evaluation.metrics import pixel_of
from molmo_ros.pointing import ImagePoint
from molmo_ros.spatial import CameraModel
from molmo_ros.tabletop.samples.surfaces import distance_to_triangles
from molmo_ros.tabletop.world import (
    EASY,
    Object,
    Rendering,
    Scene,
    TableSpec,
    Truth,
    make_scene,
    render,
    truth_of,
)
from molmo_ros.tabletop.world.shapes import mesh_of

SIZE = (640, 480)


@dataclass(frozen=True, eq=False)
class TableView:
    """A scene as the tabletop camera shows it, and what is really there."""

    scene: Scene
    picture: Rendering
    truths: tuple[Truth, ...]


def view_of(seed: int, spec: TableSpec = EASY, size: tuple[int, int] = SIZE) -> TableView:
    """The scene of a seed, exactly as TabletopCamera shows it; size is width and height, pixels.

    The last two are kept: questions about one table follow each other.
    """
    return _made(seed, spec, size)


@lru_cache(maxsize=2)
def _made(seed: int, spec: TableSpec, size: tuple[int, int]) -> TableView:
    scene = make_scene(seed, spec)
    picture = render(scene, *size, smooth=True)
    return TableView(scene, picture, truth_of(scene, picture))


def true_position(view: TableView, point: ImagePoint) -> NDArray[np.float64]:
    """(3,) metres, optical frame: the surface that a point shows; NaN where nothing.

    It is where the ray of that very point, cast anew, meets what its pixel shows. At a silhouette
    the ray may pass that by; then the middle of the pixel counts.
    """
    picture = view.picture
    column, row = pixel_of(point, picture.camera.width, picture.camera.height)
    instance, position = _seen_along_ray(view, *point.centred)
    if instance == picture.instances[row, column]:
        return position
    return picture.camera.ray(column, row) * float(picture.depth[row, column])


def _seen_along_ray(view: TableView, u: float, v: float) -> tuple[int, NDArray[np.float64]]:
    """Which instance the ray through (u, v) meets, pixel centres being integers, and where."""
    camera = view.picture.camera
    K = camera.K.copy()
    K[:2, 2] -= (u, v)
    one_ray = render(replace(view.scene, camera=CameraModel(1, 1, K)), 1, 1)
    return int(one_ray.instances[0, 0]), camera.ray(u, v) * float(one_ray.depth[0, 0])


def distance_to_object(view: TableView, index: int, position: NDArray[np.float64]) -> float:
    """Metres from a position (3,) in the optical frame to the nearest surface of an object."""
    T = view.scene.T_world_camera
    in_world = T[:3, :3] @ position + T[:3, 3]
    return distance_to_triangles(in_world, _triangles(view.scene.objects[index]))


def _triangles(item: Object) -> NDArray[np.float64]:
    """(N, 3, 3) corners in the world frame."""
    mesh, T = mesh_of(item.kind), item.T_world_object
    vertices = (mesh.vertices * np.array(item.scale)) @ T[:3, :3].T + T[:3, 3]
    return np.asarray(vertices[mesh.faces])
