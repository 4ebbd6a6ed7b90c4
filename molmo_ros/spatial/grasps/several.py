# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what was measured may be several things, or a part of one."""

from __future__ import annotations

import cv2
import numpy as np

from molmo_ros.spatial.grasps.surroundings import Surroundings

_CELL = 0.004  # metres
_GAP = 0.008  # metres between two things that touch, as far as the depth tells
_LEAST = 6  # cells that touch; fewer are specks


def may_be_several(around: Surroundings) -> bool:
    """Whether something else stands so near to the thing that no gap is seen between them."""
    own, others = around.own, around.others
    if not len(own) or not len(others):
        return False
    low = own.min(0) - 2 * _GAP
    size = ((own.max(0) + 2 * _GAP - low) / _CELL).astype(int) + 1
    cells = ((others - low) / _CELL).astype(int)
    inside = ((cells >= 0) & (cells < size)).all(1)
    if not inside.any():
        return False
    # In slices one above another, so that what only overhangs does not count.
    touching = 0
    mine = ((own - low) / _CELL).astype(int)
    reach = int(np.ceil(_GAP / _CELL))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    for layer in range(0, int(size[2]), 2):
        here = mine[(mine[:, 2] // 2) == layer // 2]
        there = cells[inside][(cells[inside][:, 2] // 2) == layer // 2]
        if not len(here) or not len(there):
            continue
        covered = np.zeros((size[1], size[0]), np.uint8)
        covered[here[:, 1], here[:, 0]] = 1
        covered = cv2.dilate(covered, kernel)
        touching += len(np.unique(there[covered[there[:, 1], there[:, 0]] > 0][:, :2], axis=0))
    return touching >= _LEAST
