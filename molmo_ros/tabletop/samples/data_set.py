# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered tables as a data set: the questions are fixed by the seeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from molmo_ros.evaluation.samples import Image, Mask, PositionError, Rule, Sample
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundingSettings, ground
from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.spatial import LiftSettings, LiftStatus
from molmo_ros.spatial.lift_settings import DEFAULT_SETTINGS
from molmo_ros.tabletop.questions import TableQuestion, Target, Topic, ask
from molmo_ros.tabletop.samples.table_views import (
    SIZE,
    TableView,
    distance_to_object,
    true_position,
    view_of,
)
from molmo_ros.tabletop.samples.tables import (
    is_bare,
    masks_of,
    percent,
    things_of,
    understood,
    world_of,
)
from molmo_ros.tabletop.world import EASY, HELD_OUT, RICH, TABLES, TableSpec

SOURCE = 'tabletop:'
_ATTEMPTS = 4


def easy_samples(seeds: Iterable[int], size: tuple[int, int] = SIZE) -> Iterator[Sample]:
    """On easy tables: every object by colour and kind, and one thing that is not there."""
    for seed in seeds:
        view = view_of(seed, EASY, size)
        for question in _easy_questions(view):
            yield _sample(view, EASY, question, question.query)


def rich_samples(
    seeds: Iterable[int], size: tuple[int, int] = SIZE, per_topic: int = 1
) -> Iterator[Sample]:
    """On rich tables: up to `per_topic` different questions of every topic that a table allows."""
    world = world_of(RICH)
    for seed in seeds:
        view = view_of(seed, RICH, size)
        things = things_of(view)
        for topic in Topic:
            rng = random.Random(f'{seed} {topic.value}')
            asked: dict[str, TableQuestion] = {}
            for _ in range(per_topic * _ATTEMPTS):
                question = ask(things, topic, world, rng, partial(is_bare, view))
                if question is not None and len(asked) < per_topic:
                    asked.setdefault(question.query, question)
            for number, question in enumerate(asked.values()):
                yield _sample(view, RICH, question, f'{topic.value} {number}')


def understood_sample(
    text: str, seed: int, spec: TableSpec, size: tuple[int, int] = SIZE
) -> Sample | None:
    """Somebody's own words about a table; None where they cannot be judged (see `understood`)."""
    view = view_of(seed, spec, size)
    question = understood(text, view, spec)
    return None if question is None else _sample(view, spec, question, text)


def lifted_by(settings: LiftSettings, samples: Iterable[Sample]) -> Iterator[Sample]:
    """These samples, whose positions are lifted so."""
    for sample in samples:
        if isinstance(sample.position, partial):
            yield replace(sample, position=partial(sample.position, lift=settings))
        else:
            yield sample


def shown_again(source: str) -> Image:
    """The picture that a sample's `source` names. Raises ValueError where it names no table."""
    _, table, seed, size = source.split(':')
    width, _, height = size.partition('x')
    return view_of(int(seed), TABLES[table], (int(width), int(height))).picture.color


def spec_name(spec: TableSpec) -> str:
    """Its name among TABLES; '' where it is none of them."""
    return next((name for name, one in TABLES.items() if one == spec), '')


def _easy_questions(view: TableView) -> list[TableQuestion]:
    """Of colour and kind, which no two objects share; what is absent is fixed by the seed."""
    questions = []
    for index, truth in enumerate(view.truths):
        query, point = f'the {truth.colour} {truth.kind}', percent(truth.target, view)
        questions.append(TableQuestion(Topic.ONE, query, Mode.POINT, (Target(point, index),)))
    present = {(truth.colour, truth.kind) for truth in view.truths}
    pairs = [(c, k) for c in EASY.colours for k in EASY.kinds if (c, k) not in present]
    colour, kind = random.Random(view.scene.seed).choice(pairs)
    return [*questions, TableQuestion(Topic.ABSENT, f'the {colour} {kind}', Mode.POINT, ())]


def _sample(view: TableView, spec: TableSpec, question: TableQuestion, name: str) -> Sample:
    """It holds no picture: the gallery renders again what it shows."""
    seed, targets = view.scene.seed, question.targets
    height, width = view.picture.depth.shape
    shown = partial(view_of, seed, spec, (width, height))
    sample = Sample(
        id=f'{seed} {name}',
        image_id=str(seed),
        image=partial(_color, shown),
        query=question.query,
        mode=question.mode,
        topic=question.topic.value,
        rule=_rule(question),
        targets=tuple(target.point for target in targets),
        count=len(targets),
        masks=partial(_masks, shown, question) if targets else None,
        facts=_facts(view, spec, question),
        source=f'{SOURCE}{spec_name(spec)}:{seed}:{width}x{height}',
    )
    thing = targets[0].thing if targets else None
    if sample.rule is not Rule.FIRST or thing is None:
        return sample
    return replace(sample, position=partial(_position, shown, thing))


def _rule(question: TableQuestion) -> Rule:
    if question.topic is Topic.COUNT:
        return Rule.COUNT
    return Rule.EVERY if question.topic is Topic.ALL else Rule.FIRST


def _facts(view: TableView, spec: TableSpec, question: TableQuestion) -> dict[str, str]:
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
    facts = {'kind': thing.kind, 'colour': thing.colour}
    if not spec.rich:
        return facts
    seen = (thing.kind, thing.colour) not in HELD_OUT
    return {
        **facts,
        'pattern': thing.pattern,
        'kind and colour': 'together in training' if seen else 'never together in training',
    }


def _color(shown: Callable[[], TableView]) -> Image:
    return shown().picture.color


def _masks(shown: Callable[[], TableView], question: TableQuestion) -> tuple[Mask, ...]:
    return masks_of(shown(), question)


def _position(
    shown: Callable[[], TableView],
    index: int,
    point: ImagePoint,
    lift: LiftSettings = DEFAULT_SETTINGS,
) -> PositionError:
    """Lifted from the renderer's exact depth."""
    view = shown()
    picture = view.picture
    frame = Frame(picture.color, picture.depth, picture.camera, 0, '')
    surface = ground([point], Capture(frame), GroundingSettings(lift)).points[0].surface
    if surface.status is not LiftStatus.OK:
        return PositionError(surface.status)
    return PositionError(
        surface.status,
        float(np.linalg.norm(surface.position - true_position(view, point))),
        distance_to_object(view, index, surface.position),
    )
