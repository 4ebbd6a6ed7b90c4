# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Presence follows how likely the model found it to point, not to deny, as it began."""

import json
import math

import numpy as np
import pytest

from molmo_ros.engine import Answer, Question, load_engine
from molmo_ros.engine.presence import Openings, presence_of
from molmo_ros.engine.writer import Prediction, Writer
from molmo_ros.pointing import Mode, Style, read_points

POINTED = ' <point x="20.0" y="70.5" alt="lamp">lamp</point>'
COUNTED = (
    ' Counting the <points x1="20.0" y1="7.5" x2="3.0" y2="4.0" alt="a">a</points> shows a total'
)
NONE = ' There are none.'
NOTHING = np.zeros(1, np.float32)


class Words:
    """A tokenizer of whole openings: every other text is one token."""

    known = (' <point x="', ' <points x1="', ' Counting the ', NONE, " This isn't in the image.")

    def __init__(self):
        self.texts = list(self.known)

    def encode(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return [self.texts.index(text)]

    def decode(self, ids):
        return ''.join(self.texts[i] for i in ids)


def presence(beliefs, text, mode=Mode.POINT, temperature=1.0):
    """Of an answer that began with the likeliest of `beliefs` and became `text`."""
    words = Words()
    openings = Openings.of(words, Style.MOLMO)
    writer = Writer(words, Question('lamp', mode), 100, stops=[99])
    probabilities = np.array([beliefs.get(words.texts[i], 0) for i in openings.ids], np.float32)
    first = max(beliefs, key=beliefs.get)
    token = words.encode(first)[0]
    writer.accept([], [Prediction(token, beliefs[first], NOTHING, probabilities)])
    return presence_of(writer, read_points(text, 640, 480), openings, temperature)


def test_belief_is_shared_between_pointing_at_one_or_several_and_denying():
    beliefs = {' <point x="': 0.5, ' <points x1="': 0.25, NONE: 0.25}
    assert presence(beliefs, POINTED) == pytest.approx(0.75)


def test_what_is_denied_has_the_belief_that_was_left_for_pointing():
    beliefs = {" This isn't in the image.": 0.8, NONE: 0.1, ' <point x="': 0.1}
    assert presence(beliefs, " This isn't in the image.") == pytest.approx(0.1)


def test_a_count_is_there_if_anything_is_counted():
    assert presence({' Counting the ': 0.6, NONE: 0.4}, COUNTED, Mode.COUNT) == pytest.approx(0.6)


def test_words_that_are_neither_take_no_belief_from_either():
    assert presence({' <point x="': 0.6, NONE: 0.2, ' A': 0.2}, POINTED) == pytest.approx(0.75)


def test_a_temperature_above_one_brings_belief_towards_a_half():
    beliefs = {' <point x="': 0.9, NONE: 0.1}
    assert presence(beliefs, POINTED, temperature=2.0) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ('beliefs', 'text'),
    [
        ({' A lamp': 0.9, NONE: 0.1}, ' A lamp at (20.0, 30.0)'),  # began as prose
        ({NONE: 0.9, ' <point x="': 0.1}, ' There are 3 of them.'),  # began as if it denied
        ({' Counting the ': 1.0}, ' Counting the lamps shows a total of 0.'),
    ],
)
def test_where_the_first_word_does_not_decide_nothing_is_claimed(beliefs, text):
    assert math.isnan(presence(beliefs, text))


def test_certainty_is_no_error():
    assert presence({NONE: 1.0}, NONE) == pytest.approx(0.0)
    assert presence({' <point x="': 1.0}, POINTED) == pytest.approx(1.0)


def test_an_answer_made_without_presence_has_none():
    assert math.isnan(Answer('', (), None, False).presence)


def test_every_engine_says_it_with_the_points(engine, images):
    answer = engine.answer(images(1), Question('lamp'))
    assert answer.points and 0 < answer.presence <= 1
    again = engine.answer(images(1), Question('lamp'))
    assert again.presence == pytest.approx(answer.presence, abs=1e-4)


def test_a_temperature_of_the_config_is_heeded(checkpoint, images, tmp_path):
    for file in checkpoint(noise=0.5).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / 'config.json'
    plain = load_engine(tmp_path).answer(images(0), Question('lamp')).presence
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, 'language': {'presence_temperature': 3.0}}))
    warmer = load_engine(tmp_path).answer(images(0), Question('lamp')).presence
    odds = math.log(plain / (1 - plain))
    assert math.log(warmer / (1 - warmer)) == pytest.approx(odds / 3, rel=0.05)
