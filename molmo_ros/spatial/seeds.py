# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which reading of a depth image shows the surface that a pixel is on.

A pixel's own reading, if at least four of its eight neighbours bear it out. Otherwise the pixel is
in a hole, or its reading is a flying pixel between two surfaces: then the eight directions are
followed to the first reading that is borne out, and if seven of them meet the same surface, the
nearest of those readings stands in for the pixel. A hole between two surfaces is not bridged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lift_settings import LiftSettings
from .surface_point import LiftStatus
from .windows import Bools, Floats, Integers, gather, square

# Slope of the steepest surface that is still taken for one: tan of the angle to the image plane.
STEEPEST = float(np.tan(np.radians(75)))
# Across a hole, where much room makes much of a slope, it must be less steep.
_STEEPEST_BRIDGED = float(np.tan(np.radians(60)))

_DIRECTIONS = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
_BORNE_OUT = 4  # readings of a 3x3 window, its middle among them, of which more must agree
_AGREEING = 7  # of the eight directions across a hole must end on one surface
_SIGMAS = 4.0  # of a reading's noise: what lies within agrees; wide, since it tells outliers only

NO_READING = 'no reading near the pixel: shiny, clear, dark, or hidden from one imager'
BETWEEN = 'no reading at the pixel, and more than one surface around it'
RANGE = 'the depth there is outside min_range to max_range'


@dataclass(frozen=True)
class Seeds:
    """pixels: (N, 2) column and row. status: (N,) of LiftStatus. bridged: (N,).

    reasons: (N,), empty where the status is OK.
    """

    pixels: Integers
    status: NDArray[np.intp]
    bridged: Bools
    reasons: NDArray[np.str_]


def find_seeds(
    depth: NDArray[np.float32], pixels: Integers, focal: float, settings: LiftSettings
) -> Seeds:
    """Seeds for pixels (N, 2) of a depth image (H, W) in metres."""
    around = gather(depth, pixels, square(1), repeat=True)
    outside = settings.out_of_range(around[:, 4])
    status = np.where(outside, LiftStatus.OUT_OF_RANGE, LiftStatus.OK)
    reasons = np.where(outside, RANGE, '').astype('U80')
    bridged = ~_borne_out(around, focal, settings) & ~outside
    seeds = pixels.copy()
    holes = np.flatnonzero(bridged)
    if len(holes):
        across = _across_holes(depth, pixels[holes], focal, settings)
        seeds[holes], status[holes], reasons[holes] = across
    return Seeds(seeds, status, bridged, reasons)


def _borne_out(around: Floats, focal: float, settings: LiftSettings) -> Bools:
    """Which middles of 3x3 windows (N, 9) have a reading that their neighbours agree with."""
    inverse, valid = settings.inverse(around)
    middle = np.where(valid[:, 4], inverse[:, 4], 1.0)
    near = _SIGMAS * settings.inverse_sigma(middle, focal) + middle * (STEEPEST / focal)
    agree = valid & (np.abs(inverse - middle[:, None]) < near[:, None])
    return np.asarray(valid[:, 4] & (agree.sum(1) > _BORNE_OUT))


def _across_holes(
    depth: NDArray[np.float32], pixels: Integers, focal: float, settings: LiftSettings
) -> tuple[Integers, NDArray[np.intp], NDArray[np.str_]]:
    """Seeds, status and reasons of N pixels without a reading of their own."""
    steps = np.arange(1, settings.hole_radius + 1)
    offsets = _DIRECTIONS[:, None] * steps[:, None]
    ways = np.asarray(pixels[:, None, None] + offsets, np.intp)
    around = gather(depth, ways.reshape(-1, 2), square(1))
    hit = _borne_out(around, focal, settings).reshape(ways.shape[:-1])
    outside = settings.out_of_range(around[:, 4]).reshape(hit.shape)
    first = (hit | outside).argmax(2)[:, :, None]
    met = np.take_along_axis(hit, first, 2)[:, :, 0]
    left = np.take_along_axis(outside, first, 2)[:, :, 0]
    z = np.take_along_axis(around[:, 4].reshape(hit.shape), first, 2)[:, :, 0]
    ends = np.take_along_axis(ways, first[..., None], 2)[:, :, 0]
    same = _same_surface(ends, np.where(met, z, 1.0), focal, settings)
    same &= met[:, :, None] & met[:, None, :]
    rows = np.arange(len(pixels))
    largest = same[rows, same.sum(2).argmax(1)]
    distance = np.linalg.norm(ends - pixels[:, None], axis=2)
    seeds = ends[rows, np.where(largest, distance, np.inf).argmin(1)]
    return seeds, *_judged(met, left, same, largest)


def _judged(
    met: Bools, left: Bools, same: Bools, largest: Bools
) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Status and reasons from what eight directions met: (N, 8), same (N, 8, 8)."""
    bridged = largest.sum(1) >= _AGREEING
    far = ~bridged & (left.sum(1) > met.sum(1))
    mixed = ~bridged & ~far & (largest.sum(1) < met.sum(1) + left.sum(1))
    choices = [bridged, far, mixed]
    status = [LiftStatus.OK, LiftStatus.OUT_OF_RANGE, LiftStatus.DEPTH_INVALID]
    reasons = np.select(choices, ['', RANGE, BETWEEN], NO_READING)
    return np.select(choices, status, LiftStatus.DEPTH_INVALID), reasons


def _same_surface(pixels: Integers, z: Floats, focal: float, settings: LiftSettings) -> Bools:
    """Which of K readings (N, K) could lie on one surface with which: (N, K, K)."""
    inverse = 1 / z
    apart = np.linalg.norm(pixels[:, :, None] - pixels[:, None], axis=3)
    slope = inverse * (_STEEPEST_BRIDGED / focal)
    noise = _SIGMAS * settings.inverse_sigma(inverse, focal)
    difference = np.abs(inverse[:, :, None] - inverse[:, None])
    return np.asarray(difference < noise[:, :, None] + slope[:, :, None] * apart)
