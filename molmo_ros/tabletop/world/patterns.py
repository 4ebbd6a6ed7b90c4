# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Table patterns, grey textures that tile without a seam; and what objects are painted with."""

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


def _speckled() -> NDArray[np.float64]:
    return 1.1 * np.clip(np.abs(_noise(9, 9, 6)) - 1.2, 0, 1) + 0.1 * _noise(3, 3, 7)


def _striped() -> NDArray[np.float64]:
    across = np.sin(2 * np.pi * np.arange(SIZE) / 64)[None]
    return 0.8 * np.tanh(4 * across) + 0.1 * _noise(3, 3, 8)


def _tiled() -> NDArray[np.float64]:
    place = np.arange(SIZE) % 128
    joint = (place < 5)[None] | (place < 5)[:, None]
    return np.where(joint, -1.4, 0.15 * _noise(60, 60, 9))


PATTERNS: dict[str, Callable[[], NDArray[np.float64]]] = {
    'plain': _plain,
    'wood': _wood,
    'speckled': _speckled,
    'striped': _striped,
    'tiled': _tiled,
}
"""Of tables."""

Points = NDArray[np.float32]


def _stripes(points: Points) -> NDArray[np.bool_]:
    return np.floor((points[:, 0] * 0.5 + points[:, 2]) / 0.017).astype(int) % 2 == 1


def _spots(points: Points) -> NDArray[np.bool_]:
    cell = 0.034
    inside = (points / cell + [0.5, 0.5, 0.25]) % 1 - 0.5
    return np.einsum('ij,ij->i', inside, inside) * cell**2 < 0.0125**2


def _checks(points: Points) -> NDArray[np.bool_]:
    return np.floor(points / 0.0245 + 0.03).astype(int).sum(1) % 2 == 1


ON_OBJECTS: dict[str, Callable[[Points], NDArray[np.bool_]] | None] = {
    'plain': None,
    'striped': _stripes,
    'spotted': _spots,
    'checked': _checks,
}
"""Where (N, 3) points, metres in the object's own frame, have the accent colour."""


@cache
def texture(pattern: str) -> Texture:
    """(SIZE, SIZE) uint8 where 128 is the table's own colour, 0 and 255 its extremes."""
    return np.clip(128 + 80 * PATTERNS[pattern](), 0, 255).astype(np.uint8)
