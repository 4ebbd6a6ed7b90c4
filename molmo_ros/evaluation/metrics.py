# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is counted and how: pure functions of points, masks and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from molmo_ros.pointing import ImagePoint

Mask = NDArray[np.bool_]

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """The share, NaN of nothing."""
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share, for n independent trials; 0 to 1 of nothing."""
        if not self.n:
            return 0.0, 1.0
        z2 = _Z95**2
        middle = (self.hits + z2 / 2) / (self.n + z2)
        half = _Z95 / (self.n + z2) * math.sqrt(self.hits * (self.n - self.hits) / self.n + z2 / 4)
        return max(middle - half, 0.0), min(middle + half, 1.0)


def pixel_of(point: ImagePoint, width: int, height: int) -> tuple[int, int]:
    """Column and row of the pixel that a point lies in; the far edges belong to the last ones."""
    column = min(max(math.floor(point.u), 0), width - 1)
    return column, min(max(math.floor(point.v), 0), height - 1)


def lies_in(point: ImagePoint, mask: Mask) -> bool:
    """Whether a point lies in an (H, W) mask of the image that it was made for."""
    height, width = mask.shape
    column, row = pixel_of(point, width, height)
    return bool(mask[row, column])


@dataclass(frozen=True)
class PointingScore:
    """How a set of points answers a set of things, each 0..1."""

    precision: float
    recall: float
    f1: float


def pointing_score(
    points: Sequence[ImagePoint], targets: Sequence[tuple[float, float]], masks: Sequence[Mask]
) -> PointingScore:
    """Score points against the things they should be on, as Molmo's authors define it.

    Points are paired with targets (pixels) so that the distances add up to the least (the linear
    assignment of Jonker and Volgenant), a pair is right where the point lies in the target's mask,
    and precision and recall are the right pairs by the points and by the targets. Where there is
    nothing to point at, no points score 1 and any score 0.
    """
    if len(targets) != len(masks):
        raise ValueError('every target needs its mask')
    if not targets:
        score = float(not points)
        return PointingScore(score, score, score)
    right = 0
    if points:
        given = np.array([(point.u, point.v) for point in points])
        wanted = np.array(targets, float)
        distance = np.linalg.norm(given[:, None] - wanted, axis=2)
        pairs = zip(*linear_sum_assignment(distance), strict=True)
        right = sum(lies_in(points[i], masks[j]) for i, j in pairs)
    precision = right / len(points) if points else 0.0
    recall = right / len(targets)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return PointingScore(precision, recall, f1)


def median(values: Sequence[float]) -> float:
    """The median, NaN of nothing."""
    return float(np.median(values)) if len(values) else math.nan


def percentile(values: Sequence[float], percent: float) -> float:
    """By linear interpolation, NaN of nothing."""
    return float(np.percentile(values, percent)) if len(values) else math.nan
