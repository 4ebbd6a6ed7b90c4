# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What physics has to know of things: their convex parts and what they weigh."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmo_ros.tabletop.world.scene import Object

Floats = NDArray[np.float64]

_PARTS = Path(__file__).with_name('convex_parts.npz')  # by benchmarks/convex_parts.py

MASSES = {
    'ball': 0.10,
    'banana': 0.15,
    'book': 0.40,
    'bottle': 0.40,
    'bowl': 0.35,
    'box': 0.25,
    'brush': 0.08,
    'candle': 0.25,
    'can': 0.36,
    'carrot': 0.10,
    'cone': 0.15,
    'duck': 0.08,
    'glass': 0.15,
    'hammer': 0.45,
    'lamp': 0.45,
    'mug': 0.33,
    'apple': 0.18,
    'pan': 0.60,
    'pear': 0.18,
    'plate': 0.40,
    'ring': 0.15,
    'scissors': 0.09,
    'screwdriver': 0.11,
    'spoon': 0.06,
    'teapot': 0.60,
}
"""Kilograms of each kind at its nominal size, as such things weigh in a kitchen or a workshop."""


def mass_of(item: Object) -> float:
    """Kilograms: that of its kind, by volume."""
    return MASSES[item.kind] * float(np.prod(item.scale))


def parts_of(item: Object) -> list[Floats]:
    """(N, 3) corners of each convex part in the thing's own frame, metres."""
    return [part * item.scale for part in _parts(item.kind)]


@cache
def _parts(kind: str) -> list[Floats]:
    with np.load(_PARTS) as stored:
        ends = np.cumsum(stored[f'{kind}.corners'])[:-1]
        return np.split(stored[kind].astype(np.float64), ends)
