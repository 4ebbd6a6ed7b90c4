# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbourhoods of many pixels of a depth image at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.intp]


@lru_cache
def disc(radius: float) -> Integers:
    """Pixel offsets (M, 2) within a radius, column and row, the nearest first.

    So a smaller disc is the beginning of a larger one.
    """
    offsets = square(int(radius))
    distance = np.hypot(*offsets.T)
    order = np.argsort(distance, kind='stable')
    return offsets[order[distance[order] <= radius]]


@lru_cache
def square(radius: int) -> Integers:
    """Pixel offsets ((2 radius + 1)^2, 2), column and row, row by row."""
    steps = np.arange(-radius, radius + 1)
    return np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)


def gather(
    depth: NDArray[np.float32], centres: Integers, offsets: Integers, *, repeat: bool = False
) -> Floats:
    """Depths (N, M) at M offsets from N centres (N, 2).

    Beyond the border of the image: NaN, or with repeat the pixels of the border once more.
    """
    height, width = depth.shape
    columns = centres[:, :1] + offsets[:, 0]
    rows = centres[:, 1:] + offsets[:, 1]
    reach = np.abs(offsets).max()
    index = rows.clip(0, height - 1) * width + columns.clip(0, width - 1)
    z = depth.reshape(-1).take(index).astype(np.float64)
    near_border = (centres < reach) | (centres >= np.subtract((width, height), reach))
    if not repeat and near_border.any():
        z[(columns < 0) | (columns >= width) | (rows < 0) | (rows >= height)] = np.nan
    return z


def within(pixels: Floats, width: int, height: int) -> Bools:
    """Which pixels (..., 2) lie in an image, whose first one reaches from -0.5 to 0.5; NaN: not."""
    with np.errstate(invalid='ignore'):
        u, v = pixels[..., 0], pixels[..., 1]
        inside = (u >= -0.5) & (v >= -0.5) & (u < width - 0.5) & (v < height - 0.5)
    return np.asarray(inside)


def along_rays(rays: Floats, z: Floats) -> Floats:
    """Points (..., 3) at depths (...) on rays (..., 3).

    Here and below each coordinate has a turn, as NumPy is slow at many rows of three.
    """
    points = np.empty(rays.shape)
    for axis in range(3):
        np.multiply(rays[..., axis], z, out=points[..., axis])
    return points


def from_origin(points: Floats, origin: Floats) -> Floats:
    """Points (..., 3) as seen from another origin (3,)."""
    moved = np.empty(points.shape)
    for axis in range(3):
        np.subtract(points[..., axis], origin[axis], out=moved[..., axis])
    return moved


def lowest(points: NDArray[Any]) -> NDArray[Any]:
    """(D,) the least of each coordinate of points (N, D)."""
    return np.array([column.min() for column in points.T])


def highest(points: NDArray[Any]) -> NDArray[Any]:
    """(D,) the greatest of each coordinate of points (N, D)."""
    return np.array([column.max() for column in points.T])


def sums(points: Floats) -> Floats:
    """(D,) of each coordinate of points (N, D); `sum` takes four times as long."""
    return np.asarray(np.einsum('nd->d', points))


def weighed(points: Floats, weights: Floats) -> Floats:
    """(D,) the mean of points (N, D) that count so much (N,)."""
    return np.asarray(np.einsum('nd,n->d', points, weights) / weights.sum())


def distances(points: Floats, position: Floats) -> Floats:
    """Metres (...) from points (..., 3) to a position (3,)."""
    x, y, z = (points[..., axis] - position[axis] for axis in range(3))
    return np.asarray(np.sqrt(x * x + (y * y + z * z)))


def alike_beside(z: Floats, valid: Bools, jump: Floats) -> NDArray[np.int8]:
    """How many of the eight neighbours of each pixel (H, W) are valid and within `jump` of it.

    z: metres, of anything where it is not valid. jump: metres, (H, W).
    """
    height, width = z.shape
    z, jump = z.astype(np.float32), jump.astype(np.float32)  # as the depth image has it
    padded = np.full((height + 2, width + 2), np.inf, np.float32)
    padded[1:-1, 1:-1] = np.where(valid, z, np.float32(np.inf))
    count = np.zeros(z.shape, np.int8)
    apart, near = np.empty_like(z), np.empty(z.shape, bool)
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                np.subtract(padded[row : row + height, column : column + width], z, out=apart)
                np.less(np.abs(apart, out=apart), jump, out=near)
                np.add(count, near.view(np.int8), out=count)
    return count
