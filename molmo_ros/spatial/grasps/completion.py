# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The hidden side of a thing, where symmetry supports it."""

from __future__ import annotations

import numpy as np

from molmo_ros.spatial.extent import Extent
from molmo_ros.spatial.grasps.surroundings import Surroundings
from molmo_ros.spatial.windows import Floats, Integers, lowest

_TURNS = 24  # of a round thing's points about its axis
_MOST = 400  # points that are turned
_IN_FRONT = 0.008  # metres before a seen surface from which on space is known to be empty
_MOST_EMPTY = 0.15  # of the mirrored points may lie where nothing is, or there is no symmetry
_SLAB, _FEW, _MOST_OF = 0.008, 8, 0.9  # metres of height, points of a shell that show how far
# it is from an axis there, and the share of them that are nearer: others are noise
_NONE = np.empty((0, 3))
_CELL = 0.006  # metres from one to the next of the points that fill a thing


def hidden_side(around: Surroundings, extent: Extent) -> Floats:
    """(K, 3) points of the side that is not seen, in the stand's frame; none where nothing says so.

    A thing that is round about the upright is turned about its axis, any other is turned by half
    about its middle. Where the camera sees through to something else there is nothing.
    """
    own = around.own
    if not len(own) or extent.cut:
        return _NONE
    some = own[:: max(1, len(own) // _MOST)]
    middle = around.stand.of(extent.centre)[:2] if extent.round else _middle(around, extent)
    turns = np.arange(1, _TURNS) * (2 * np.pi / _TURNS) if extent.round else np.array([np.pi])
    if not extent.round:
        some = own
    c, s = np.cos(turns), np.sin(turns)
    spokes = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    flat = np.einsum('tij,nj->tni', spokes, some[:, :2] - middle) + middle
    high = np.broadcast_to(some[:, 2], flat.shape[:2])
    turned = np.concatenate([flat, high[..., None]], -1).reshape(-1, 3)
    margin = _IN_FRONT + 3 * around.sigma
    with np.errstate(invalid='ignore'):
        empty = around.seen_through(turned) < -margin
    if not extent.round and empty.mean() > _MOST_EMPTY:
        return _NONE
    return turned[~empty]


def _middle(around: Surroundings, extent: Extent) -> Floats:
    """(2,) of what is seen, between its sides: the outline that an extent leaves out counts too."""
    axes = (extent.axes[:2] @ around.stand.R)[:, :2]
    low, high = np.percentile(around.own[:, :2] @ axes.T, [0.5, 99.5], axis=0)
    return np.asarray((low + high) / 2 @ axes)


def inside(around: Surroundings, shell: Floats, axis: Floats | None = None) -> Floats:
    """(K, 3) points under those of a shell (N, 3), down to the ground.

    Not where the camera sees that nothing is there. axis: (3,) a place on that of a round thing:
    then not farther from it than the shell is as high, so that under a bowl there is but its stem.
    """
    if not len(shell):
        return _NONE
    low = lowest(shell[:, :2])
    cells = ((shell[:, :2] - low) / _CELL).astype(int)
    top = np.zeros(cells.max(0) + 1)
    np.maximum.at(top, tuple(cells.T), shell[:, 2])
    heights = np.arange(_CELL / 2, top.max(), _CELL)
    x, y, z = np.nonzero(heights < top[..., None] - _CELL / 2)
    points = np.stack([low[0] + (x + 0.5) * _CELL, low[1] + (y + 0.5) * _CELL, heights[z]], 1)
    with np.errstate(invalid='ignore'):
        empty = around.seen_through(points) < -(_IN_FRONT / 2 + 3 * around.sigma)
    points = points[~empty]
    if axis is None:
        return points
    away = np.linalg.norm(shell[:, :2] - axis[:2], axis=1)
    wide = _profile(away, shell[:, 2], float(top.max()))
    return points[np.linalg.norm(points[:, :2] - axis[:2], axis=1) <= wide[_slab(points[:, 2])]]


def _profile(away: Floats, heights: Floats, top: float) -> Floats:
    """How far the points (N,) of a shell are away from its axis in each slab of height, up to a
    top; in between where too few show it."""
    slab = _slab(heights)
    known, wide = [], []
    for number in np.unique(slab):
        here = away[slab == number]
        if len(here) >= _FEW:
            known.append(number)
            wide.append(np.sort(here)[int(_MOST_OF * len(here))])
    every = np.arange(int(_slab(np.array(top))) + 1)
    return np.interp(every, known, wide) if known else np.full(len(every), np.inf)


def _slab(heights: Floats) -> Integers:
    return np.asarray(np.maximum(heights, 0.0) / _SLAB, np.intp)
