# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Only questions with one right answer are asked, and the answer is Molmo's."""

import random

import pytest

from molmo_ros.evaluation.questions import Thing, Topic, World, answer_for, ask, prompt_of
from molmo_ros.pointing import ABSENT, NOT_IN_IMAGE, Mode, label_for, prompt_for, read_points

WORLD = World(
    kinds=('mug', 'box', 'ball', 'can', 'knife', 'apple'),
    colours=('red', 'green', 'blue', 'orange'),
    patterns=('plain', 'striped', 'spotted'),
    parts={'mug': ('handle',), 'knife': ('blade', 'handle')},
)


def thing(
    name, x=50.0, y=50.0, *, far=1.0, across=None, size=0.1, area=2.0, visible=1.0, parts=None
):
    """A thing called `[pattern] colour kind`."""
    *pattern, colour, kind = name.split()
    position = ((x - 50) / 100 if across is None else across, (1.0 - far) / 2, far)
    return Thing(
        kind,
        colour,
        pattern[0] if pattern else 'plain',
        (x, y),
        position,
        size,
        area,
        visible,
        parts or {},
    )


def questions(things, topic, tries=300, **options):
    """Every different question that the topic gives in many tries."""
    rng = random.Random(0)
    asked = (ask(things, topic, WORLD, rng, **options) for _ in range(tries))
    return {question.query: question for question in asked if question is not None}


def test_one_is_called_by_names_that_fit_it_alone():
    things = [thing('red mug', 10), thing('striped blue mug', 30), thing('red box', 60)]
    meant = {q.query: q.targets[0].thing for q in questions(things, Topic.ONE).values()}
    assert meant['the red mug'] == 0
    assert meant['the striped mug'] == 1
    assert meant['the box'] == 2
    assert not {'the mug', 'mug', 'the red object', 'a mug'} & set(meant)


@pytest.mark.parametrize('topic', Topic)
def test_the_same_seed_asks_the_same(topic):
    things = [thing('red mug', 10, parts={'handle': (5, 50)}), thing('red box', 60)]
    asked = [ask(things, topic, WORLD, random.Random(7)) for _ in range(2)]
    assert asked[0] == asked[1]


def test_targets_are_in_the_order_of_the_text():
    things = [thing('red mug', 50, 80), thing('red mug', 20, 10), thing('red mug', 50, 20)]
    for question in questions(things, Topic.ALL).values():
        assert [target.thing for target in question.targets] == [1, 2, 0]
        points = read_points(question.answer, 100, 100).points
        assert [(p.u, p.v) for p in points] == [target.point for target in question.targets]


def test_what_is_not_there_is_answered_as_the_prompt_asks():
    question = next(iter(questions([thing('red mug')], Topic.ABSENT).values()))
    assert answer_for(question, prompt_for(question.query, Mode.POINT)) == f' {NOT_IN_IMAGE}'
    assert answer_for(question, f'Find the {question.query}') == f' {ABSENT}'


def test_the_label_is_the_one_that_the_engine_drafts():
    things = [thing('red mug', 10, parts={'handle': (5, 50)}), thing('red mug', 60)]
    rng = random.Random(0)
    for topic in Topic:
        for question in questions(things, topic).values():
            assert label_for(question.query) in prompt_of(question, rng).lower()
            for point in read_points(question.answer, 100, 100).points:
                assert point.label == label_for(question.query)
