# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a gripper that comes one way, turned one way, can close on a thing.

Seen along the approach all is a map of heights: how far against the approach the highest thing of
each cell lies. A finger that comes along the approach meets nothing if it ends above the highest
cell under it, so the map, dilated by its outline, says how deep it can go anywhere; the same holds
for the palm. What lies between the fingers is a run of cells of the thing that are higher than the
ends of the fingers; it begins and ends where the fingers will touch it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial.grasp import GraspSettings
from molmo_ros.spatial.grasps.thing import Thing
from molmo_ros.spatial.windows import Bools, Floats, Integers

_CELL = 0.003  # metres
_LOWEST = -10.0  # where nothing is
_STEP = 0.006  # metres from one depth of the fingers to the next
_DEEPEST = 0.12  # metres under the top of a thing that are looked at
_HOLD = 0.003  # metres that the thing must reach above the ends of the fingers
_ASIDE = 0.003  # metres that the fingers keep on each side of it as they come
_TAPER = 2  # steps up over which the sides of it are judged
_ROWS = 2  # cells from one row to the next

Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Closings:
    """K ways to close, all with one rotation (3, 3) whose columns are x (closes), y, z (approaches).

    ends: (K, 3) the middle between the ends of the fingers, in the thing's frame. width, opening,
    depth: (K,) metres. taper: (K,) how much the sides of the run lean out towards the palm's far
    side: a tangent. skew: (K,) how aslant its sides lie to the fingers: a tangent. away: (K,) metres
    from the point that was meant. off: (K,) metres from the middle of mass, across the approach.
    wanted: (K,) metres of depth that reach the middle of its height. why: (K,) index into REASONS.
    """

    rotation: Floats
    ends: Floats
    width: Floats
    opening: Floats
    depth: Floats
    wanted: Floats
    taper: Floats
    skew: Floats
    away: Floats
    off: Floats
    why: Integers


REASONS = (
    '',
    'it is wider than the gripper opens',
    'something that stands beside it is in the way of a finger',
    'the thing itself is in the way of a finger',
    'the palm would meet something that stands around',
    'the palm would meet the thing before the fingers hold it',
    'the gripper would come too low over what the thing stands on',
    'something else would be between the fingers',
)
OK, TOO_WIDE, BESIDE, ITSELF, PALM_BESIDE, PALM_ITSELF, TOO_LOW, BETWEEN = range(len(REASONS))


def closings(thing: Thing, rotation: Floats, settings: GraspSettings) -> Closings | None:
    """All ways to close on a thing with a gripper of this rotation, the impossible ones with why.

    None where there is nothing to hold.
    """
    body, others = thing.body @ rotation, thing.others @ rotation
    grid = _Grid.around(body, settings)
    own = grid.heights(body, max(_CELL, thing.pitch))
    beside = grid.heights(others, _CELL)
    levels = _levels(body, rotation, settings)
    strip = cv2.dilate(own, _kernel(_CELL, settings.finger))
    rows = _rows(own)
    if not len(rows) or not len(levels):
        return None
    held = strip[rows][:, None, :] > levels[None, :, None] + np.float32(_HOLD)
    row, level, start, stop = _runs(held)
    if not len(row):
        return None
    left, right = grid.x(start) - _CELL / 2, grid.x(stop) - _CELL / 2
    width, x = right - left, (left + right) / 2
    y, h = grid.y(rows[row]), levels[level]
    opening, why = _checked(grid, own, beside, x, y, h, width, settings)
    why = np.where((why == OK) & _low(rotation, x, y, h, opening, settings), TOO_LOW, why)
    flat = np.append(strip.ravel(), np.float32(_LOWEST))
    ends_of_runs = rows[row, None] * strip.shape[1] + np.stack([start, stop], 1)
    top = np.maximum.reduceat(flat, ends_of_runs.ravel())[::2].astype(np.float64)
    taper, skew = _sides(held, own[rows], levels, row, level, start, stop, width, settings)
    ends = np.stack([x, y, -h], 1) @ rotation.T
    return Closings(
        rotation,
        ends,
        width,
        opening,
        top - h,
        _wanted(top, body, settings),
        taper,
        skew,
        _away(thing.point @ rotation, left, right, y, h, settings),
        np.hypot(x - thing.mass @ rotation[:, 0], y - thing.mass @ rotation[:, 1]),
        why,
    )


@dataclass(frozen=True)
class _Grid:
    """Cells across the approach: x along the columns, y along the rows."""

    low: Floats
    shape: tuple[int, int]

    @classmethod
    def around(cls, body: Floats, settings: GraspSettings) -> _Grid:
        beyond = settings.opening + settings.finger_thickness
        around = np.array([max(beyond, settings.palm[0] / 2), max(beyond / 2, settings.palm[1] / 2)])
        low = body[:, :2].min(0) - around - _CELL
        width, height = ((body[:, :2].max(0) + around + _CELL - low) / _CELL).astype(int) + 1
        return cls(low, (int(height), int(width)))

    def heights(self, points: Floats, gap: float) -> Map:
        """The highest of the points in each cell; gap: metres between points that belong together."""
        cells = ((points[:, :2] - self.low) / _CELL).astype(int)
        height, width = self.shape
        inside = ((cells >= 0) & (cells < (width, height))).all(1)
        heights = np.full(height * width, _LOWEST, np.float32)
        index = cells[inside, 1] * width + cells[inside, 0]
        np.maximum.at(heights, index, (-points[inside, 2]).astype(np.float32))
        size = 2 * int(np.ceil(gap / _CELL)) + 1
        kernel = np.ones((size, size), np.uint8)
        return np.asarray(cv2.morphologyEx(heights.reshape(height, width), cv2.MORPH_CLOSE, kernel))

    def x(self, column: Integers) -> Floats:
        return np.asarray(self.low[0] + (column + 0.5) * _CELL)

    def y(self, row: Integers) -> Floats:
        return np.asarray(self.low[1] + (row + 0.5) * _CELL)

    def at(self, heights: Map, x: Floats, y: Floats) -> Floats:
        """The cells that x and y lie in; nothing is outside."""
        column = np.floor((x - self.low[0]) / _CELL).astype(int)
        row = np.floor((y - self.low[1]) / _CELL).astype(int)
        height, width = self.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        found = heights[row.clip(0, height - 1), column.clip(0, width - 1)]
        return np.where(inside, found, _LOWEST)


def _kernel(x: float, y: float) -> NDArray[np.uint8]:
    """A rectangle of metres x by y, an odd number of cells each way."""
    return np.ones([2 * round(size / 2 / _CELL) + 1 for size in (y, x)], np.uint8)


def _levels(body: Floats, rotation: Floats, settings: GraspSettings) -> Map:
    """Heights (L,) that the fingers may end at, the deepest first."""
    heights = -body[:, 2]
    low, top = np.percentile(heights, [1, 99.5])
    if rotation[2, 2] < -0.99:
        low = settings.clearance
    low = max(low, top - _DEEPEST)
    count = int(np.floor((top - low - _HOLD) / _STEP)) + 1
    return np.asarray(low + _STEP * np.arange(max(count, 1)), np.float32)


def _rows(own: Map) -> Integers:
    return np.flatnonzero((own > _LOWEST).any(1))[::_ROWS]


def _runs(held: Bools) -> tuple[Integers, Integers, Integers, Integers]:
    """Row, level, first column and the one after the last, of all runs of (R, L, W)."""
    change = np.diff(np.pad(held, ((0, 0), (0, 0), (1, 1))).astype(np.int8), axis=2)
    row, level, start = np.nonzero(change == 1)
    stop = np.nonzero(change == -1)[2]
    return row, level, start, stop


def _checked(
    grid: _Grid,
    own: Map,
    beside: Map,
    x: Floats,
    y: Floats,
    h: Floats,
    width: Floats,
    settings: GraspSettings,
) -> tuple[Floats, Integers]:
    """The widest opening (K,) with which nothing is met, and where there is none why."""
    finger = _kernel(settings.finger_thickness, settings.finger)
    palm = _kernel(settings.palm[0], settings.palm[1])
    of_fingers = cv2.dilate(own, finger), cv2.dilate(beside, finger)
    of_palm = cv2.dilate(own, palm), cv2.dilate(beside, palm)
    least = width + 2 * _ASIDE
    opening = np.full(len(x), settings.opening)
    why = np.full(len(x), TOO_WIDE)
    open_ = np.zeros(len(x), bool)
    for share in (0.0, 0.5, 1.0):
        tried = np.maximum(least + share * (settings.opening - least), least)
        reason = np.full(len(x), OK)
        out = (tried + settings.finger_thickness) / 2
        for heights, blocked in zip(of_fingers, (ITSELF, BESIDE), strict=True):
            met = np.maximum(grid.at(heights, x - out, y), grid.at(heights, x + out, y)) > h
            reason = np.where(met, blocked, reason)
        better = (least <= settings.opening) & ((reason == OK) | ~open_)
        opening, why = np.where(better, tried, opening), np.where(better, reason, why)
        open_ |= better & (reason == OK)
    for heights, blocked in zip(of_palm, (PALM_ITSELF, PALM_BESIDE), strict=True):
        met = grid.at(heights, x, y) > h + settings.finger_length
        why = np.where((why == OK) & met, blocked, why)
    between = cv2.dilate(beside, _kernel(_CELL, settings.finger))
    middle = grid.at(between, x, y)
    for share in (-0.8, -0.4, 0.4, 0.8):
        middle = np.maximum(middle, grid.at(between, x + share * opening / 2, y))
    return opening, np.where((why == OK) & (middle > h), BETWEEN, why)


def _low(
    rotation: Floats, x: Floats, y: Floats, h: Floats, opening: Floats, settings: GraspSettings
) -> Bools:
    """Which (K,) bring a corner of the fingers or the palm under the clearance over z = 0."""
    rx, ry, rz = rotation[2]
    here = x * rx + y * ry - h * rz
    out = opening / 2 + settings.finger_thickness
    ends = here - np.abs(rx) * out - np.abs(ry) * settings.finger / 2
    sides = abs(rx) * settings.palm[0] / 2 + abs(ry) * settings.palm[1] / 2
    back = settings.finger_length + (settings.palm[2] if rz > 0 else 0.0)
    return np.asarray(np.minimum(ends, here - back * rz - sides) < settings.clearance - 1e-6)


def _wanted(top: Floats, body: Floats, settings: GraspSettings) -> Floats:
    """Metres (K,) of depth at which the middle of the pads is at the middle of the height."""
    low = float(np.percentile(-body[:, 2], 1))
    pad = min(settings.finger_length, settings.finger)
    return np.asarray(np.clip((top - low) / 2 + pad / 2, 0.004, settings.finger_length))


def _sides(
    held: Bools,
    rows: Map,
    levels: Map,
    row: Integers,
    level: Integers,
    start: Integers,
    stop: Integers,
    width: Floats,
    settings: GraspSettings,
) -> tuple[Floats, Floats]:
    """How the sides of runs lean: (K,) over the depth of the fingers and (K,) over their width."""

    def cells(counted: Bools, upper: Integers) -> Floats:
        total = np.pad(np.cumsum(counted, 2), ((0, 0), (0, 0), (1, 0)))
        return np.asarray(total[row, upper, stop] - total[row, upper, start]) * _CELL

    upper = np.minimum(level + _TAPER, len(levels) - 1)
    steps = np.maximum(upper - level, 1) * _STEP
    taper = np.where(upper > level, (width - cells(held, upper)) / 2 / steps, 0.5)
    alone = rows[:, None, :] > levels[None, :, None] + np.float32(_HOLD)
    skew = (width - cells(alone, level)) / settings.finger
    return np.maximum(taper, 0.0), np.maximum(skew, 0.0)


def _away(
    point: Floats, left: Floats, right: Floats, y: Floats, h: Floats, settings: GraspSettings
) -> Floats:
    """Metres (K,) from the point to what is between the fingers."""
    beside = np.maximum(0.0, np.maximum(left - point[0], point[0] - right))
    along = np.maximum(0.0, np.abs(y - point[1]) - settings.finger / 2)
    under = np.maximum(0.0, h + point[2])
    return np.asarray(np.sqrt(beside**2 + along**2 + under**2))
