# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which ways a gripper may come from, and how it may be turned about each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from molmo_ros.spatial.extent import basis_across
from molmo_ros.spatial.grasp import Approach
from molmo_ros.spatial.windows import Floats

_FROM_ABOVE = 12  # turns about the upright, over half a circle
_ABOUT_NORMAL = 4
_TILT = np.radians(30)
_LIKE_ABOVE = np.cos(np.radians(15))  # a normal so near to the upright is no other way
_TALL = 0.06  # metres: what is higher can be taken from the side
_ASIDE = np.radians((0.0, 40.0, -40.0, 80.0, -80.0))  # of the camera, from which sides are taken
_AROUND = np.radians(np.arange(0.0, 360.0, 40.0))
_UNDER = np.radians((60.0, 75.0, 90.0))  # from above, for what has something over it


@dataclass(frozen=True, eq=False)
class Direction:
    """approach: its kind. axes: (K, 3, 3) a rotation a turn: x (closes), y, z (approaches)."""

    approach: Approach
    axes: Floats


def directions(
    up: Floats,
    normal: Floats,
    across: Floats,
    eye: Floats,
    middle: Floats,
    height: float,
    waist: bool,
) -> Iterator[Direction]:
    """All that are worth a look, in a frame with z up.

    up: (3,) that from above is against. normal: (3,) of the surface at the point, or NaN. across:
    (3,) its narrow way. eye: (3,) where the camera is. middle: (3,) of
    the thing. height: metres, of the thing. waist: whether it is held under something wider.
    """
    turns = _FROM_ABOVE // 3 if waist else _FROM_ABOVE
    yield Direction(Approach.ABOVE, _turned(-up / np.linalg.norm(up), across, turns))
    up = np.array([0.0, 0.0, 1.0])
    towards = (eye - middle) * (1, 1, 0)
    length = float(np.linalg.norm(towards))
    towards = towards / length if length > 0.02 else np.array([1.0, 0.0, 0.0])
    aside = np.cross(up, towards)
    for way in (towards, aside, -aside):
        z = -(np.cos(_TILT) * up + np.sin(_TILT) * way)
        yield Direction(Approach.TILTED, _level(z, 1))
    if not waist and np.isfinite(normal).all() and -0.2 < normal[2] < _LIKE_ABOVE:
        yield Direction(Approach.NORMAL, _turned(-normal, across, _ABOUT_NORMAL))
    tilts = _UNDER if waist else _UNDER[-1:] if height > _TALL else ()
    for tilt in tilts:
        for turn in _AROUND if waist else _ASIDE:
            way = np.cos(turn) * towards + np.sin(turn) * aside
            yield Direction(Approach.SIDE, _level(-(np.cos(tilt) * up + np.sin(tilt) * way), 1))


def _turned(z: Floats, across: Floats, count: int) -> Floats:
    """Turns about z, the first of which closes the fingers across the thing."""
    first = across - (across @ z) * z
    length = float(np.linalg.norm(first))
    first = first / length if length > 0.1 else basis_across(z)[0]
    second = _across(z, first)
    turns = np.arange(count) * (np.pi / count)
    x = np.cos(turns)[:, None] * first + np.sin(turns)[:, None] * second
    return _frames(x, z)


def _level(z: Floats, count: int) -> Floats:
    """The turn in which the fingers close level, and the one across it."""
    x = np.array([z[1], -z[0], 0.0])
    x /= np.linalg.norm(x)
    return _frames(np.stack([x, _across(z, x)])[:count], z)


def _frames(x: Floats, z: Floats) -> Floats:
    return np.stack([x, _across(z, x), np.broadcast_to(z, x.shape)], -1)


def _across(z: Floats, x: Floats) -> Floats:
    """z (3,) times x (..., 3); NumPy's own takes long for a few."""
    return np.asarray(x @ np.array([[0, z[2], -z[1]], [-z[2], 0, z[0]], [z[1], -z[0], 0]]))
