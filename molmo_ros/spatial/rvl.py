# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""RVL, the lossless code for depth images of A. D. Wilson, Fast Lossless Depth Image Compression
(2017): runs of zeros and of differences, as numbers of three bits at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decode_rvl(data: bytes, count: int) -> NDArray[np.uint16]:
    """The `count` pixels in a stream of little-endian words. Raises ValueError if it breaks off."""
    numbers = _numbers(data)
    pixels = np.zeros(count, np.uint16)
    previous = done = at = 0
    while done < count:
        if at + 2 > len(numbers):
            raise ValueError('the RVL stream breaks off')
        zeros, length = int(numbers[at]), int(numbers[at + 1])
        at, start = at + 2, done + zeros
        done = start + length
        if zeros + length == 0 or done > count or at + length > len(numbers):
            raise ValueError('the RVL stream is broken')
        if length:
            code = numbers[at : at + length]
            run = previous + np.cumsum((code >> 1) ^ -(code & 1))
            pixels[start:done] = (run & 0xFFFF).astype(np.uint16)
            previous, at = int(run[-1]), at + length
    return pixels


def _numbers(data: bytes) -> NDArray[np.int64]:
    """All numbers of a stream: nibbles, the least three bits first, the fourth bit says go on."""
    words = np.frombuffer(data, '<u4', len(data) // 4)
    shifts = np.arange(28, -4, -4, dtype=np.uint32)
    nibbles = ((words[:, None] >> shifts) & 0xF).reshape(-1).astype(np.int64)
    last = np.flatnonzero(nibbles < 8)
    if not len(last):
        return np.zeros(0, np.int64)
    nibbles = nibbles[: last[-1] + 1]
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > 11:
        raise ValueError('the RVL stream is broken')
    place = np.arange(len(nibbles)) - np.repeat(first, length)
    return np.add.reduceat((nibbles & 7) << (3 * place), first)
