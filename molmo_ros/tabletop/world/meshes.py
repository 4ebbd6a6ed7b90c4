# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes from profiles turned on a lathe, bent tubes and boxes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
        parts: (F,) uint8, which part a face belongs to; 0 is the body. All body if left out.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int32]
    parts: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __post_init__(self) -> None:
        if not len(self.parts):
            object.__setattr__(self, 'parts', np.zeros(len(self.faces), np.uint8))


def merge(*meshes: Mesh) -> Mesh:
    """Put several meshes into one; nothing is welded, so edges between them stay sharp."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate(
            [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]
        ).astype(np.int32),
        np.concatenate([mesh.parts for mesh in meshes]),
    )


def part(number: int, mesh: Mesh) -> Mesh:
    """The mesh as part `number` (from 1) of what it will be merged into."""
    return replace(mesh, parts=np.full(len(mesh.faces), number, np.uint8))


def moved(mesh: Mesh, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
    """The mesh elsewhere, metres."""
    return replace(mesh, vertices=(mesh.vertices + np.array([x, y, z])).astype(np.float32))


def scaled(mesh: Mesh, x: float, y: float, z: float) -> Mesh:
    """The mesh stretched along its axes."""
    normals = mesh.normals / [x, y, z]
    return replace(
        mesh,
        vertices=(mesh.vertices * [x, y, z]).astype(np.float32),
        normals=(normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32),
    )


def turned(mesh: Mesh, axis: str, degrees: float) -> Mesh:
    """The mesh turned about the x, y or z axis, right-handed."""
    i, j = {'x': (1, 2), 'y': (2, 0), 'z': (0, 1)}[axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.eye(3)
    rotation[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return replace(
        mesh,
        vertices=(mesh.vertices @ rotation.T).astype(np.float32),
        normals=(mesh.normals @ rotation.T).astype(np.float32),
    )


def grounded(mesh: Mesh) -> Mesh:
    """The mesh lifted or lowered to stand on z = 0."""
    return moved(mesh, z=-float(mesh.vertices[:, 2].min()))


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
