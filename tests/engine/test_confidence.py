# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Confidence and spread follow the probabilities that the digits were written with."""

import math

import numpy as np
import pytest

from molmo_ros.engine import Question
from molmo_ros.engine.confidence import with_confidence
from molmo_ros.engine.writer import Prediction, Writer
from molmo_ros.pointing import Mode, Style, read_points

NUMBERS = [*'0123456789', '.']


class Letters:
    """A tokenizer of single characters."""

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return ''.join(map(chr, ids))


def written(text, beliefs, style=Style.MOLMO):
    """A writer that wrote `text`, with `beliefs` {index in text: {character: probability}}."""
    writer = Writer(Letters(), Question('mug', Mode.ASK), 1000, stops=[0], style=style)
    for index, letter in enumerate(text):
        belief = beliefs.get(index, {letter: 1.0})
        numbers = np.array([belief.get(number, 0) for number in NUMBERS], np.float32)
        writer.accept([], [Prediction(ord(letter), belief[letter], numbers)])
    return writer


def measure(text, beliefs, style=Style.MOLMO, size=(1000, 500)):
    points = read_points(text, *size).points
    return with_confidence(points, written(text, beliefs, style), NUMBERS, *size, style)


TEXT = ' <point x="61.5" y="40.4" alt="mug">mug</point>'
X = TEXT.index('6')


def test_a_point_written_without_doubt_is_certain():
    (point,) = measure(TEXT, {})
    assert (point.confidence, point.spread) == (1, 0)


def test_doubt_about_the_last_digit_is_small_and_near():
    (point,) = measure(TEXT, {X + 3: {'5': 0.5, '6': 0.5}})
    assert point.confidence == pytest.approx(1)
    assert 0 < point.spread < 2


def test_doubt_about_the_first_digit_is_doubt_about_the_point():
    (point,) = measure(TEXT, {X: {'6': 0.5, '2': 0.5}})
    assert point.confidence == pytest.approx(0.5)
    # Half of the belief is around 25 percent of the width, 365 pixels away.
    assert point.spread == pytest.approx(math.sqrt(0.5 * (365**2 + 100**2 / 12)), rel=1e-3)


def test_a_neighbouring_ten_counts_as_far_as_it_is_near():
    (point,) = measure(TEXT, {X: {'6': 0.5, '5': 0.5}})
    assert point.confidence == pytest.approx(0.5 + 0.5 * (1 - 0.65**2))


def test_doubt_whether_there_is_anything_is_no_doubt_about_where():
    (point,) = measure(TEXT, {1: {'<': 0.6}})
    assert (point.confidence, point.spread) == (1, 0)


def test_each_point_of_a_list_has_its_own():
    text = ' <points x1="10.0" y1="20.0" x2="30.5" y2="40.1" alt="mugs">mugs</points>'
    first, second = measure(text, {text.index('3'): {'3': 0.4, '9': 0.6}})
    assert first.confidence == 1
    assert second.confidence == pytest.approx(0.4)


def test_thousandths_of_molmo2_are_read_likewise():
    text = '<points coords="1 1 615 404">mug</points>'
    (point,) = measure(text, {text.index('615'): {'6': 0.5, '2': 0.5}}, Style.MOLMO2)
    assert point.confidence == pytest.approx(0.5)
    assert point.spread == pytest.approx(math.sqrt(0.5 * (365**2 + 100**2 / 12)), rel=1e-3)


def test_points_in_prose_stay_unmeasured():
    (point,) = measure('Click(61.5, 40.4)', {})
    assert math.isnan(point.confidence)


def test_an_engine_gives_every_point_a_probability(engine, images):
    (point,) = engine.answer(images(0), Question('mug')).points
    assert 0 < point.confidence <= 1
    assert point.spread > 0
