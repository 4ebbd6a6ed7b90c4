# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine measured on freshly rendered tables: does it point at what it was asked for?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from molmo_ros.engine import Answer, Engine, Question
from molmo_ros.evaluation.metrics import Rate, median, percentile
from molmo_ros.evaluation.views import (
    Query,
    Verdict,
    View,
    absent_query,
    distance_to_object,
    object_queries,
    true_position,
    verdict_of,
    view_of,
)
from molmo_ros.spatial import LiftStatus, lift


@dataclass(frozen=True, eq=False)
class Case:
    """One question and how it was answered.

    seconds: the whole answer, lifting not counted. error_at_pixel: metres from the lifted position
    to the surface that the point truly shows; error_to_object: to the nearest surface of the object
    asked for. NaN where there is no lifted point, or nothing to hold it against.
    """

    seed: int
    query: Query
    verdict: Verdict
    answer: Answer
    seconds: float
    lift_status: LiftStatus | None = None
    error_at_pixel: float = nan
    error_to_object: float = nan


def evaluate(engine: Engine, seeds: Iterable[int]) -> Iterator[Case]:
    """Ask for every object of every scene, and in each for one thing that is not there.

    Positions are lifted from the renderer's exact depth. Raises EngineError.
    """
    for seed in seeds:
        view = view_of(seed)
        for query in (*object_queries(view), absent_query(view)):
            yield ask(engine, view, query)


def ask(
    engine: Engine, view: View, query: Query, clock: Callable[[], float] = time.perf_counter
) -> Case:
    """Ask one question and judge the answer. Raises EngineError."""
    begun = clock()
    answer = engine.answer(view.picture.color, Question(query.text))
    seconds = clock() - begun
    seed, verdict = view.scene.seed, verdict_of(view, query, answer.points)
    if not answer.points or query.target is None:
        return Case(seed, query, verdict, answer, seconds)
    point = answer.points[0]
    surface = lift(point.u - 0.5, point.v - 0.5, view.picture.depth, view.picture.camera)
    if surface.status is not LiftStatus.OK:
        return Case(seed, query, verdict, answer, seconds, surface.status)
    at_pixel = float(np.linalg.norm(surface.position - true_position(view, point)))
    to_object = distance_to_object(view, query.target, surface.position)
    return Case(seed, query, verdict, answer, seconds, surface.status, at_pixel, to_object)


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """The figures, as plain data that JSON can hold but for NaN."""
    present = [case for case in cases if case.query.target is not None]
    absent = [case for case in cases if case.query.target is None]
    hits = [case for case in present if case.verdict is Verdict.HIT]
    lifted = [case for case in hits if case.lift_status is LiftStatus.OK]
    at_pixel = [case.error_at_pixel for case in lifted]
    to_object = [case.error_to_object for case in lifted]
    return {
        'scenes': len({case.seed for case in cases}),
        'hits': {
            **_rate(present),
            'not_found': sum(case.verdict is Verdict.NOT_FOUND for case in present),
            'by_kind': _by(present, lambda query: query.kind),
            'by_colour': _by(present, lambda query: query.colour),
        },
        'absence': _rate(absent),
        'position_of_hits': {
            'n': len(lifted),
            'not_lifted': len(hits) - len(lifted),
            'median_error_m': median(at_pixel),
            'p90_error_m': percentile(at_pixel, 90),
            'median_distance_to_object_m': median(to_object),
            'p90_distance_to_object_m': percentile(to_object, 90),
        },
        'cost': _cost(cases),
        'wrong': [_wrong(case) for case in cases if not case.verdict.right],
    }


def _rate(cases: Sequence[Case]) -> dict[str, Any]:
    rate = Rate(sum(case.verdict.right for case in cases), len(cases))
    return {'rate': rate.value, 'right': rate.hits, 'n': rate.n, 'interval_95': [*rate.interval]}


def _by(cases: Sequence[Case], key: Callable[[Query], str]) -> dict[str, Any]:
    names = sorted({key(case.query) for case in cases})
    return {name: _rate([case for case in cases if key(case.query) == name]) for name in names}


def _cost(cases: Sequence[Case]) -> dict[str, Any]:
    # The engine may remember a picture: only the first question about it pays for all stages.
    first = list({case.seed: case for case in reversed(cases)}.values())
    later = [case for case in cases if case not in first]
    stages = {stage: None for case in first for stage in case.answer.timings}
    return {
        'median_passes': median([case.answer.passes for case in cases]),
        'p95_s': percentile([case.seconds for case in cases], 95),
        'median_s_same_picture': median([case.seconds for case in later]),
        'median_s_new_picture': median([case.seconds for case in first]),
        'median_s_new_picture_by_stage': {
            stage: median([case.answer.timings.get(stage, 0.0) for case in first])
            for stage in stages
        },
    }


def _wrong(case: Case) -> dict[str, Any]:
    return {
        'seed': case.seed,
        'query': case.query.text,
        'verdict': case.verdict.value,
        'answer': case.answer.text,
    }
