# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an answer is right."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from math import hypot

from molmo_ros.engine import Answer
from molmo_ros.evaluation.metrics import (
    PointingScore,
    lies_in,
    near,
    nearness_score,
    pointing_score,
)
from molmo_ros.evaluation.samples import Rule, Sample
from molmo_ros.pointing import ImagePoint

RADIUS = 0.05
"""How near a point must be to a target without a mask: this share of the picture's diagonal."""


class Verdict(enum.Enum):
    """What became of a question."""

    HIT = 'hit'
    MISSED = 'missed'
    NOT_FOUND = 'not found'
    RIGHTLY_ABSENT = 'rightly none'
    INVENTED = 'made up'
    ALL_FOUND = 'all found'
    SOME_WRONG = 'some wrong'
    COUNTED = 'counted right'
    MISCOUNTED = 'miscounted'

    @property
    def right(self) -> bool:
        """Whether the answer is what it should be."""
        return self in _RIGHT


_RIGHT = (Verdict.HIT, Verdict.RIGHTLY_ABSENT, Verdict.ALL_FOUND, Verdict.COUNTED)


@dataclass(frozen=True)
class Judgement:
    """A verdict and how good the answer is, 0..1.

    points: of each point that was judged, in the answer's order, whether it is right. pointing:
    precision, recall and F1 as Molmo's authors define them; None where other rules hold.
    """

    verdict: Verdict
    score: float
    points: tuple[bool, ...] = ()
    pointing: PointingScore | None = None


def judge(
    sample: Sample, answer: Answer, width: int, height: int, radius: float = RADIUS
) -> Judgement:
    """Judge an answer to a sample whose picture has that size; radius as `RADIUS`."""
    if sample.rule is Rule.COUNT:
        right = answer.how_many == sample.count
        return Judgement(Verdict.COUNTED if right else Verdict.MISCOUNTED, float(right))
    if sample.absent:
        return _absent(sample, answer)
    if not answer.points:
        nothing = PointingScore(0.0, 0.0, 0.0) if sample.rule is Rule.EVERY else None
        return Judgement(Verdict.NOT_FOUND, 0.0, (), nothing)
    if sample.rule is Rule.EVERY:
        return _every(sample, answer, width, height, radius)
    return _on_target(sample, answer, width, height, radius)


def _absent(sample: Sample, answer: Answer) -> Judgement:
    # Wider than `answer.absent`: what points at nothing and counts nothing has made nothing up,
    # whether or not it says so in words.
    none = answer.how_many == 0 and not answer.points
    score = pointing_score(answer.points, (), ())
    return Judgement(
        Verdict.RIGHTLY_ABSENT if none else Verdict.INVENTED,
        float(none),
        score.right,
        score if sample.rule is Rule.EVERY else None,
    )


def _every(sample: Sample, answer: Answer, width: int, height: int, radius: float) -> Judgement:
    targets = _pixels(sample, width, height)
    if sample.masks is None:
        score = nearness_score(answer.points, targets, radius * hypot(width, height))
    else:
        score = pointing_score(answer.points, targets, sample.masks())
    verdict = Verdict.ALL_FOUND if score.f1 == 1 else Verdict.SOME_WRONG
    return Judgement(verdict, score.f1, score.right, score)


def _on_target(sample: Sample, answer: Answer, width: int, height: int, radius: float) -> Judgement:
    first_only = sample.rule is Rule.FIRST
    judged = answer.points[:1] if first_only else answer.points
    right = tuple(_on_any(point, sample, width, height, radius) for point in judged)
    enough = first_only or sample.count in (None, len(judged))
    hit = all(right) and enough
    return Judgement(Verdict.HIT if hit else Verdict.MISSED, float(hit), right)


def _on_any(point: ImagePoint, sample: Sample, width: int, height: int, radius: float) -> bool:
    if sample.masks is not None:
        return any(lies_in(point, mask) for mask in sample.masks())
    reach = radius * hypot(width, height)
    return any(near(point, target, reach) for target in _pixels(sample, width, height))


def _pixels(sample: Sample, width: int, height: int) -> list[tuple[float, float]]:
    return [(x / 100 * width, y / 100 * height) for x, y in sample.targets]
