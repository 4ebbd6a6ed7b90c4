# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same tables as another renderer shows them: Bullet's TinyRenderer, a rasteriser.

Its shading, shadows and edges are its own, and no checkpoint was trained on them. Colour alone is
taken from it; what is where is known from the scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.evaluation.samples import Image, InvalidData, Sample
from molmo_ros.extras import require
from molmo_ros.spatial import CameraModel
from molmo_ros.tabletop.world import Object, Scene, TableSpec, make_scene
from molmo_ros.tabletop.world.patterns import ON_OBJECTS
from molmo_ros.tabletop.world.scene import fitted
from molmo_ros.tabletop.world.shapes import kind_of, mesh_of

Floats = NDArray[np.float64]

_NEAR, _FAR = 0.05, 20.0
_FINEST = 0.007  # m: patterns are painted on triangles of that size
_OVERSAMPLED = 2
_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def rerendered(
    samples: Iterable[Sample], spec: TableSpec, size: tuple[int, int]
) -> Iterator[Sample]:
    """The same questions about the same tables, drawn by the other renderer.

    Raises InvalidData if pybullet is not there.
    """
    _bullet()
    return (
        replace(sample, image=partial(_picture, int(sample.image_id), spec, size), source='')
        for sample in samples
    )


# Samples of one table follow each other.
@lru_cache(maxsize=2)
def _picture(seed: int, spec: TableSpec, size: tuple[int, int]) -> Image:
    return second_picture(make_scene(seed, spec), *size)


def second_picture(scene: Scene, width: int, height: int) -> Image:
    """(H, W, 3) uint8 RGB of all that `render` shows at that size.

    The table is of one colour, without its pattern. Raises InvalidData if pybullet is not there.
    """
    bullet = _bullet()
    size = width * _OVERSAMPLED, height * _OVERSAMPLED
    client = bullet.connect(bullet.DIRECT)
    try:
        _build(bullet, scene)
        light = scene.light
        _, _, color, _, drawn = bullet.getCameraImage(
            *size,
            viewMatrix=(_TO_OPENGL @ np.linalg.inv(scene.T_world_camera)).T.ravel().tolist(),
            projectionMatrix=_projection(fitted(scene.camera, *size)).T.ravel().tolist(),
            lightDirection=list(light.towards),
            lightDistance=4.0,
            shadow=1,
            lightAmbientCoeff=light.ambient,
            lightDiffuseCoeff=light.strength,
            lightSpecularCoeff=0.2,
            renderer=bullet.ER_TINY_RENDERER,
        )
    finally:
        bullet.disconnect(client)
    picture = np.reshape(color, (size[1], size[0], 4))[..., :3].astype(np.uint8)
    picture[np.reshape(drawn, size[::-1]) < 0] = np.multiply(scene.background, 255)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _bullet() -> Any:
    require('pybullet', 'the second renderer', InvalidData)
    import pybullet

    return pybullet


def _build(bullet: Any, scene: Scene) -> None:
    x, y = scene.table.extent
    corners = np.array([(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, -y, 0), (x, y, 0), (-x, y, 0)])
    table = np.hstack([corners, np.tile([0.0, 0, 1], (6, 1))])
    _add(bullet, _Surface.of(table.reshape(-1, 3, 6)), scene.table.albedo)
    for item in scene.things:
        painted = _painted(item.kind, item.pattern)
        for albedo, surface in zip((item.albedo, item.accent), painted, strict=True):
            _add(bullet, surface, albedo, item)
        for own, surface in _of_own_colour(item.kind):
            _add(bullet, surface, own, item)


@dataclass(frozen=True)
class _Surface:
    """Triangles as plain lists, the only thing that Bullet reads fast; made once a process."""

    vertices: list[list[float]]
    normals: list[list[float]]
    indices: list[int]

    @classmethod
    def of(cls, triangles: Floats) -> _Surface:
        """Of corners and normals (N, 3, 6); corners that are the same become one."""
        corners, indices = np.unique(triangles.reshape(-1, 6), axis=0, return_inverse=True)
        return cls(corners[:, :3].tolist(), corners[:, 3:].tolist(), indices.ravel().tolist())


def _add(
    bullet: Any, surface: _Surface, albedo: tuple[float, ...], item: Object | None = None
) -> None:
    if not surface.indices:
        return
    shape = bullet.createVisualShape(
        bullet.GEOM_MESH,
        vertices=surface.vertices,
        normals=surface.normals,
        uvs=[[0.0, 0.0]] * len(surface.vertices),
        indices=surface.indices,
        meshScale=[1, 1, 1] if item is None else list(item.scale),
        rgbaColor=[*albedo, 1],
    )
    where = {}
    if item is not None:
        turn = bullet.getQuaternionFromEuler((0, 0, item.yaw))
        where = {'basePosition': item.position, 'baseOrientation': turn}
    bullet.createMultiBody(0, -1, shape, **where)


@cache
def _painted(kind: str, pattern: str) -> tuple[_Surface, _Surface]:
    """What has the object's own colour, and what has the accent of its pattern."""
    accented = ON_OBJECTS[pattern]
    triangles, parts = _triangles(kind, _FINEST if accented else np.inf)
    paintable = np.array([True, *(part.albedo is None for part in kind_of(kind).parts)])[parts]
    accent = np.zeros(len(triangles), bool)
    if accented is not None:
        accent = paintable & accented(triangles[..., :3].mean(1).astype(np.float32))
    return _Surface.of(triangles[paintable & ~accent]), _Surface.of(triangles[accent])


@cache
def _of_own_colour(kind: str) -> tuple[tuple[tuple[float, ...], _Surface], ...]:
    """The parts that have a colour whatever the object's, and that colour."""
    triangles, parts = _triangles(kind, np.inf)
    return tuple(
        (part.albedo, _Surface.of(triangles[parts == number]))
        for number, part in enumerate(kind_of(kind).parts, 1)
        if part.albedo is not None
    )


def _triangles(kind: str, finest: float) -> tuple[Floats, NDArray[np.uint8]]:
    """Corners and normals (N, 3, 6) of a kind's mesh, no edge longer than that, and parts (N,)."""
    mesh = mesh_of(kind)
    triangles = np.hstack([mesh.vertices, mesh.normals]).astype(float)[mesh.faces]
    parts = mesh.parts
    while True:
        edges = triangles[..., :3] - np.roll(triangles[..., :3], 1, axis=1)
        coarse = np.linalg.norm(edges, axis=2).max(1) > finest
        if not coarse.any():
            return triangles, parts
        a, b, c = triangles[coarse].swapaxes(0, 1)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        triangles = np.concatenate([triangles[~coarse], *quarters])
        parts = np.concatenate([parts[~coarse], *[parts[coarse]] * 4])


def _projection(camera: CameraModel) -> Floats:
    """(4, 4) OpenGL projection of a pinhole whose pixel centres are integers."""
    (fx, _, cx), (_, fy, cy) = camera.K[:2]
    width, height = camera.width, camera.height
    depth = _NEAR - _FAR
    return np.array(
        [
            (2 * fx / width, 0, 1 - (2 * cx + 1) / width, 0),
            (0, 2 * fy / height, (2 * cy + 1) / height - 1, 0),
            (0, 0, (_NEAR + _FAR) / depth, 2 * _NEAR * _FAR / depth),
            (0, 0, -1, 0),
        ]
    )
