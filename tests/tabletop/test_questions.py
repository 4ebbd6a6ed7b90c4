# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Only questions with one right answer are asked, and the answer is Molmo's."""

import random
from dataclasses import replace

import pytest

from molmo_ros.pointing import ABSENT, NOT_IN_IMAGE, Mode, label_for, prompt_for, read_points
from molmo_ros.tabletop.questions import Thing, Topic, World, answer_for, ask, prompt_of

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


def test_what_is_hardly_seen_neither_makes_nor_breaks_a_question():
    things = [thing('red mug', 10), thing('blue mug', 40, visible=0.2), thing('red box', 80)]
    assert not {'the blue mug', 'the mug'} & set(questions(things, Topic.ONE))
    assert not {'mugs', 'blue mugs', 'objects'} & set(questions(things, Topic.COUNT))
    everything = {'everything on the table', 'all objects', 'every object'}
    assert not everything & set(questions(things, Topic.ALL))
    assert not [q for q in questions(things, Topic.ABSENT) if 'blue mug' in q]
    assert 'the red mug' in questions(things, Topic.ONE)
    assert 'all red objects' in questions(things, Topic.ALL)


def test_large_and_small_need_two_of_clearly_different_size():
    large, small = thing('red mug', 10, size=0.14, area=4.0), thing('blue mug', 60)
    assert {'the large mug', 'the small mug'} <= set(questions([large, small], Topic.ONE))
    for others in ([thing('blue mug', 60, size=0.12)], [small, thing('green mug', 80)]):
        assert not [q for q in questions([large, *others], Topic.ONE) if 'large' in q]


def test_a_part_is_asked_for_where_only_one_is_seen():
    mugs = [thing('red mug', 10, parts={'handle': (5, 40)}), thing('blue mug', 60)]
    asked = questions(mugs, Topic.PART)
    assert {
        "the red mug's handle",
        'the handle of the mug',
        'the mug handle',
        'the handle',
    } <= set(asked)
    for question in asked.values():
        assert question.targets[0].point == (5, 40)
        assert (question.targets[0].thing, question.targets[0].part) == (0, 'handle')
    mugs[1] = thing('blue mug', 60, parts={'handle': (65, 40)})
    asked = questions(mugs, Topic.PART)
    assert "the red mug's handle" in asked
    assert 'the mug handle' not in asked and 'the handle' not in asked


def test_all_means_every_one_of_them():
    things = [thing('red mug', 10), thing('blue mug', 40), thing('red box', 80)]
    meant = {
        q.query: {t.thing for t in q.targets} for q in questions(things, Topic.ALL, 900).values()
    }
    assert meant['all mugs'] == meant['every mug'] == meant['the mugs'] == {0, 1}
    assert meant['all red objects'] == {0, 2}
    assert meant['everything on the table'] == {0, 1, 2}
    assert meant['all boxes'] == {2}


def test_plain_is_said_only_beside_a_pattern():
    striped, plain = thing('striped red mug', 10), thing('red mug', 40)
    assert 'the plain red mug' in questions([striped, plain], Topic.ONE)
    assert not [q for q in questions([plain, thing('red box')], Topic.ONE) if 'plain' in q]


def test_plurals_are_english():
    things = [thing('red knife', 10), thing('blue knife', 40), thing('red box', 80)]
    things += [thing('green scissors', 20), thing('blue scissors', 90)]
    words = ' '.join(questions(things, Topic.COUNT, 900))
    assert 'knives' in words and 'boxes' in words and 'scissors' in words
    assert 'knifes' not in words and 'scissorses' not in words
    assert not [q for q in questions(things, Topic.ALL, 900) if q.startswith('every scissors')]


def test_counts_say_how_many_and_none_is_said_as_molmo_says_it():
    things = [thing('red mug', 10), thing('blue mug', 40), thing('red box', 80)]
    asked = questions(things, Topic.COUNT, 900)
    mugs = asked['mugs']
    assert mugs.mode is Mode.COUNT
    assert read_points(mugs.answer, 100, 100).count == 2
    assert mugs.answer.endswith('>mugs</points> shows a total of 2.')
    nothing = [question for question in asked.values() if not question.targets]
    assert nothing and all(question.answer == f' {ABSENT}' for question in nothing)
    assert {len(question.targets) for question in asked.values()} == {0, 1, 2, 3}


def relations(things):
    """What each relation to the mug means."""
    return {
        words: question.targets[0].thing
        for query, question in questions(things, Topic.RELATION, 1500).items()
        for head, _, words in [query.partition('the object ')]
        if not head and query.endswith('the mug')
    }


def test_left_and_right_are_those_of_the_image():
    things = [thing('red mug', 50), thing('red box', 20), thing('blue ball', 75)]
    meant = relations(things)
    assert meant['left of the mug'] == meant['to the left of the mug'] == 1
    assert meant['right of the mug'] == 2


def test_two_about_as_near_to_the_left_are_not_asked_for():
    things = [thing('red mug', 50), thing('red box', 20, 40), thing('blue ball', 22, 60)]
    assert not [words for words in relations(things) if 'left' in words]


def test_something_mostly_above_is_not_left():
    things = [thing('red mug', 50, 80), thing('red box', 40, 20), thing('blue ball', 90, 80)]
    assert not [words for words in relations(things) if 'left' in words]


def test_behind_and_in_front_are_along_the_table():
    things = [
        thing('red mug', 50, 50),
        thing('red box', 52, 20, far=1.2),
        thing('blue ball', 48, 80, far=0.8),
    ]
    meant = relations(things)
    assert meant['behind the mug'] == 1
    assert meant['in front of the mug'] == 2


def test_nearest_is_in_space_and_needs_a_margin():
    # In the image the ball is nearer to the mug, but it is far behind.
    mug, box = thing('red mug', 50, 50), thing('red box', 60, 50, across=0.1)
    ball = thing('blue ball', 52, 40, across=0.02, far=1.5)
    assert relations([mug, box, ball])['nearest to the mug'] == 1
    close = thing('blue ball', 40, 50, across=-0.11)
    assert not [words for words in relations([mug, box, close]) if 'nearest' in words]


def test_between_two_lies_one_thing():
    things = [thing('red mug', 20), thing('blue can', 80), thing('red box', 50, 52)]
    asked = questions(things, Topic.RELATION, 2000)
    between = [q for query, q in asked.items() if 'between' in query]
    assert between and all(q.targets[0].thing == 2 for q in between)
    things.append(thing('green ball', 60, 55))
    asked = questions(things, Topic.RELATION, 2000)
    assert not [q for q in asked if q.startswith('the object between the mug and the can')]


def test_a_doubtful_thing_in_the_way_leaves_a_relation_unasked():
    things = [thing('red mug', 50), thing('red box', 20), thing('blue ball', 35, visible=0.2)]
    assert not [words for words in relations(things) if 'left' in words]


def test_a_question_knows_which_things_it_names_to_find_another():
    things = [
        thing('red mug', 10, parts={'handle': (5, 50)}),
        thing('red box', 50),
        thing('blue box', 90),
    ]
    named = {'red mug': 0, 'mug': 0, 'red box': 1, 'blue box': 2}
    for topic, mentions in ((Topic.PART, 1), (Topic.RELATION, 1), (Topic.SPACE, 2)):
        asked = [q for q in questions(things, topic).values() if q.mentions]
        assert asked
        for question in asked:
            assert len(question.mentions) >= mentions
            start = 0
            for words, meant in question.mentions:
                start = question.query.index(words.removeprefix('the '), start) + 1
                name = words.removeprefix('the ').removeprefix('plain ')
                assert named[name.replace('plain ', '')] == meant


def test_extremes_need_a_margin():
    things = [
        thing('red mug', 10, far=0.8, size=0.15, area=6.0),
        thing('blue mug', 40, far=1.0),
        thing('red box', 80, far=1.3, size=0.05, area=0.5),
    ]
    meant = {q.query: q.targets[0].thing for q in questions(things, Topic.EXTREME, 1500).values()}
    assert meant['the largest mug'] == meant['the biggest object'] == 0
    assert meant['the smallest object'] == 2 and meant['the smallest mug'] == 1
    assert meant['the leftmost object'] == 0 and meant['the rightmost mug'] == 1
    assert meant['the object closest to the camera'] == 0 and meant['the farthest object'] == 2
    alike = [thing('red mug', 50), thing('blue mug', 51, 60)]
    assert not questions(alike, Topic.EXTREME)


def test_larger_must_look_larger_too():
    things = [thing('red mug', 10, size=0.2, area=1.0), thing('blue mug', 60, area=4.0)]
    asked = questions(things, Topic.EXTREME)
    assert not [query for query in asked if 'large' in query or 'big' in query or 'small' in query]


def test_the_space_between_two_is_their_middle_where_it_is_free():
    things = [thing('red mug', 20, 40), thing('red box', 60, 60)]
    for question in questions(things, Topic.SPACE).values():
        assert question.targets[0].point == (40, 50) and question.targets[0].thing is None
        assert set(question.between) == {0, 1}
    assert 'the empty space between the mug and the box' in questions(things, Topic.SPACE)
    assert not questions(things, Topic.SPACE, free=lambda x, y: False)
    in_the_way = [*things, thing('blue ball', 41, 51)]
    between = [set(q.between) for q in questions(in_the_way, Topic.SPACE).values()]
    assert {0, 1} not in between
    assert not questions([thing('red mug', 48), thing('red box', 52)], Topic.SPACE)


def test_what_training_never_shows_is_not_told_absent_either():
    untold = frozenset({('mug', 'green'), ('box', 'blue'), ('ball', 'red')})
    world, rng = replace(WORLD, untold=untold), random.Random(0)
    things = [thing('red mug', 10), thing('red box', 60)]
    for topic in (Topic.ABSENT, Topic.COUNT):
        asked = [ask(things, topic, world, rng) for _ in range(2000)]
        queries = ' | '.join(question.query for question in asked if question is not None)
        assert 'blue mug' in queries and 'green box' in queries
        assert 'green mug' not in queries and 'blue box' not in queries
        # A mug might be the green thing that is looked for, and something red the ball.
        assert 'green object' not in queries and 'green thing' not in queries
        assert 'green ball' in queries
        assert not any(bare in queries for bare in ('the ball', 'all balls', '| ball'))


def test_absent_is_absent():
    things = [thing('striped red mug', 10, parts={'handle': (5, 40)}), thing('blue box', 60)]
    asked = questions(things, Topic.ABSENT, 3000)
    assert all(not question.targets for question in asked.values())
    present = {'the mug', 'the red mug', 'the striped mug', 'the box', 'the red object'}
    assert not present & set(asked)
    assert {'the blue mug', 'the red box', 'the ball', 'the striped box', 'all balls'} <= set(asked)
    assert 'the handle of the box' in asked and 'the handle of the mug' not in asked
    assert 'the object left of the ball' in asked
    assert {question.mode for question in asked.values()} == {Mode.POINT, Mode.COUNT}


@pytest.mark.parametrize('topic', Topic)
def test_answers_read_back_as_the_targets(topic):
    rng = random.Random(1)
    for _ in range(300):
        things = random_table(rng)
        question = ask(things, topic, WORLD, rng)
        if question is None:
            continue
        reading = read_points(answer_for(question, prompt_of(question, rng)), 100, 100)
        assert len(reading.points) == len(question.targets)
        for point, target in zip(reading.points, question.targets, strict=True):
            assert (point.u, point.v) == pytest.approx(target.point, abs=0.0501)  # as written
        assert reading.absent is not bool(question.targets)
        if question.mode is Mode.COUNT and question.targets:
            assert reading.count == len(question.targets)


def random_table(rng):
    """2 to 10 things anywhere."""
    return [
        thing(
            f'{rng.choice(WORLD.patterns)} {rng.choice(WORLD.colours)} {rng.choice(WORLD.kinds)}',
            x := round(rng.uniform(5, 95), 1),
            y := round(rng.uniform(5, 95), 1),
            far=rng.uniform(0.6, 1.2),
            size=rng.uniform(0.05, 0.2),
            area=rng.uniform(0.3, 5),
            visible=rng.choice((1.0, 1.0, 0.7, 0.2)),
            parts={'handle': (round(x / 2, 1), y)} if rng.random() < 0.4 else None,
        )
        for _ in range(rng.randint(2, 10))
    ]


@pytest.mark.parametrize('topic', Topic)
def test_a_bare_table_is_asked_about_nothing_that_is_there(topic):
    question = ask([], topic, WORLD, random.Random(0))
    assert question is None or not question.targets
