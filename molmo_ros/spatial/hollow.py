# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A point in a hollow of a thing, as of a spoon or a mug, hardly higher than the table."""

from __future__ import annotations

import cv2
import numpy as np

from .windows import Bools

_WAYS = 16
_MOST_OPEN = 3  # of the ways may lead out of it
_SPECK = 30  # pixels, with one around; less is noise


def rim_around(thing: Bools, seed: tuple[int, int], reach: int) -> tuple[int, int] | None:
    """Column and row of a pixel of what surrounds a seed (column, row), if anything does.

    thing: (H, W) what stands above the table. reach: pixels, how far to look.
    """
    # Rims are thin and have gaps.
    wide = cv2.dilate(thing.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(wide, connectivity=8)
    labels[boxes[labels, cv2.CC_STAT_AREA] < _SPECK] = 0
    height, width = thing.shape
    steps = np.arange(1, reach + 1)
    met: list[int] = []
    for turn in np.arange(_WAYS) * (2 * np.pi / _WAYS):
        column = np.rint(seed[0] + steps * np.cos(turn)).astype(int)
        row = np.rint(seed[1] + steps * np.sin(turn)).astype(int)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        hits = labels[row[inside], column[inside]]
        met += hits[hits > 0][:1].tolist()
    around = max(set(met), key=met.count, default=0)
    if not around or met.count(around) < _WAYS - _MOST_OPEN:
        return None
    # Of its parts the largest.
    _, parts, boxes, _ = cv2.connectedComponentsWithStats(
        (thing & (labels == around)).astype(np.uint8), connectivity=8
    )
    largest = 1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())
    row, column = np.nonzero(parts == largest)
    nearest = int(((row - seed[1]) ** 2 + (column - seed[0]) ** 2).argmin())
    return int(column[nearest]), int(row[nearest])


def without_holes(mask: Bools) -> Bools:
    """The mask with all that it surrounds."""
    around = np.pad(mask, 1).astype(np.uint8)
    cv2.floodFill(around, None, (0, 0), 2)
    return np.asarray(around[1:-1, 1:-1] != 2)
