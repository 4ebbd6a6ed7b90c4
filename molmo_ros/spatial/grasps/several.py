# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what was measured may be several things, or a part of one."""

from __future__ import annotations

import numpy as np

from molmo_ros.spatial.windows import Bools, Floats, Integers, highest, lowest

_CELL = 0.004  # metres
_RIM, _GAP, _BAND = 1, 5, 8  # cells around a thing: its own outline, what touches it, what goes on
_LEAST_TOUCHING, _LEAST_BEYOND = 6, 12  # cells, or they are specks
_LEAST_NEAR, _LEAST_ON = 2, 8  # cells of what stands there, which noise of the ground is not
_LOW, _LOW_SHARE = 0.01, 0.5  # metres, and of a thing's height: what is lower may be such noise


def its_outline(own: Floats, others: Floats) -> tuple[Bools, bool]:
    """Which of the other points (M, 3) are the outline of the thing of these own points (N, 3), and
    whether other things touch it: then it may be several, or a part of one.

    z is up from what carries the thing. Of an outline the depth tells little: points there belong
    to it if nothing goes on behind, be that noise of the ground.
    """
    if not len(own) or not len(others):
        return np.zeros(len(others), bool), False
    low = lowest(own) - (_BAND + 1) * _CELL
    shape = tuple(((highest(own) - low) / _CELL).astype(int) + _BAND + 2)
    cells = ((others - low) / _CELL).astype(int)
    inside = np.ones(len(others), bool)
    for axis in range(3):  # NumPy is slow at many rows of three.
        inside &= (others[:, axis] >= low[axis]) & (cells[:, axis] < shape[axis])
    rim = _filled(shape, ((own - low) / _CELL).astype(int))
    rim = _grown(rim, _RIM)
    gap = _grown(rim, _GAP - _RIM)
    band = _grown(gap, _BAND - _GAP) & ~gap
    there = _filled(shape, cells[inside])
    goes_on = _enough(there, gap, band, _LEAST_TOUCHING, _LEAST_BEYOND)
    high = others[:, 2] > min(_LOW, _LOW_SHARE * float(np.percentile(own[:, 2], 95)))
    standing = _filled(shape, cells[inside & high])
    several = _enough(standing, gap, band, _LEAST_NEAR, _LEAST_ON)
    outline = np.zeros(len(others), bool)
    if not goes_on:
        outline[inside] = rim[tuple(cells[inside].T)]
    return outline, several


def _enough(there: Bools, gap: Bools, band: Bools, near: int, beyond: int) -> bool:
    """Whether that much is in the gap and in the band around it."""
    return bool(np.count_nonzero(there & gap) >= near and np.count_nonzero(there & band) >= beyond)


def _filled(shape: tuple[int, ...], cells: Integers) -> Bools:
    space = np.zeros(shape, bool)
    space[tuple(cells.T)] = True
    return space


def _grown(space: Bools, by: int) -> Bools:
    """By so many cells along each axis."""
    for axis in range(3):
        reached = 0
        while reached < by:
            # What has grown by so many grows by one more than twice as many in one step.
            step = min(by - reached, reached + 1)
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            grown = space.copy()
            grown[tuple(ahead)] |= space[tuple(behind)]
            grown[tuple(behind)] |= space[tuple(ahead)]
            space, reached = grown, reached + step
    return space
