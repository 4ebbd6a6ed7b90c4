# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered tables as a data set: the questions are fixed by the seeds."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from molmo_ros.camera.tabletop import EASY, HELD_OUT, RICH, TableSpec
from molmo_ros.evaluation.questions import TableQuestion, Topic, ask
from molmo_ros.evaluation.samples import Image, Mask, PositionError, Rule, Sample
from molmo_ros.evaluation.tables import is_bare, masks_of, percent, things_of, world_of
from molmo_ros.evaluation.views import (
    SIZE,
    Query,
    View,
    absent_query,
    distance_to_object,
    object_queries,
    true_position,
    view_of,
)
from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.spatial import LiftStatus, lift

_ATTEMPTS = 4

# Samples of one table follow each other; the gallery renders again what it shows.
_view = lru_cache(maxsize=2)(view_of)


def easy_samples(seeds: Iterable[int], size: tuple[int, int] = SIZE) -> Iterator[Sample]:
    """On easy tables: every object by colour and kind, and one thing that is not there."""
    for seed in seeds:
        view = _view(seed, EASY, size)
        for query in (*object_queries(view), absent_query(view)):
            yield _easy_sample(view, query, size)


def rich_samples(
    seeds: Iterable[int], size: tuple[int, int] = SIZE, per_topic: int = 1
) -> Iterator[Sample]:
    """On rich tables: up to `per_topic` different questions of every topic that a table allows."""
    world = world_of(RICH)
    for seed in seeds:
        view = _view(seed, RICH, size)
        things = things_of(view)
        for topic in Topic:
            rng = random.Random(f'{seed} {topic.value}')
            asked: dict[str, TableQuestion] = {}
            for _ in range(per_topic * _ATTEMPTS):
                question = ask(things, topic, world, rng, partial(is_bare, view))
                if question is not None and len(asked) < per_topic:
                    asked.setdefault(question.query, question)
            for number, question in enumerate(asked.values()):
                yield _rich_sample(view, question, number, size)


def _easy_sample(view: View, query: Query, size: tuple[int, int]) -> Sample:
    seed, target = view.scene.seed, query.target
    absent = Sample(
        id=f'{seed} {query.text}',
        image_id=str(seed),
        image=partial(_color, seed, EASY, size),
        query=query.text,
        mode=Mode.POINT,
        topic=Topic.ABSENT.value,
        rule=Rule.FIRST,
        count=0,
    )
    if target is None:
        return absent
    return replace(
        absent,
        topic=Topic.ONE.value,
        targets=(percent(view.truths[target].target, view),),
        count=1,
        masks=partial(_object_mask, seed, EASY, size, target),
        facts={'kind': query.kind, 'colour': query.colour},
        position=partial(_position, seed, EASY, size, target),
    )


def _rich_sample(view: View, question: TableQuestion, number: int, size: tuple[int, int]) -> Sample:
    seed, targets = view.scene.seed, question.targets
    sample = Sample(
        id=f'{seed} {question.topic.value} {number}',
        image_id=str(seed),
        image=partial(_color, seed, RICH, size),
        query=question.query,
        mode=question.mode,
        topic=question.topic.value,
        rule=_rule(question),
        targets=tuple(target.point for target in targets),
        count=len(targets),
        masks=partial(_question_masks, seed, size, question) if targets else None,
        facts=_facts(view, question),
    )
    thing = targets[0].thing if targets else None
    if sample.rule is not Rule.FIRST or thing is None:
        return sample
    return replace(sample, position=partial(_position, seed, RICH, size, thing))


def _rule(question: TableQuestion) -> Rule:
    if question.topic is Topic.COUNT:
        return Rule.COUNT
    return Rule.EVERY if question.topic is Topic.ALL else Rule.FIRST


def _facts(view: View, question: TableQuestion) -> dict[str, str]:
    """What the figures are broken down by: what was asked for, where it is a single thing."""
    number = str(len(question.targets))
    if question.topic is Topic.COUNT:
        return {'true count': number}
    if question.topic is Topic.ALL:
        return {'things to find': number}
    index = question.targets[0].thing if question.targets else None
    if index is None:
        return {}
    thing = view.truths[index]
    if question.topic is Topic.PART:
        return {'part': f'{thing.kind}, {question.targets[0].part}'}
    if question.topic is not Topic.ONE:
        return {}
    seen = (thing.kind, thing.colour) not in HELD_OUT
    return {
        'kind': thing.kind,
        'colour': thing.colour,
        'pattern': thing.pattern,
        'kind and colour': 'together in training' if seen else 'never together in training',
    }


def _color(seed: int, spec: TableSpec, size: tuple[int, int]) -> Image:
    return _view(seed, spec, size).picture.color


def _object_mask(seed: int, spec: TableSpec, size: tuple[int, int], index: int) -> tuple[Mask]:
    return (_view(seed, spec, size).truths[index].mask,)


def _question_masks(seed: int, size: tuple[int, int], question: TableQuestion) -> tuple[Mask, ...]:
    return masks_of(_view(seed, RICH, size), question)


def _position(
    seed: int, spec: TableSpec, size: tuple[int, int], index: int, point: ImagePoint
) -> PositionError:
    """Lifted from the renderer's exact depth."""
    view = _view(seed, spec, size)
    surface = lift(point.u - 0.5, point.v - 0.5, view.picture.depth, view.picture.camera)
    if surface.status is not LiftStatus.OK:
        return PositionError(surface.status)
    return PositionError(
        surface.status,
        float(np.linalg.norm(surface.position - true_position(view, point))),
        distance_to_object(view, index, surface.position),
    )
