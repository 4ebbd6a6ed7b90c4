# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is counted and how: pure functions of points, masks and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.evaluation.assignment import least_sum_pairs
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
    """How a set of points answers a set of things, each 0..1; and which of the points are right."""

    precision: float
    recall: float
    f1: float
    right: tuple[bool, ...] = ()


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
    return _paired_score(points, targets, lambda i, j: lies_in(points[i], masks[j]))


def nearness_score(
    points: Sequence[ImagePoint], targets: Sequence[tuple[float, float]], radius: float
) -> PointingScore:
    """As `pointing_score` for targets without masks: right within `radius` pixels of its own."""
    return _paired_score(points, targets, lambda i, j: near(points[i], targets[j], radius))


def near(point: ImagePoint, target: tuple[float, float], radius: float) -> bool:
    """Whether a point is within `radius` of a target, all in pixels."""
    return math.dist((point.u, point.v), target) <= radius


def _paired_score(
    points: Sequence[ImagePoint],
    targets: Sequence[tuple[float, float]],
    is_right: Callable[[int, int], bool],
) -> PointingScore:
    if not targets:
        score = float(not points)
        return PointingScore(score, score, score, (False,) * len(points))
    right = [False] * len(points)
    if points:
        given = np.array([(point.u, point.v) for point in points])
        distance = np.linalg.norm(given[:, None] - np.array(targets, float), axis=2)
        for i, j in least_sum_pairs(distance):
            right[i] = is_right(i, j)
    hits = sum(right)
    precision = hits / len(points) if points else 0.0
    recall = hits / len(targets)
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return PointingScore(precision, recall, f1, tuple(right))


@dataclass(frozen=True)
class Bin:
    """Points of about one confidence: how many, how confident on average, how often right."""

    low: float
    high: float
    n: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """Whether points of confidence c are right in a share c of the cases.

    error: the expected calibration error, mean |confidence - share right| over all points, by the
    bins they fall in; NaN of nothing. bins: those that are not empty.
    """

    error: float
    bins: tuple[Bin, ...]
    n: int


def calibration(outcomes: Sequence[tuple[float, bool]], bins: int = 10) -> Calibration:
    """Of pairs of a confidence, 0..1, and whether it was right; NaN confidences are left out."""
    known = np.array([pair for pair in outcomes if not math.isnan(pair[0])]).reshape(-1, 2)
    number = np.minimum((known[:, 0] * bins).astype(int), bins - 1)
    found = []
    for i in range(bins):
        confidence, right = known[number == i].T
        if len(right):
            shares = float(confidence.mean()), float(right.mean())
            found.append(Bin(i / bins, (i + 1) / bins, len(right), *shares))
    n = len(known)
    error = sum(b.n * abs(b.confidence - b.right) for b in found) / n if n else math.nan
    return Calibration(error, tuple(found), n)


def median(values: Sequence[float]) -> float:
    """The median, NaN of nothing."""
    return float(np.median(values)) if len(values) else math.nan


def percentile(values: Sequence[float], percent: float) -> float:
    """By linear interpolation, NaN of nothing."""
    return float(np.percentile(values, percent)) if len(values) else math.nan
