# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One wrong letter does not keep a thing from being found, and no other thing is taken for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_ros.pointing import respelt

WORDS = {'the', 'can', 'cans', 'pan', 'lamp', 'lamps', 'pear', 'book', 'box', 'boxes', 'orange'}
WORDS |= {'banana', 'handle', 'candle', 'left', 'of'}
OTHERS = {'cat', 'camp', 'bear', 'peer', 'boot', 'fan', 'damp', 'cook'}


@pytest.mark.parametrize(
    ('written', 'meant'),
    [
        ('teh lapm', 'the lamp'),
        ('the lammp', 'the lamp'),
        ('the bananna', 'the banana'),
        ('the banaa', 'the banana'),
        ('the oragne lamp', 'the orange lamp'),
        ('the prar', 'the pear'),  # r is beside e
        ('the lampp', 'the lamp'),  # not lamps
        ('the bxo', 'the box'),
        ('bozes', 'boxes'),  # as likely as any other letter, and there is but one such word
        ("the lapm's handel", "the lamp's handle"),
    ],
)
def test_a_word_with_one_letter_wrong_is_the_one_that_was_meant(written, meant):
    assert respelt(written, WORDS, OTHERS) == meant


@pytest.mark.parametrize(
    'written',
    [
        'the lamp left of the pear',
        'the cat',  # one letter off can, and another thing
        'the camp',
        'the dog',
        'the cam',  # a word of three letters needs all of them
        'the wandle',  # candle or handle
        'a bo',
        '杯子',
    ],
)
def test_what_is_right_or_another_word_or_not_plain_stays(written):
    assert respelt(written, WORDS, OTHERS) == written


@given(st.text(max_size=60))
def test_any_text_comes_back_and_nothing_but_words_changes(text):
    again = respelt(text, WORDS, OTHERS)
    assert [c for c in again if not c.isalpha()] == [c for c in text if not c.isalpha()]
