# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A point in a hollow of a thing, as of a spoon or a mug, hardly higher than the table."""

from __future__ import annotations

import cv2
import numpy as np

from .windows import Bools

_WAYS = 16
_MOST_OPEN = 3  # of the ways may lead out of it


def rim_around(thing: Bools, seed: tuple[int, int], reach: int) -> tuple[int, int] | None:
    """Column and row of the nearest pixel of what surrounds a seed (column, row), if anything does.

    thing: (H, W) what stands above the table. reach: pixels, how far to look.
    """
    _, labels = cv2.connectedComponents(thing.astype(np.uint8), connectivity=8)
    height, width = thing.shape
    steps = np.arange(1, reach + 1)
    met: list[tuple[int, int, int, int]] = []
    for turn in np.arange(_WAYS) * (2 * np.pi / _WAYS):
        column = np.rint(seed[0] + steps * np.cos(turn)).astype(int)
        row = np.rint(seed[1] + steps * np.sin(turn)).astype(int)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column, row = column[inside], row[inside]
        hits = np.flatnonzero(labels[row, column])
        if len(hits):
            at = int(hits[0])
            met.append((int(labels[row[at], column[at]]), at, int(column[at]), int(row[at])))
    if not met:
        return None
    kinds = [label for label, *_ in met]
    most = max(set(kinds), key=kinds.count)
    if kinds.count(most) < _WAYS - _MOST_OPEN:
        return None
    _, _, column, row = min((one for one in met if one[0] == most), key=lambda one: one[1])
    return column, row


def without_holes(mask: Bools) -> Bools:
    """The mask with all that it surrounds."""
    around = np.pad(mask, 1).astype(np.uint8)
    cv2.floodFill(around, None, (0, 0), 2)
    return np.asarray(around[1:-1, 1:-1] != 2)
