# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two runs over the same questions, pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb, nan, sqrt
from typing import Any

import numpy as np

from molmo_ros.evaluation.evaluate import Evaluated
from molmo_ros.evaluation.metrics import Rate
from molmo_ros.evaluation.predictions import Predictions
from molmo_ros.evaluation.records import PictureOf, asks_the_same
from molmo_ros.evaluation.samples import InvalidData

SCHEMA, VERSION = 'molmo_ros/comparison', 1
_Z95 = 1.959963984540054
_FEW = 3  # that are named where questions are not the same


@dataclass(frozen=True, eq=False)
class Pair:
    """One question as both answered it."""

    a: Evaluated
    b: Evaluated

    @property
    def only_a(self) -> bool:
        """Whether the first is right and the second is not."""
        return self.a.judgement.verdict.right and not self.b.judgement.verdict.right

    @property
    def only_b(self) -> bool:
        """Whether the second is right and the first is not."""
        return self.b.judgement.verdict.right and not self.a.judgement.verdict.right


@dataclass(frozen=True)
class Paired:
    """The pairs, and how many questions only the first or only the second run has."""

    pairs: Sequence[Pair]
    a_alone: int = 0
    b_alone: int = 0


def paired(a: Predictions, b: Predictions, picture_of: PictureOf) -> Paired:
    """The questions that both runs answered, judged anew.

    Raises InvalidData where none are the same, or one of them was not the same question to both.
    """
    shared = [id for id in a.records if id in b.records]
    if not shared:
        raise InvalidData(f'{a.path} and {b.path} have no question in common')
    other = [id for id in shared if not asks_the_same(a.records[id], b.records[id])]
    if other:
        raise InvalidData(
            f'{len(other)} of {len(shared)} questions, or their truths, are not the same in '
            f'{a.path} and {b.path}, the first of them {", ".join(other[:_FEW])}: compare runs '
            'over the same data'
        )
    ones = {result.sample.id: result for result in a.results(picture_of)}
    others = {result.sample.id: result for result in b.results(picture_of)}
    pairs = [Pair(ones[id], others[id]) for id in shared]
    return Paired(pairs, len(ones) - len(pairs), len(others) - len(pairs))


def comparison(a: Predictions, b: Predictions, found: Paired) -> dict[str, Any]:
    """All figures, as plain data that JSON can hold but for NaN."""
    by_topic: dict[str, list[Pair]] = {}
    for pair in found.pairs:
        by_topic.setdefault(pair.a.sample.topic, []).append(pair)
    return {
        'schema': SCHEMA,
        'version': VERSION,
        'a': dict(a.settings),
        'b': dict(b.settings),
        'questions': len(found.pairs),
        'pictures': len({pair.a.sample.image_id for pair in found.pairs}),
        'a_alone': found.a_alone,
        'b_alone': found.b_alone,
        'a_taught': _taught(pair.a for pair in found.pairs),
        'b_taught': _taught(pair.b for pair in found.pairs),
        'all': _figures(found.pairs),
        'topics': {topic: _figures(pairs) for topic, pairs in by_topic.items()},
        'only_a_right': [pair.a.sample.id for pair in found.pairs if pair.only_a],
        'only_b_right': [pair.a.sample.id for pair in found.pairs if pair.only_b],
    }


def mcnemar(only_a: int, only_b: int) -> float:
    """The two-sided p value of the exact test: that a fair coin parts them so unevenly.

    only_a, only_b: how many are right in one run alone. 1 where nothing parts them.
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def difference(only_a: int, only_b: int, n: int) -> tuple[float, tuple[float, float]]:
    """By how much the share that is right is larger in the second run, and its 95 % interval.

    n: of pairs. The interval is that of Bonett and Price (2012) for paired shares. NaN of nothing.
    """
    if not n:
        return nan, (nan, nan)
    one, other = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = _Z95 * sqrt((one + other - (other - one) ** 2) / (n + 2))
    middle = other - one
    return (only_b - only_a) / n, (max(middle - half, -1.0), min(middle + half, 1.0))


def _figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    only_a, only_b = sum(pair.only_a for pair in pairs), sum(pair.only_b for pair in pairs)
    better, interval = difference(only_a, only_b, len(pairs))
    return {
        'n': len(pairs),
        'a': _rate([pair.a for pair in pairs]),
        'b': _rate([pair.b for pair in pairs]),
        'only_a_right': only_a,
        'only_b_right': only_b,
        'difference': better,
        'interval_95': [*interval],
        'p': mcnemar(only_a, only_b),
    }


def _taught(results: Iterable[Evaluated]) -> int:
    """How many are about pictures that the checkpoint was taught from."""
    return sum(result.sample.facts.get('taught') == 'yes' for result in results)


def _rate(results: Sequence[Evaluated]) -> dict[str, Any]:
    rate = Rate(sum(result.judgement.verdict.right for result in results), len(results))
    scores = [result.judgement.score for result in results]
    return {
        'right': rate.hits,
        'rate': rate.value,
        'interval_95': [*rate.interval],
        'mean_score': float(np.mean(scores)) if scores else nan,
    }
