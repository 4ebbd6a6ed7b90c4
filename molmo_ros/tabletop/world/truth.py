# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is really on the table: for evaluation and training only.

The camera that a node sees carries none of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.tabletop.world.render import Rendering
from molmo_ros.tabletop.world.scene import Object, Scene
from molmo_ros.tabletop.world.shapes import kind_of, outline_of

_WELL_INSIDE, _DEEP, _NEARLY_DEEPEST = 0.5, 0.6, 0.85  # of the greatest depth in a mask
_LEAST_PART = 3e-4  # of the picture: 92 pixels of 640 x 480
_OFF = 0.008  # of the picture's diagonal, what a point may be off: 6 pixels of 640 x 480
_LOWER, _AWAY = 0.2, 0.5  # that below the middle; what one longer side away from there costs


@dataclass(frozen=True, eq=False)
class SeenPart:
    """A part of an object as a rendering shows it.

    Attributes:
        mask: (H, W) bool, its visible pixels.
        target: (u, v) the pixel to point at: the middle of the mask where that lies well inside it,
            else where much of it is around, near its middle and rather below that: of a ring or
            of two loops every place is as near, and whoever learns one of them at random learns
            the hole between.
    """

    mask: NDArray[np.bool_]
    target: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Truth:
    """One object as a rendering shows it.

    Attributes:
        kind, colour, pattern: its names.
        size: metres, the longest side of its bounding box.
        mask: (H, W) bool, its visible pixels.
        visible_pixels: how many those are.
        visible_fraction: of its silhouette, 0..1.
        target: (u, v) the pixel to point at, integers at pixel centres: the middle of the mask
            where that lies well inside it, else a pixel deep inside the mask near its middle.
            NaN where nothing of the object is seen.
        position: (3,) float64 metres, optical frame: the surface at the target's pixel.
        T_optical_object: (4, 4) float64, pose of the middle of its base.
        parts: those with a name of which enough is seen to point at.
    """

    kind: str
    colour: str
    pattern: str
    size: float
    mask: NDArray[np.bool_]
    visible_pixels: int
    visible_fraction: float
    target: tuple[float, float]
    position: NDArray[np.float64]
    T_optical_object: NDArray[np.float64]
    parts: Mapping[str, SeenPart]


def truth_of(scene: Scene, rendering: Rendering) -> tuple[Truth, ...]:
    """The truth of every object, in the scene's order, as seen in a rendering of that scene."""
    return tuple(_truth(scene, rendering, i) for i in range(len(scene.objects)))


def _truth(scene: Scene, rendering: Rendering, index: int) -> Truth:
    item = scene.objects[index]
    mask = rendering.instances == index + 1
    target, position = _target(mask, rendering)
    seen = int(np.count_nonzero(mask))
    return Truth(
        item.kind,
        item.colour,
        item.pattern,
        float(np.ptp(outline_of(item.kind) * item.scale, axis=0).max()),
        mask,
        seen,
        seen / max(int(rendering.silhouettes[index]), 1),
        target,
        position,
        np.linalg.inv(scene.T_world_camera) @ item.T_world_object,
        _parts(mask, item, rendering),
    )


def _parts(mask: NDArray[np.bool_], item: Object, rendering: Rendering) -> dict[str, SeenPart]:
    found = {}
    for number, part in enumerate(kind_of(item.kind).parts, 1):
        seen = mask & (rendering.parts == number)
        if part.name and np.count_nonzero(seen) >= _LEAST_PART * mask.size:
            off = _OFF * math.hypot(*seen.shape)
            found[part.name] = SeenPart(seen, _within(seen, partial(_steady, off=off)))
    return found


def _target(
    mask: NDArray[np.bool_], rendering: Rendering
) -> tuple[tuple[float, float], NDArray[np.float64]]:
    if not mask.any():
        return (np.nan, np.nan), np.full(3, np.nan)
    u, v = _within(mask, _middle)
    surface = rendering.camera.ray(u, v) * float(rendering.depth[int(v), int(u)])
    return (u, v), surface


def _within(
    mask: NDArray[np.bool_], choose: Callable[[NDArray[np.bool_]], tuple[int, int]]
) -> tuple[float, float]:
    """The (u, v) chosen in a mask that is not empty; `choose` sees only the filled part of it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = rows[0], columns[0]
    u, v = choose(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    return float(u + left), float(v + top)


def _middle(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Column and row of the pixel to point at."""
    depth, v, u = _depth_and_centre(mask)
    if depth[round(v), round(u)] >= _WELL_INSIDE:
        return round(u), round(v)
    rows, columns = np.nonzero(depth >= _NEARLY_DEEPEST)
    nearest = np.argmin((rows - v) ** 2 + (columns - u) ** 2)
    return int(columns[nearest]), int(rows[nearest])


def _steady(mask: NDArray[np.bool_], off: float) -> tuple[int, int]:
    """Like `_middle`, but a place that hardly moves as the part is seen from elsewhere."""
    depth, v, u = _depth_and_centre(mask)
    if depth[round(v), round(u)] >= _WELL_INSIDE:
        return round(u), round(v)
    length = max(mask.shape)
    around = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), off, borderType=cv2.BORDER_CONSTANT)
    rows, columns = np.nonzero(depth >= _DEEP)
    away = np.hypot(rows - v - _LOWER * length, columns - u) / length
    best = np.argmax(around[rows, columns] / around.max() - _AWAY * away)
    return int(columns[best]), int(rows[best])


def _depth_and_centre(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float32], float, float]:
    """How deep in the mask each pixel lies, the deepest 1, and its mean row and column."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(mask)
    return depth / depth.max(), float(rows.mean()), float(columns.mean())
