# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a gripper has to know of a thing and of what stands around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_ros.spatial.windows import Floats, lowest

_CELL = 0.004  # metres
_VOXEL = 0.0028  # metres
_SLAB, _LEAST = 0.01, 8  # metres of height whose width is looked at, and points that show it
_WAIST = 0.5  # of the width over it
_ABOUT = 0.02  # metres beside a thing that still count as over it


@dataclass(frozen=True, eq=False)
class Thing:
    """All in a frame with z up from what carries the thing, metres.

    body: (N, 3) its points, hidden side included; shell: (M, 3) those of them that are on its
    surface. others: (M, 3) points of what else stands there.
    point: (3,) what was pointed at. mass: (3,) about where its middle of mass is. height: of its
    top. pitch: from one point to the next.
    """

    body: Floats
    shell: Floats
    others: Floats
    point: Floats
    mass: Floats
    height: float
    pitch: float


def middle_of_mass(body: Floats) -> Floats:
    """(3,) of what fills all that lies under its points (N, 3), z up from 0."""
    low = lowest(body[:, :2])
    cells = ((body[:, :2] - low) / _CELL).astype(int)
    shape = cells.max(0) + 1
    top = np.zeros(shape)
    np.maximum.at(top, tuple(cells.T), body[:, 2])
    weight = max(float(top.sum()), 1e-9)
    x = float((top.sum(1) * np.arange(shape[0])).sum()) / weight
    y = float((top.sum(0) * np.arange(shape[1])).sum()) / weight
    z = float((top**2).sum()) / weight / 2
    return np.array([*(low + _CELL * (np.array([x, y]) + 0.5)), z])


def waist_over(point: Floats, shell: Floats, others: Floats) -> bool:
    """Whether what rises over a point (3,) of a thing gets wider again, as a stem under its bowl.

    shell: (N, 3) of its surface, others: (M, 3) of what else is there; of these what is about over
    it, since the depth may part a bowl from its stem.
    """
    low, high = shell[:, :2].min(0) - _ABOUT, shell[:, :2].max(0) + _ABOUT
    over = ((others[:, :2] > low) & (others[:, :2] < high)).all(1)
    some = np.concatenate([shell, others[over]])
    slab = np.floor((some[:, 2] - point[2]) / _SLAB).astype(int)
    narrowest, middle = np.inf, np.zeros(2)
    for number in range(int(slab.max(initial=-1)) + 1):
        here = some[slab == number, :2]
        if len(here) < _LEAST:
            continue
        low, high = here.min(0), here.max(0)
        width = float((high - low).max())
        if narrowest < _WAIST * width and ((low < middle) & (middle < high)).all():
            return True
        if width < narrowest:
            narrowest, middle = width, (low + high) / 2
    return False


def thinned(points: Floats, size: float = _VOXEL) -> Floats:
    """One of the points (N, 3) in each cube of so many metres."""
    if not len(points):
        return points
    cubes = ((points - lowest(points)) / size).astype(np.int64)
    keys = (cubes[:, 0] << 40) + (cubes[:, 1] << 20) + cubes[:, 2]
    return points[np.unique(keys, return_index=True)[1]]
