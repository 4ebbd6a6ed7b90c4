# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered tables with their truth, what to ask about them, and whether an answer is right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molmo_ros.camera.tabletop import (
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
from molmo_ros.camera.tabletop.shapes import mesh_of
from molmo_ros.evaluation.judging import Verdict
from molmo_ros.evaluation.metrics import lies_in, pixel_of
from molmo_ros.evaluation.surfaces import distance_to_triangles
from molmo_ros.pointing import ImagePoint, label_for
from molmo_ros.spatial import CameraModel

SIZE = (640, 480)


@dataclass(frozen=True, eq=False)
class View:
    """A scene as the tabletop camera shows it, and what is really there."""

    scene: Scene
    picture: Rendering
    truths: tuple[Truth, ...]


@dataclass(frozen=True)
class Query:
    """Words, and the index of the object that they mean; None where nothing of that name is there.

    kind, colour: of what is asked for.
    """

    text: str
    kind: str
    colour: str
    target: int | None


def view_of(seed: int, spec: TableSpec = EASY, size: tuple[int, int] = SIZE) -> View:
    """The scene of a seed, exactly as TabletopCamera(seed) shows it; size is width and height."""
    scene = make_scene(seed, spec)
    picture = render(scene, *size, smooth=True)
    return View(scene, picture, truth_of(scene, picture))


def object_queries(view: View) -> list[Query]:
    """One question for each object, by colour and kind, which no two objects share."""
    return [
        Query(f'the {item.colour} {item.kind}', item.kind, item.colour, index)
        for index, item in enumerate(view.scene.objects)
    ]


def absent_query(view: View) -> Query:
    """A question for a colour and kind that are not in the scene together; fixed by its seed."""
    present = {(item.colour, item.kind) for item in view.scene.objects}
    pairs = [(c, k) for c in EASY.colours for k in EASY.kinds if (c, k) not in present]
    colour, kind = random.Random(view.scene.seed).choice(pairs)
    return Query(f'the {colour} {kind}', kind, colour, None)


def understood(text: str, view: View) -> Query | None:
    """A question in somebody's own words, if it is `[the] COLOUR KIND` of this table's world."""
    words = label_for(text).split()
    if len(words) != 2 or words[0] not in EASY.colours or words[1] not in EASY.kinds:
        return None
    names = [(item.colour, item.kind) for item in view.scene.objects]
    colour, kind = words
    target = names.index((colour, kind)) if (colour, kind) in names else None
    return Query(text, kind, colour, target)


def verdict_of(view: View, query: Query, points: Sequence[ImagePoint]) -> Verdict:
    """Judge an answer by its first point, the one a robot would take."""
    if query.target is None:
        return Verdict.INVENTED if points else Verdict.RIGHTLY_ABSENT
    if not points:
        return Verdict.NOT_FOUND
    on_it = lies_in(points[0], view.truths[query.target].mask)
    return Verdict.HIT if on_it else Verdict.MISSED


def true_position(view: View, point: ImagePoint) -> NDArray[np.float64]:
    """(3,) metres, optical frame: the surface that a point shows; NaN where nothing.

    It is where the ray of that very point, cast anew, meets what its pixel shows. At a silhouette
    the ray may pass that by; then the middle of the pixel counts.
    """
    picture = view.picture
    column, row = pixel_of(point, picture.camera.width, picture.camera.height)
    instance, position = _seen_along_ray(view, point.u - 0.5, point.v - 0.5)
    if instance == picture.instances[row, column]:
        return position
    return picture.camera.ray(column, row) * float(picture.depth[row, column])


def _seen_along_ray(view: View, u: float, v: float) -> tuple[int, NDArray[np.float64]]:
    """Which instance the ray through (u, v) meets, pixel centres being integers, and where."""
    camera = view.picture.camera
    K = camera.K.copy()
    K[:2, 2] -= (u, v)
    one_ray = render(replace(view.scene, camera=CameraModel(1, 1, K)), 1, 1)
    return int(one_ray.instances[0, 0]), camera.ray(u, v) * float(one_ray.depth[0, 0])


def distance_to_object(view: View, index: int, position: NDArray[np.float64]) -> float:
    """Metres from a position (3,) in the optical frame to the nearest surface of an object."""
    T = view.scene.T_world_camera
    in_world = T[:3, :3] @ position + T[:3, 3]
    return distance_to_triangles(in_world, _triangles(view.scene.objects[index]))


def _triangles(item: Object) -> NDArray[np.float64]:
    """(N, 3, 3) corners in the world frame."""
    mesh, T = mesh_of(item.kind), item.T_world_object
    vertices = (mesh.vertices * np.array(item.scale)) @ T[:3, :3].T + T[:3, 3]
    return np.asarray(vertices[mesh.faces])
