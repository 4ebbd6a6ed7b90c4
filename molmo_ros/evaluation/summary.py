# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation, as plain data that JSON can hold but for NaN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from molmo_ros.evaluation.evaluate import Evaluated
from molmo_ros.evaluation.judging import Verdict
from molmo_ros.evaluation.metrics import Calibration, Rate, calibration, median, percentile
from molmo_ros.evaluation.samples import Rule
from molmo_ros.spatial import LiftStatus

SCHEMA, VERSION = 'molmo_ros/evaluation', 1
SMALL_COUNT = 6


def figures_of(
    settings: Mapping[str, Any], results: Sequence[Evaluated], left_out: int, wall_s: float
) -> dict[str, Any]:
    """What `molmo-ros eval --json` tells: what was run, and all figures.

    settings: `data`, `model` with a `name` and a `checkpoint`, and whatever else was chosen.
    """
    taught = sum(result.sample.facts.get('taught') == 'yes' for result in results)
    warning = (
        f'{taught} of {len(results)} questions are about pictures that it was taught from: '
        'there the answers show what it remembers; --skip-taught leaves them out'
    )
    return {
        'schema': SCHEMA,
        'version': VERSION,
        **settings,
        'checkpoint': settings['model']['checkpoint'],
        **summary(results),
        'left_out': left_out,
        'warnings': [warning] if taught else [],
        'wall_s': wall_s,
    }


def summary(results: Sequence[Evaluated]) -> dict[str, Any]:
    """All figures: see docs/evaluation.md for what each means."""
    counted = [result for result in results if result.sample.rule is Rule.COUNT]
    pointed = [result for result in results if result.sample.rule is not Rule.COUNT]
    absent = [result for result in pointed if result.sample.absent]
    present = [result for result in pointed if not result.sample.absent]
    return {
        'pictures': len({result.sample.image_id for result in results}),
        'questions': len(results),
        'hits': {
            **_rate(present),
            'not_found': sum(r.judgement.verdict is Verdict.NOT_FOUND for r in present),
        },
        'absence': _rate(absent),
        'topics': {
            topic: {**_rate(some), **_pointing(some)}
            for topic, some in _grouped(results, lambda result: result.sample.topic)
        },
        'by': _facts(results),
        'pointing': _pointing(results),
        'counts': _counts(counted),
        'position_of_hits': _positions(results),
        'calibration': asdict(calibration_of(results)),
        'cost': _cost(results),
        'wrong': [_wrong(result) for result in results if not result.judgement.verdict.right],
    }


def calibration_of(results: Sequence[Evaluated]) -> Calibration:
    """Of every point that was judged and has a confidence."""
    return calibration(
        [
            (point.confidence, right)
            for result in results
            for point, right in zip(result.answer.points, result.judgement.points, strict=False)
        ]
    )


def _rate(results: Sequence[Evaluated]) -> dict[str, Any]:
    rate = Rate(sum(result.judgement.verdict.right for result in results), len(results))
    return {'rate': rate.value, 'right': rate.hits, 'n': rate.n, 'interval_95': [*rate.interval]}


def _grouped(
    results: Iterable[Evaluated], key: Callable[[Evaluated], str]
) -> list[tuple[str, list[Evaluated]]]:
    groups: dict[str, list[Evaluated]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return list(groups.items())


def _facts(results: Sequence[Evaluated]) -> dict[str, Any]:
    facts = {fact: None for result in results for fact in result.sample.facts}
    return {fact: _by_fact(results, fact) for fact in facts}


def _by_fact(results: Sequence[Evaluated], fact: str) -> dict[str, Any]:
    known = [result for result in results if fact in result.sample.facts]
    groups = _grouped(known, lambda result: result.sample.facts[fact])
    return {value: {**_rate(some), **_pointing(some)} for value, some in sorted(groups, key=_order)}


def _order(group: tuple[str, Any]) -> tuple[float, str]:
    """Numbers by size, before words by the alphabet."""
    first = group[0].split()[0] if group[0].split() else ''
    return (float(first) if first.isdecimal() else np.inf), group[0]


def _pointing(results: Sequence[Evaluated]) -> dict[str, Any]:
    """Means over the questions that are scored by pairs; nothing where there is none."""
    scores = [r.judgement.pointing for r in results if r.judgement.pointing is not None]
    if not scores:
        return {}
    return {
        name: float(np.mean([getattr(score, name) for score in scores]))
        for name in ('precision', 'recall', 'f1')
    }


def _counts(results: Sequence[Evaluated]) -> dict[str, Any]:
    small = [result for result in results if (result.sample.count or 0) <= SMALL_COUNT]
    off = [abs(r.answer.how_many - (r.sample.count or 0)) for r in results]
    within_one = Rate(sum(error <= 1 for error in off), len(off))
    return {
        **_rate(results),
        f'up_to_{SMALL_COUNT}': _rate(small),
        'within_one': within_one.value,
        'mean_absolute_error': float(np.mean(off)) if off else float('nan'),
    }


def _positions(results: Sequence[Evaluated]) -> dict[str, Any]:
    measured = [result.position for result in results if result.position is not None]
    lifted = [position for position in measured if position.status is LiftStatus.OK]
    at_pixel = [position.at_pixel for position in lifted]
    to_object = [position.to_object for position in lifted]
    return {
        'n': len(lifted),
        'not_lifted': len(measured) - len(lifted),
        'median_error_m': median(at_pixel),
        'p90_error_m': percentile(at_pixel, 90),
        'median_distance_to_object_m': median(to_object),
        'p90_distance_to_object_m': percentile(to_object, 90),
    }


def _cost(results: Sequence[Evaluated]) -> dict[str, Any]:
    first = [result for result in results if result.first]
    later = [result for result in results if not result.first]
    stages = {stage: None for result in first for stage in result.answer.timings}
    return {
        'engine_s': sum(result.seconds for result in results),
        'median_passes': median([result.answer.passes for result in results]),
        'p95_s': percentile([result.seconds for result in results], 95),
        'median_s_same_picture': median([result.seconds for result in later]),
        'median_s_new_picture': median([result.seconds for result in first]),
        'median_s_new_picture_by_stage': {
            stage: median([result.answer.timings.get(stage, 0.0) for result in first])
            for stage in stages
        },
    }


def _wrong(result: Evaluated) -> dict[str, Any]:
    sample = result.sample
    return {
        'id': sample.id,
        'topic': sample.topic,
        'query': sample.query,
        'verdict': result.judgement.verdict.value,
        'score': result.judgement.score,
        'answer': result.answer.text,
    }
