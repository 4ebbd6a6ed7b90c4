# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a reading may be that of another surface, because an outline is near.

Real depth cameras smear near things outwards by 2 to 3 pixels. Of pixels 1, 2 and 3 inside an
outline 20, 9 and 4 in a hundred read the background (RealSense; docs/accuracy.md). Which is right
cannot be told from the depth, so the other surface goes into the covariance with that probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lift_settings import LiftSettings
from .surface_fit import Surfaces
from .windows import Bools, Floats, Integers, disc, gather

# The chance falls with the distance as exp(-d): 0.20, 0.09 and 0.04 at 1, 2 and 3 pixels.
_CHANCE, _FALL = 0.43, 0.77
_SIGMAS = 5.0  # of a reading's noise, and
_LEAST_JUMP = 0.012  # metres in depth, by which another surface must be off this one
GRAZING = 6.0
"""Tangent of the angle at which a surface is seen that is none."""


@dataclass(frozen=True)
class Edges:
    """near: (N,) whether another surface is within reach. variance: (N,) m^2 along z from it."""

    near: Bools
    variance: Floats


def find_edges(
    depth: NDArray[np.float32],
    pixels: Floats,
    surfaces: Surfaces,
    focal: float,
    settings: LiftSettings,
) -> Edges:
    """For N pixels (N, 2) of a depth image, by readings that are not on their surfaces."""
    count = len(pixels)
    if settings.edge_reach <= 0:
        return Edges(np.zeros(count, bool), np.zeros(count))
    middles: Integers = np.rint(pixels).astype(np.intp)
    offsets = disc(settings.edge_reach)
    inverse, valid = settings.inverse(gather(depth, middles, offsets))
    here, gradient, _ = surfaces.at(middles.astype(np.float64))
    here = np.maximum(here, 1e-6)
    expected = np.maximum(here[:, None] + gradient @ offsets.T, 1e-6)
    z = 1 / np.where(valid, inverse, 1.0)
    off = np.where(valid, z - 1 / expected, 0.0)
    noise = settings.noise.sigma(1 / here, focal)
    other = np.abs(off) > np.maximum(_SIGMAS * noise, _LEAST_JUMP)[:, None]
    distance = np.where(other, np.linalg.norm(offsets, axis=1), np.inf)
    nearest = distance.min(1)
    near = np.isfinite(nearest)
    # What is seen at the nearest such pixels, by its middle one.
    at_edge = other & (distance <= nearest[:, None] + 1)
    jump = np.zeros(count)
    if near.any():
        jump[near] = np.nanmedian(np.where(at_edge, off, np.nan)[near], axis=1)
    chance = np.where(near, _CHANCE * np.exp(-_FALL * np.where(near, nearest, 0.0)), 0.0)
    return Edges(near, chance * jump**2)


def veil(depth: NDArray[np.float32], steep: float) -> Bools:
    """Pixels between a thing and what is behind it, on neither: the depth falls steeply on both
    sides of them."""
    veil = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        falls = np.abs(np.diff(depth, axis=axis)) > steep
        inner = [slice(None), slice(None)]
        inner[axis] = slice(1, -1)
        both = falls[:-1] & falls[1:] if axis == 0 else falls[:, :-1] & falls[:, 1:]
        veil[tuple(inner)] |= both
    return veil
