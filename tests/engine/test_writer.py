# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drafts are verified token by token: they save passes and change nothing, in either language."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_ros.engine import Question
from molmo_ros.engine.writer import Prediction, Writer
from molmo_ros.pointing import Mode, Style, format_count, format_points

EOS = 0
TENTHS = st.integers(0, 1000).map(lambda tenths: tenths / 10)
POINTS = st.lists(st.tuples(TENTHS, TENTHS), max_size=5, unique=True)


class Letters:
    """A tokenizer of single characters."""

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return ''.join(map(chr, ids))


def write(answer, question, style, remembered=(), limit=1000, tokenizer=None):
    """Let a model that would write `answer`, whatever is drafted, write it; count the passes."""
    tokenizer = tokenizer or Letters()
    told = [*tokenizer.encode(answer), EOS]
    writer = Writer(tokenizer, question, limit, [EOS], remembered, style)
    passes = 0
    while not writer.done:
        drafted = writer.draft()
        begin = len(writer.ids)
        choices = [  # after a drafted token that is wrong, anything
            told[begin + i] if drafted[:i] == told[begin : begin + i] else 7
            for i in range(len(drafted) + 1)
        ]
        nothing = np.zeros(0, np.float32)
        stood = writer.accept(drafted, [Prediction(token, 1.0, nothing) for token in choices])
        assert drafted[:stood] == told[begin : begin + stood]
        passes += 1
    return writer, passes


@given(POINTS, st.sampled_from([format_points, format_count]), st.sampled_from(Style))
def test_the_answer_is_what_the_model_would_have_written(points, form, style):
    answer = form(points, 'red mug', style)
    writer, passes = write(answer, Question('red mug'), style)
    assert writer.answer == answer
    assert answer.startswith(writer.text)
    assert passes <= 8 * max(len(points), 1) + 3


@pytest.mark.parametrize('style', Style)
def test_one_point_takes_at_most_eight_passes(style):
    answer = format_points([(61.5, 40.4)], 'red mug', style)
    _, passes = write(answer, Question('the red mug'), style)
    assert passes <= 8


@pytest.mark.parametrize('style', Style)
def test_a_further_point_takes_a_pass_for_each_of_its_digits(style):
    points = [(61.5, 40.4), (70.2, 33.3), (75.1, 61.8), (81.9, 12.7)]
    passes = [
        write(format_points(points[:count], 'mug', style), Question('mug'), style)[1]
        for count in (2, 3, 4)
    ]
    assert passes[1] - passes[0] == passes[2] - passes[1] == 6


@given(st.text(st.characters(codec='ascii', exclude_characters='\0'), max_size=60), POINTS)
def test_whatever_else_a_model_writes_is_written(words, points):
    answer = words + format_points(points, 'mug')
    writer, _ = write(answer, Question('mug', Mode.ASK), Style.MOLMO)
    assert writer.text == answer


@given(POINTS, POINTS)
def test_an_old_answer_as_the_draft_changes_nothing(before, after):
    old, new = format_points(before, 'mug'), format_points(after, 'mug')
    remembered = write(old, Question('mug'), Style.MOLMO)[0].ids
    writer, passes = write(new, Question('mug'), Style.MOLMO, remembered)
    assert writer.answer == new
    assert passes == 1 or old != new


@given(st.integers(0, 60))
def test_no_answer_is_longer_than_its_limit(limit):
    answer = format_points([(10, 20), (30, 40)], 'mug')
    question = Question('mug', Mode.ASK)
    writer, _ = write(answer, question, Style.MOLMO, remembered=[ord('x')], limit=limit)
    assert writer.text == answer[:limit]
    # At the limit it is not known that the end would have come next.
    assert writer.truncated == (limit <= len(answer))


def test_a_list_that_is_read_to_its_last_coordinate_is_not_cut_off():
    answer = format_points([(10, 20), (30, 40)], 'mug')
    writer, _ = write(answer, Question('mug'), Style.MOLMO, limit=len(answer))
    assert writer.answer == answer and not writer.truncated


class Bytes:
    """A tokenizer of bytes, which counts what it is given."""

    def __init__(self):
        self.seen = 0

    def encode(self, text):
        self.seen += len(text)
        return list(text.encode())

    def decode(self, ids):
        self.seen += len(ids)
        return bytes(ids).decode(errors='replace')


@pytest.mark.parametrize('style', Style)
def test_what_a_long_answer_costs_beside_the_network_grows_with_its_length(style):
    """It was the square of it, a fifth of a second for forty points."""

    def seen(count):
        answer = format_points([(2 * i, 100 - i) for i in range(count)], 'mug', style)
        tokenizer = Bytes()
        writer, _ = write(answer, Question('mug'), style, limit=2000, tokenizer=tokenizer)
        assert writer.answer == answer
        return tokenizer.seen / len(answer)

    assert seen(48) < 1.2 * seen(8)


@given(st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=40))
def test_characters_of_several_tokens_are_written_as_they_are(words):
    writer, _ = write(words, Question('x', Mode.ASK), Style.MOLMO, tokenizer=Bytes())
    assert writer.text == words
    texts = [Bytes().decode(writer.ids[:count]) for count in range(len(writer.ids))]
    assert writer.starts == [len(text) for text in texts]
