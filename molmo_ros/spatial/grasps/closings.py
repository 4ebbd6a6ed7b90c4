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
_NOTHING = np.array([_LOWEST], np.float32)
_STEP = 0.008  # metres from one depth of the fingers to the next
_DEEPEST = 0.12  # metres under the top of a thing that are looked at
_HOLD = 0.003  # metres that the thing must reach above the ends of the fingers
_SHOULDER, _LYING = 0.001, 0.01  # and that another part of it must, to be a shoulder, if it is not
# near the ground, where noise is as high
_SIDE, _WIDE = 1, 3  # cells beside what is held that are not a shoulder, and that one is wide
_PALM_GAP = 0.005  # metres that the palm keeps from all
_ASIDE = 0.002  # metres that the widest opening leaves on each side of it, and
_ROOM = 0.005  # what a narrower one does, since it may go into the thing
_LEAST_DEPTH = 0.006  # metres of the thing that are between the fingers, if it is flat
_SURE_DEPTH = 0.012  # metres that are enough of any thing
_WEDGE = 0.65  # what a wedge counts: half of it is at each side, but it slips out
_MOST_TAPER, _MOST_SKEW = 0.7, 0.6  # tangents at which sides slip out of the fingers
_LEAST_FILLED = 0.55  # of what is between the fingers, or they hold a corner
_FINER = 2  # steps between two depths in which the sides of it are judged
_TAPER = 0.016  # metres up over which they are
_FARTHEST = 0.05  # metres from the point at which its score is nothing
_ROWS = 3  # cells from one row to the next
_SHARES = np.array([[0.0], [0.5], [1.0]])  # of the room that openings leave, which are tried
_OUT = np.array([1.0, -1.0])[:, None, None]  # which way a finger is
_BETWEEN = np.array([[-0.6], [0.0], [0.6]])  # of half an opening, where nothing else may be
_WITHIN = 0.8  # what a metre from the point counts that is still within the fingers' width
_OVER = 0.8  # and one that it is higher than where the fingers touch
_UPRIGHT = 0.99  # cosine of how far from above an approach may be that counts as such

Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Closings:
    """K ways to close, all with one rotation (3, 3): columns x (closes), y, z (approaches).

    ends: (K, 3) the middle between the ends of the fingers, in the thing's frame. width, opening,
    depth: (K,) metres. wanted: (K,) metres of depth that reach the middle of its height. taper:
    (K,) how much the sides of what is held lean towards each other, away from the ends of the
    fingers: a tangent. skew: (K,) how aslant they lie to the fingers: a tangent. filled: (K,) share
    of the fingers' width. clear: (K,) whether nothing else of the thing is between the open
    fingers, on which they would rest as they close. away: (K,) metres from the point that was
    meant. off: (K,) metres from the middle of mass, across the approach. why: (K,) index into
    REASONS.
    """

    rotation: Floats
    ends: Floats
    width: Floats
    opening: Floats
    depth: Floats
    wanted: Floats
    taper: Floats
    skew: Floats
    filled: Floats
    clear: Bools
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
    'its sides lie so aslant that they would slip out of the fingers',
    'so little of it is between the fingers that they would not hold it',
)
(OK, TOO_WIDE, BESIDE, ITSELF, PALM_BESIDE, PALM_ITSELF, TOO_LOW, BETWEEN, ASLANT, SHALLOW) = range(
    len(REASONS)
)


def closings(thing: Thing, rotation: Floats, settings: GraspSettings) -> Closings | None:
    """All ways to close on a thing with a gripper of this rotation, the impossible ones with why.

    None where there is nothing to hold.
    """
    # From above nothing is seen but the shell.
    body = thing.shell if rotation[2, 2] < -_UPRIGHT else thing.body
    body, others = body @ rotation, thing.others @ rotation
    grid = _Grid.around(body, settings)
    own = grid.heights(body, max(_CELL, thing.pitch))
    beside = grid.heights(others, _CELL)
    low, top = _bounds(body, rotation, settings)
    levels = _levels(low, top)
    rows, columns = _covered(own)
    # What is farther from the point than that is not what was pointed at.
    near = np.abs(grid.y(rows) - thing.point @ rotation[:, 1]) < _FARTHEST + settings.finger / 2
    rows = rows[near] if near.any() else rows
    strip = _along(own, settings.finger)[rows]
    held = strip[:, None, columns] > levels[None, :, None] + np.float32(_HOLD)
    row, level, start, stop = _fitting(*_with_hollows(*_runs(held[:, ::_FINER])), settings)
    level = level * _FINER
    if not len(row):
        return None
    # A thing is in half of the cells at its sides, in the mean.
    first = columns.start
    left, right = grid.x(start + first), grid.x(stop + first) - _CELL
    width = np.asarray(right - left, np.float64)
    x = (left + right) / 2
    y, h = grid.y(rows[row]), levels[level].astype(np.float64)
    highest = _highest(strip, row, start + first, stop + first)
    touched = _touched(strip, row, start + first, stop + first)
    at = row, level, start, stop
    taper, skew, filled = _sides(
        held, own[:, columns], levels, rows, at, width, highest - h, settings
    )
    wanted = (highest - low) / 2 + min(settings.finger_length, settings.finger) / 2
    wanted = np.clip(wanted, _LEAST_DEPTH, settings.finger_length - _PALM_GAP)
    maps = _Maps.of(own, beside, strip, rows, settings)
    opening, why = _checked(grid, maps, row, x, h, width, settings)
    ends = levels[::_FINER]
    over = np.where(ends > low + _LYING, _SHOULDER, _HOLD).astype(np.float32)
    clear = opening < _between_shoulders(strip[:, None, columns] > (ends + over)[:, None], at)
    for bad, reason in (
        (_low(rotation, x, y, h, opening, settings), TOO_LOW),
        ((taper > _MOST_TAPER) | (skew > _MOST_SKEW) | (filled < _LEAST_FILLED), ASLANT),
        (highest - h < np.minimum(_SURE_DEPTH, 0.6 * wanted), SHALLOW),
    ):
        why = np.where((why == OK) & bad, reason, why)
    return Closings(
        rotation,
        np.stack([x, y, -h], 1) @ rotation.T,
        width,
        opening,
        highest - h,
        wanted,
        taper,
        skew,
        filled,
        clear,
        _away(thing.point @ rotation, left, right, y, h, touched, settings),
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
        x, y = max(beyond, settings.palm[0] / 2), max(beyond / 2, settings.palm[1] / 2)
        low = np.array([body[:, 0].min() - x, body[:, 1].min() - y]) - _CELL
        high = np.array([body[:, 0].max() + x, body[:, 1].max() + y]) + _CELL
        width, height = ((high - low) / _CELL).astype(int) + 1
        return cls(low, (int(height), int(width)))

    def heights(self, points: Floats, gap: float) -> Map:
        """The highest of the points in each cell; gap: metres between points of one surface."""
        height, width = self.shape
        column = ((points[:, 0] - self.low[0]) / _CELL).astype(np.int32)
        row = ((points[:, 1] - self.low[1]) / _CELL).astype(np.int32)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        heights = np.full(height * width, _LOWEST, np.float32)
        index = (row * width + column)[inside]
        np.maximum.at(heights, index, (-points[inside, 2]).astype(np.float32))
        size = 2 * int(np.ceil(gap / _CELL)) + 1
        kernel = np.ones((size, size), np.uint8)
        closed = cv2.morphologyEx(heights.reshape(height, width), cv2.MORPH_CLOSE, kernel)
        return np.asarray(closed, np.float32)

    def x(self, column: Integers) -> Floats:
        return np.asarray(self.low[0] + (column + 0.5) * _CELL)

    def y(self, row: Integers) -> Floats:
        return np.asarray(self.low[1] + (row + 0.5) * _CELL)

    def at(self, heights: Map, x: Floats, row: Integers) -> Map:
        """What a map (R, W) has (..., K) where x (..., K) lies in rows (K,) of it.

        The grid reaches so far around the body that no finger on it is outside.
        """
        column = ((x - self.low[0]) / _CELL).astype(np.intp)
        column += row * heights.shape[1]
        return np.asarray(heights.ravel().take(column, mode='clip'))

    def met(self, heights: Map, x: Floats, row: Integers, h: Floats) -> Bools:
        """Whether (..., K) at any of the first axis of x something is higher than h (K,)."""
        return np.asarray((self.at(heights, x, row) > h).any(0))


def _along(heights: Map, y: float) -> Map:
    """The highest within metres along the columns about each cell, an odd number of cells."""
    return np.asarray(cv2.dilate(heights, np.ones((_odd(y), 1), np.uint8)), np.float32)


def _across(heights: Map, x: float) -> Map:
    """The same along the rows."""
    return np.asarray(cv2.dilate(heights, np.ones((1, _odd(x)), np.uint8)), np.float32)


def _odd(metres: float) -> int:
    return 2 * round(max(metres, 0) / 2 / _CELL) + 1


@dataclass(frozen=True, eq=False)
class _Maps:
    """The highest that there is under a finger or the palm, of the thing and of what is beside it.

    Of the rows (R, W) in which the gripper is tried alone. beside, between, palm_beside: None where
    there is nothing beside it.
    """

    own: Map
    palm_own: Map
    beside: Map | None
    between: Map | None
    palm_beside: Map | None

    @classmethod
    def of(
        cls, own: Map, beside: Map, strip: Map, rows: Integers, settings: GraspSettings
    ) -> _Maps:
        # The cells that a finger's outline is in count as those of a thing do; and by noise a thing
        # may seem wider than it is by a cell.
        thickness, finger = settings.finger_thickness, settings.finger
        of_own = _across(strip, thickness - 2 * _CELL)
        wide, deep, _ = settings.palm
        palm_own = _across(_along(own, deep)[rows], wide)
        if not (beside > _LOWEST).any():
            return cls(of_own, palm_own, None, None, None)
        near = _along(beside, finger)[rows]
        return cls(
            of_own,
            palm_own,
            _across(near, thickness - _CELL),
            _across(near, finger),
            _across(_along(beside, deep)[rows], wide),
        )


def _bounds(body: Floats, rotation: Floats, settings: GraspSettings) -> tuple[float, float]:
    """Heights where the thing begins and ends; from above it is held on to the ground at most."""
    heights = np.sort(-body[::5, 2])
    low, top = float(heights[len(heights) // 100]), float(heights[-1 - len(heights) // 200])
    return (settings.clearance if rotation[2, 2] < -_UPRIGHT else low), top


def _levels(low: float, top: float) -> Map:
    """Heights (L,) that the fingers may end at, the deepest first, and those between."""
    low = max(low, top - _DEEPEST)
    step = _STEP / _FINER
    count = int(np.floor((top - low - _HOLD) / step)) + 1
    return np.asarray(low + step * np.arange(max(count, 1)), np.float32)


def _covered(own: Map) -> tuple[Integers, slice]:
    """Some of the rows that the thing is in, and the columns from its first to its last."""
    seen = own > _LOWEST
    column = np.flatnonzero(seen.any(0))
    return np.flatnonzero(seen.any(1))[::_ROWS], slice(int(column[0]), int(column[-1]) + 1)


def _runs(held: Bools) -> tuple[Integers, Integers, Integers, Integers]:
    """Row, level, first column and the one after the last, of all runs of (R, L, W)."""
    rows, levels, columns = held.shape
    padded = np.zeros((rows, levels, columns + 2), bool)
    padded[:, :, 1:-1] = held
    flat = padded.ravel()
    begins, ends = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2).T
    line, start = np.divmod(begins, columns + 2)
    row, level = np.divmod(line, levels)
    return row, level, start, start + ends - begins


def _with_hollows(
    row: Integers, level: Integers, start: Integers, stop: Integers
) -> tuple[Integers, Integers, Integers, Integers]:
    """The runs, and from the first to the last of a row: a hollow thing between the fingers."""
    same = (row[1:] == row[:-1]) & (level[1:] == level[:-1])
    if not same.any():
        return row, level, start, stop
    ends = np.flatnonzero(~same)
    first, last = np.concatenate(([0], ends + 1)), np.concatenate((ends, [len(same)]))
    several = last > first
    first, last = first[several], last[several]
    return (
        np.concatenate((row, row[first])),
        np.concatenate((level, level[first])),
        np.concatenate((start, start[first])),
        np.concatenate((stop, stop[last])),
    )


def _fitting(
    row: Integers, level: Integers, start: Integers, stop: Integers, settings: GraspSettings
) -> tuple[Integers, Integers, Integers, Integers]:
    """The runs that go between the fingers; where none does, the narrowest."""
    width = np.asarray((stop - start - 1) * _CELL, np.float64)
    fits = _goes_between(width, settings)
    if len(width) and not fits.any():
        fits[int(width.argmin())] = True
    return row[fits], level[fits], start[fits], stop[fits]


def _goes_between(width: Floats, settings: GraspSettings) -> Bools:
    return np.asarray(width <= settings.opening - 2 * _ASIDE + _CELL)


def _highest(strip: Map, rows: Integers, start: Integers, stop: Integers) -> Floats:
    """(K,) the top of runs."""
    flat = np.concatenate((strip.ravel(), _NOTHING))
    ends = np.empty(2 * len(rows), np.intp)
    ends[::2], ends[1::2] = start, stop
    ends += np.repeat(rows * strip.shape[1], 2)
    return np.maximum.reduceat(flat, ends)[::2].astype(np.float64)


def _touched(strip: Map, rows: Integers, start: Integers, stop: Integers) -> Floats:
    """(K,) how high both sides of runs reach, a cell inside: where fingers touch them."""
    inside = np.minimum(start + 1, stop - 1), np.maximum(stop - 2, start)
    return np.minimum(*(strip[rows, column] for column in inside)).astype(np.float64)


def _between_shoulders(high: Bools, at: tuple[Integers, Integers, Integers, Integers]) -> Floats:
    """The opening (K,) within which nothing of the thing but the runs reaches the fingers' ends.

    high: (R, L, W) cells that do, at every level of the runs. Those next to a run are its own
    sides, which lean; and a few are noise.
    """
    row, level, start, stop = at
    level = level // _FINER
    wide = np.ones((1, _WIDE), np.uint8)
    flat = high.reshape(-1, high.shape[2]).astype(np.uint8)
    # One anchor for both would shift it.
    kept = cv2.dilate(cv2.erode(flat, wide, anchor=(0, 0)), wide, anchor=(_WIDE - 1, 0))
    # Far beyond both ends nothing is.
    last = high.shape[2] - 1
    far = np.int32(10 * high.shape[2])
    column, there = np.arange(last + 1, dtype=np.int32), kept.reshape(high.shape) > 0
    before = np.maximum.accumulate(np.where(there, column, -far), axis=2)
    after = np.minimum.accumulate(np.where(there, column, far)[..., ::-1], axis=2)[..., ::-1]
    left, right = start - 1 - _SIDE, stop + _SIDE
    left = np.where(left < 0, -far, before[row, level, left.clip(0)])
    right = np.where(right > last, far, after[row, level, right.clip(max=last)])
    middle = (start + stop - 1) / 2
    return np.asarray((2 * np.minimum(middle - left, right - middle) - 1) * _CELL)


def _checked(
    grid: _Grid,
    maps: _Maps,
    row: Integers,
    x: Floats,
    h: Floats,
    width: Floats,
    settings: GraspSettings,
) -> tuple[Floats, Integers]:
    """The widest opening (K,) with which nothing is met, and where there is none why."""
    fits = _goes_between(width, settings)
    least = np.minimum(width + 2 * _ROOM, settings.opening)
    tried = least + _SHARES * (settings.opening - least)
    out = _OUT * ((tried + settings.finger_thickness) / 2)
    reason = np.where(grid.met(maps.own, x + out + _OUT * _CELL, row, h), ITSELF, OK)
    if maps.beside is not None:
        reason[grid.met(maps.beside, x + out, row, h)] = BESIDE
    # The widest that meets nothing, or else the widest.
    met = reason != OK
    widest = np.where(met[2] & ~met.all(0), np.where(met[1], 0, 1), 2)
    each = np.arange(len(x))
    opening = np.where(fits, tried[widest, each], settings.opening)
    why = np.where(fits, reason[widest, each], TOO_WIDE)
    highest = h + settings.finger_length - _PALM_GAP
    for heights, bad in ((maps.palm_beside, PALM_BESIDE), (maps.palm_own, PALM_ITSELF)):
        if heights is not None:
            why[(why == OK) & (grid.at(heights, x, row) > highest)] = bad
    if maps.between is not None:
        filled = grid.met(maps.between, x + _BETWEEN * opening / 2, row, h)
        why[(why == OK) & filled] = BETWEEN
    return opening, why


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


def _sides(
    held: Bools,
    own: Map,
    levels: Map,
    rows: Integers,
    at: tuple[Integers, Integers, Integers, Integers],
    width: Floats,
    depth: Floats,
    settings: GraspSettings,
) -> tuple[Floats, Floats, Floats]:
    """How the sides of runs lean over the depth of the fingers (K,), how over their width (K,), and
    how much of the space between the fingers the runs fill (K,)."""
    row, level, start, stop = at

    # Not up to the top: a flat one has no sides.
    step = _STEP / _FINER
    up = np.rint(np.minimum(0.6 * (depth - _HOLD), _TAPER) / step).astype(int)
    up = np.minimum(np.maximum(up, 0), len(levels) - 1 - level)
    aside = max(round(settings.finger / 2 / _CELL), 1)
    lines = rows[row] + np.array([[-aside], [0], [aside]])
    lines = np.minimum(np.maximum(lines, 0), len(own) - 1)
    there = np.empty((4, len(row), held.shape[2]), bool)
    there[0] = held[row, level + up]
    np.greater(own[lines], levels[level, None] + np.float32(_HOLD), out=there[1:])
    column = np.arange(held.shape[2])
    there &= (column >= start[:, None]) & (column < stop[:, None])
    # From the first to the last that is there, within each run.
    cells = there.shape[-1] - there.argmax(-1) - there[..., ::-1].argmax(-1)
    higher, before, here, after = np.where(there.any(-1), cells, 0) * _CELL
    taper = (width + _CELL - higher) / 2 / np.maximum(up * step, step)
    filled = (before + here + after) / 3 / (width + _CELL)
    # Both sides aslant the same way, and against each other, as at a corner.
    twist = (width + _CELL - here) / settings.finger
    wedge = np.abs(after - before) / (2 * aside * _CELL)
    skew = np.maximum(twist, _WEDGE * wedge)
    return np.maximum(taper, 0.0), np.maximum(skew, 0.0), filled


def _away(
    point: Floats,
    left: Floats,
    right: Floats,
    y: Floats,
    h: Floats,
    touched: Floats,
    settings: GraspSettings,
) -> Floats:
    """Metres (K,) from the point to what is between the fingers, and to where they touch it."""
    beside = np.maximum(0.0, np.maximum(left - point[0], point[0] - right))
    along = np.abs(y - point[1])
    along = np.maximum(_WITHIN * along, along - (1 - _WITHIN) * settings.finger / 2)
    # What is under the ends of the fingers comes along.
    under = 0.3 * np.maximum(0.0, h + point[2])
    over = _OVER * np.maximum(0.0, -point[2] - touched)
    return np.asarray(np.sqrt(beside**2 + along**2 + under**2 + over**2))
