# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parametric triangle meshes of things that stand on a table.

Every mesh is metric at its nominal size, stands on z = 0 (z up) and is centred on the z axis.
The geometry is our own: profiles turned on a lathe, bent tubes and boxes. To add a kind, write a
function that returns a ``Mesh`` and give it a line in ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Profile = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with smooth shading normals.

    Attributes:
        vertices: (V, 3) float32, metres.
        normals: (V, 3) float32, unit length, outward.
        faces: (F, 3) int32, indices into the vertices.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int32]


@dataclass(frozen=True)
class Kind:
    """A kind of object: how to build it and how much its proportions may vary.

    Attributes:
        build: makes the mesh at its nominal size.
        stretch: largest relative change along the object's x, y, z axes, on top of a common scale.
        round: whether x and y change together, so that a round object stays round.
        telling_side: whether its +x side (a handle) must not point away from the camera.
    """

    build: Callable[[], Mesh]
    stretch: tuple[float, float, float] = (0.0, 0.0, 0.0)
    round: bool = True
    telling_side: bool = False


def merge(*meshes: Mesh) -> Mesh:
    """Put several meshes into one; nothing is welded, so edges between them stay sharp."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate(
            [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]
        ).astype(np.int32),
    )


def lathe(*pieces: ArrayLike, segments: int = 64) -> Mesh:
    """Turn profiles about the z axis.

    Args:
        pieces: each (P, 2) of radius and height in metres, going counter-clockwise round the solid
            (outward is to the right of the way). Normals are smooth along a piece and break
            between pieces.
        segments: corners of the circle.
    """
    return merge(*(_turned(np.asarray(piece, float), segments) for piece in pieces))


def tube(path: ArrayLike, radii: ArrayLike, segments: int = 24) -> Mesh:
    """A round tube along a plane path, open at its ends (let the radii go to zero to close it).

    Args:
        path: (P, 3) centre line in metres, lying in a plane and not straight.
        radii: (P,) metres.
        segments: corners of the circle.
    """
    path, radii = np.asarray(path, float), np.asarray(radii, float)
    tangent = np.gradient(path, axis=0, edge_order=2)
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    tangent /= length
    side = np.cross(tangent[0], tangent[-1] if len(path) < 3 else tangent[len(path) // 2])
    side = np.broadcast_to(side / np.linalg.norm(side), path.shape)
    up = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    radial = (
        np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    )
    taper = np.gradient(radii, edge_order=2)[:, None] / length
    return _grid(path[:, None] + radii[:, None, None] * radial, radial - (taper * tangent)[:, None])


def box(x: float, y: float, z: float) -> Mesh:
    """A box of the given edge lengths in metres, standing on z = 0."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    vertices, normals = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            side = np.empty((4, 3))
            side[:, axis] = sign
            side[:, [other for other in range(3) if other != axis]] = corners
            vertices.append(side)
            normals.append(np.broadcast_to(sign * np.eye(3)[axis], (4, 3)))
    faces = np.array([[0, 1, 2], [0, 2, 3]])[None] + 4 * np.arange(6)[:, None, None]
    metric = (np.concatenate(vertices) * 0.5 + [0, 0, 0.5]) * [x, y, z]
    return _mesh(metric, np.concatenate(normals), faces.reshape(-1, 3))


def arc(
    centre: tuple[float, float], radius: ArrayLike, start: float, stop: float, points: int = 17
) -> Profile:
    """(points, 2) on an arc; radius one number or (rx, ry) in metres, angles in degrees."""
    angle = np.radians(np.linspace(start, stop, points))
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius + np.asarray(centre)


def _turned(profile: Profile, segments: int) -> Mesh:
    slope = np.gradient(profile, axis=0, edge_order=2 if len(profile) > 2 else 1)
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    return _grid(_revolve(profile, circle), _revolve(slope[:, ::-1] * [1, -1], circle))


def _revolve(profile: Profile, circle: Profile) -> NDArray[np.float64]:
    turned = np.empty((len(profile), len(circle), 3))
    turned[..., :2] = profile[:, None, :1] * circle
    turned[..., 2] = profile[:, None, 1]
    return turned


def _grid(vertices: NDArray[np.float64], normals: NDArray[np.float64]) -> Mesh:
    """Triangles of a (rows, columns, 3) grid that closes on itself along the columns."""
    rows, columns = vertices.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(index, -1, 1)
    a, b, c, d = index[:-1], right[:-1], right[1:], index[1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2)
    return _mesh(vertices.reshape(-1, 3), normals.reshape(-1, 3), faces.reshape(-1, 3))


def _mesh(
    vertices: NDArray[np.float64], normals: NDArray[np.float64], faces: NDArray[np.int64]
) -> Mesh:
    unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return Mesh(vertices.astype(np.float32), unit.astype(np.float32), faces.astype(np.int32))


def ball() -> Mesh:
    """A sphere of 50 mm radius."""
    return lathe(arc((0, 0.05), 0.05, -90, 90, 65), segments=128)


def cube() -> Mesh:
    """A box close to a cube."""
    return box(0.10, 0.10, 0.09)


def bottle() -> Mesh:
    """A bottle with a shoulder, a neck and a cap."""
    side = [(0.038, 0.004), (0.038, 0.11)]
    shoulder = np.concatenate(
        [arc((0.016, 0.11), (0.022, 0.035), 0, 60, 9), [(0.0155, 0.152), (0.0135, 0.165)]]
    )
    return lathe(
        [(0, 0), (0.034, 0)],
        [(0.034, 0), (0.038, 0.004)],
        side,
        shoulder,
        [(0.0135, 0.165), (0.0135, 0.178)],
        [(0.0135, 0.178), (0.018, 0.178)],
        [(0.018, 0.178), (0.018, 0.2)],
        [(0.018, 0.2), (0, 0.2)],
        segments=48,
    )


def mug() -> Mesh:
    """A mug with a handle along +x."""
    body = lathe(
        [(0, 0), (0.04, 0)],
        [(0.04, 0), (0.042, 0.095)],
        arc((0.0395, 0.095), 0.0025, 0, 180, 9),
        [(0.037, 0.095), (0.036, 0.006)],
        [(0.036, 0.006), (0, 0.006)],
    )
    turn = np.radians(np.linspace(-82, 82, 33))
    path = np.stack([0.039 + 0.038 * np.cos(turn), 0 * turn, 0.05 + 0.034 * np.sin(turn)], 1)
    return merge(body, tube(path, np.full(33, 0.0075)))


def bowl() -> Mesh:
    """A wide open bowl."""
    return lathe(
        [(0, 0), (0.035, 0)],
        arc((0, 0.0675), (0.085, 0.0675), -65, 0, 25),
        arc((0.0825, 0.0675), 0.0025, 0, 180, 9),
        arc((0, 0.0675), (0.08, 0.0625), 0, -90, 33),
    )


def banana() -> Mesh:
    """A banana lying on its side, with a stem."""
    turn = np.radians(np.linspace(-62, 62, 49))
    along = np.linspace(-1, 1, 49)
    radii = 0.021 * np.sqrt(np.clip(1 - np.abs(along) ** 3.2, 0, None))
    stem = along > 0.84
    radii[stem] = np.maximum(radii[stem], 0.0065)
    radii[-1] = radii[0] = 1e-4
    path = np.stack([0.1 * np.cos(turn) - 0.078, 0.1 * np.sin(turn), np.full(49, 0.021)], 1)
    return tube(path, radii)


def cone() -> Mesh:
    """A pointed cone."""
    return lathe([(0, 0), (0.058, 0)], [(0.058, 0), (0.0015, 0.15)], [(0.0015, 0.15), (0, 0.15)])


def ring() -> Mesh:
    """A thick ring lying flat."""
    return lathe(arc((0.06, 0.019), 0.019, 0, 360, 33), segments=96)


def can() -> Mesh:
    """A drinks can."""
    return lathe(
        [(0, 0), (0.028, 0)],
        [(0.028, 0), (0.033, 0.008)],
        [(0.033, 0.008), (0.033, 0.112)],
        [(0.033, 0.112), (0.027, 0.12)],
        [(0.027, 0.12), (0.026, 0.117)],
        [(0.026, 0.117), (0, 0.117)],
    )


KINDS: dict[str, Kind] = {
    'ball': Kind(ball),
    'box': Kind(cube, (0.3, 0.3, 0.25), round=False),
    'bottle': Kind(bottle, (0.08, 0.08, 0.12)),
    'mug': Kind(mug, (0.05, 0.05, 0.1), telling_side=True),
    'bowl': Kind(bowl, (0.06, 0.06, 0.15)),
    'banana': Kind(banana, (0.1, 0.06, 0.0), round=False),
    'cone': Kind(cone, (0.08, 0.08, 0.15)),
    'ring': Kind(ring, (0.06, 0.06, 0.1)),
    'can': Kind(can, (0.06, 0.06, 0.12)),
}


@cache
def mesh_of(kind: str) -> Mesh:
    """The mesh of a kind at its nominal size, built once a process."""
    return KINDS[kind].build()


@cache
def outline_of(kind: str) -> NDArray[np.float32]:
    """(P, 3) vertices that are extreme in some direction: enough to bound the mesh in any view."""
    k = np.arange(256) + 0.5
    z = 1 - k / 128
    angle = np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z * z)
    directions = np.stack([flat * np.cos(angle), flat * np.sin(angle), z], 1)
    vertices = mesh_of(kind).vertices
    return vertices[np.unique(np.argmax(directions @ vertices.T, axis=1))]
