# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Table patterns: grey textures that tile without a seam, made once a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIZE = 1024
"""Texels along a side of a texture; a texel is 1 mm."""

Texture = NDArray[np.uint8]


def _noise(length_x: float, length_y: float, seed: int) -> NDArray[np.float64]:
    """(SIZE, SIZE) smooth periodic noise, zero mean and unit deviation; lengths in texels."""
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))
    fy, fx = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]
    spectrum *= np.exp(-((fx * length_x) ** 2 + (fy * length_y) ** 2) * 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (SIZE, SIZE))
    return noise / noise.std()


def _plain() -> NDArray[np.float64]:
    return 0.15 * _noise(120, 120, 1) + 0.1 * _noise(3, 3, 2)


def _wood() -> NDArray[np.float64]:
    rings = np.sin(3.5 * _noise(500, 45, 3) + 0.6 * _noise(150, 6, 4))
    return 0.55 * rings + 0.3 * _noise(80, 3, 5)


PATTERNS: dict[str, Callable[[], NDArray[np.float64]]] = {'plain': _plain, 'wood': _wood}


@cache
def texture(pattern: str) -> Texture:
    """(SIZE, SIZE) uint8 where 128 is the table's own colour, 0 and 255 its extremes."""
    return np.clip(128 + 80 * PATTERNS[pattern](), 0, 255).astype(np.uint8)
