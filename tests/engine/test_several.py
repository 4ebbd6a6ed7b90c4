# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several questions about one image: each has an end of its own, and none spoils another's."""

import pytest

from benchmarks.random_molmo import LIST
from molmo_ros.engine import (
    Answer,
    Engine,
    EngineError,
    InvalidImage,
    InvalidQuestion,
    OneByOne,
    Question,
    QueuedQuestion,
    Stopped,
    load_engine,
)


@pytest.fixture
def listing(checkpoint):
    """An engine that points at three places, unless it is to stop before."""
    return load_engine(checkpoint(pieces=LIST))


class Wanted:
    """One question, and what it was told."""

    def __init__(self, query, max_points=1, passes=99):
        self.question = Question(query, max_points=max_points)
        self.told, self.left = [], passes + 2  # asked before the image and before its encoder too

    def should_stop(self):
        self.left -= 1
        return self.left < 0

    @property
    def asked(self):
        return QueuedQuestion(self.question, self.told.append, self.should_stop)

    @property
    def outcome(self):
        (outcome,) = self.told
        return outcome


def test_one_that_is_stopped_or_wrong_does_not_touch_the_others(listing, images):
    alone = [listing.answer(images(0), Question(q, max_points=2)).tokens for q in ('mug', 'cup')]
    mug, cup = Wanted('mug', 2), Wanted('cup', 2)
    empty, long, stopped = Wanted(' '), Wanted('x' * 900), Wanted('bowl', 2, passes=3)
    listing.answer_each(images(1), [one.asked for one in (empty, mug, stopped, long, cup)])
    assert isinstance(empty.outcome, InvalidQuestion) and isinstance(long.outcome, InvalidQuestion)
    assert isinstance(stopped.outcome, Stopped)
    assert [mug.outcome.tokens, cup.outcome.tokens] == alone


def test_if_all_are_stopped_no_further_pass_is_made(listing, images):
    one, other = Wanted('mug', 3, passes=2), Wanted('cup', 3, passes=1)
    listing.answer_each(images(0), [one.asked, other.asked])
    assert isinstance(one.outcome, Stopped) and isinstance(other.outcome, Stopped)
    assert one.left == other.left == -1


def test_a_short_answer_is_told_while_a_long_one_is_still_written(listing, images):
    order = []
    asked = [
        QueuedQuestion(Question('mugs', max_points=3), lambda answer: order.append(answer)),
        QueuedQuestion(Question('a cup', max_points=1), lambda answer: order.append(answer)),
    ]
    listing.answer_each(images(0), asked)
    short, long = order
    assert (len(short.points), len(long.points)) == (1, 3)
    assert short.passes < long.passes and short.work['choices'] < long.work['choices']


def test_a_bad_image_is_told_to_all(listing, images):
    wanted = [Wanted('mug'), Wanted('cup')]
    listing.answer_each(images(0)[:3], [one.asked for one in wanted])
    assert all(isinstance(one.outcome, InvalidImage) for one in wanted)


class OneAtATime:
    """The least that can answer, as others may write it."""

    def answer(self, image, question, should_stop):
        if question.query == 'fail':
            raise RuntimeError('out of order')
        return Answer(question.query, (), None, absent=True)

    def close(self):
        pass


def test_what_knows_one_question_at_a_time_is_asked_in_turn(images):
    wanted = [Wanted('mug'), Wanted('fail'), Wanted('cup')]
    OneByOne(OneAtATime()).answer_each(images(0), [one.asked for one in wanted])
    assert [wanted[0].outcome.text, wanted[2].outcome.text] == ['mug', 'cup']
    assert isinstance(wanted[1].outcome, RuntimeError)


def test_what_knows_one_question_at_a_time_is_a_whole_engine(images):
    engine = OneByOne(OneAtATime())
    assert engine.answer(images(0), Question('bowl')).text == 'bowl'
    both = engine.answer_many(images(0), [Question('mug'), Question('cup')])
    assert [answer.text for answer in both] == ['mug', 'cup']
    with pytest.raises(RuntimeError, match='out of order'):
        engine.answer_many(images(0), [Question('mug'), Question('fail')])


class Forgetful(Engine):
    """Tells nobody anything."""

    def answer_each(self, image, questions):
        pass

    def close(self):
        pass


def test_an_engine_that_tells_nothing_is_an_error_and_no_answer(images):
    with pytest.raises(EngineError, match='without an answer'):
        Forgetful().answer_many(images(0), [Question('mug')])


def test_many_questions_go_through_in_parts_and_encode_the_image_once(
    checkpoint, images, monkeypatch
):
    """Sixty-four long ones at once would take a mask of 400 MB."""
    questions = [Question(query) for query in ('mug', 'cup', 'bowl', 'jar', 'lid')]
    whole = load_engine(checkpoint(pieces=LIST)).answer_many(images(0), questions)
    monkeypatch.setattr('molmo_ros.engine.local.MAX_ROWS', 2 * whole[0].work['text_tokens'] // 5)
    parts = load_engine(checkpoint(pieces=LIST)).answer_many(images(0), questions)
    assert [answer.tokens for answer in parts] == [answer.tokens for answer in whole]
    assert parts[0].work['text_tokens'] < whole[0].work['text_tokens']
    assert {answer.work['crops'] for answer in parts} == {whole[0].work['crops']}
