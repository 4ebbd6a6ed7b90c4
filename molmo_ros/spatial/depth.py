# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth images as metres along the optical axis, as REP-117 and REP-118 have them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class UnsupportedDepth(ValueError):
    """The depth image is of an encoding or a shape that has no meaning in metres."""


def depth_to_metres(array: NDArray, encoding: str) -> NDArray[np.float32]:
    """Metres (H, W) float32 along the optical axis.

    array: (H, W); encoding: '16UC1' or 'mono16' (millimetres, 0 is invalid) or '32FC1' (metres).
    Invalid pixels are NaN; -Inf (too near) and +Inf (no return) stay as REP-117 has them.
    Raises UnsupportedDepth.
    """
    if array.ndim != 2:
        raise UnsupportedDepth(f'a depth image has one channel, this one has shape {array.shape}')
    if encoding in ('16UC1', 'mono16'):
        metres = array.astype(np.float32) * np.float32(0.001)
        metres[array == 0] = np.nan
        return metres
    if encoding in ('32FC1', '64FC1'):
        metres = array.astype(np.float32)
        metres[metres == 0] = np.nan
        return metres
    raise UnsupportedDepth(
        f"depth encoding '{encoding}' is not one of 16UC1 (mm) and 32FC1 (m): "
        "remap depth to the driver's depth image"
    )
