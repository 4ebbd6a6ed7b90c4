# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model that was taught bare phrases is asked for what people mean by a whole sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_ros.pointing import Mode, bare_phrase, in_known_words

SYNONYMS = {'cup': 'mug', 'wine glass': 'glass', 'paint brush': 'brush', 'azure': 'blue'}


@pytest.mark.parametrize(
    ('query', 'phrase'),
    [
        ('the green lamp', 'the green lamp'),
        ('the green lamp.', 'the green lamp'),
        ('the green lamp?!', 'the green lamp'),
        ('"the green lamp"', 'the green lamp'),
        ("'the green lamp'", 'the green lamp'),
        ('\u201cthe green lamp\u201d', 'the green lamp'),
        ('\u00abthe green lamp\u00bb.', 'the green lamp'),
        ('please point at the green lamp', 'the green lamp'),
        ('Please, find the green lamp!', 'the green lamp'),
        ('the green lamp, please', 'the green lamp'),
        ('the green lamp,please', 'the green lamp'),
        ('could you point at the green lamp for me', 'the green lamp'),
        ('Can you pick up "the green lamp", please?', 'the green lamp'),
        ('can you see the green lamp', 'the green lamp'),
        ('pick the green lamp up', 'the green lamp'),
        ('pick up the green lamp', 'the green lamp'),
        ('where is the green lamp?', 'the green lamp'),
        ("Where's the green lamp located?", 'the green lamp'),
        ('show me where the green lamp is', 'the green lamp'),
        ('show me the green lamp in the picture', 'the green lamp'),
        ('I would like you to grasp the green lamp', 'the green lamp'),
        ("I'm looking for the green lamp", 'the green lamp'),
        ('is there a green lamp here?', 'a green lamp'),
        ('find my green lamp', 'the green lamp'),
        ('are there any green lamps?', 'green lamps'),
        ('"the lamp" left of "the can"', 'the lamp left of the can'),
        ('  the   green\nlamp ', 'the green lamp'),
    ],
)
def test_what_only_makes_it_a_request_is_left_out(query, phrase):
    assert bare_phrase(query) == phrase


@pytest.mark.parametrize(
    'query',
    [
        "the duck's head",
        "the scissors' handle",
        'everything on the table',
        'all of the books',
        'the thing nearest to the can',
        'the empty space between the box and the pear',
        'pointer',
        'the showcase',
        'counter',
    ],
)
def test_what_names_a_thing_stays_whole(query):
    assert bare_phrase(query) == query


@pytest.mark.parametrize('query', ['please', 'point', 'how many', '?', '""', 'where is'])
def test_a_request_for_nothing_is_asked_as_it_is(query):
    assert bare_phrase(query) == query


@pytest.mark.parametrize(
    'query',
    [
        'pears',
        'how many pears are there?',
        'How many pears are there on the table',
        'how many pears do you see?',
        'count the pears',
        'please count all the pears',
        'the number of pears',
    ],
)
def test_a_question_how_many_counts_the_things_it_names(query):
    assert bare_phrase(query, Mode.COUNT) == 'pears'


def test_a_question_asked_as_it_stands_stays_so():
    query = 'Please point at "the cup"!'
    assert bare_phrase(query, Mode.ASK) == query


@pytest.mark.parametrize(
    ('query', 'phrase'),
    [
        ('the cup', 'the mug'),
        ("the cup's handle", "the mug's handle"),
        ('all cups', 'all mugs'),
        ('the wine glass left of a cup', 'the glass left of a mug'),
        ('wine glasses', 'glasses'),
        ('two paint brushes', 'two brushes'),
        ('an azure ball', 'a blue ball'),
        ('the cupboard', 'the cupboard'),
        ('the cup-holder', 'the cup-holder'),
    ],
)
def test_other_words_are_said_in_the_words_known(query, phrase):
    assert in_known_words(query, SYNONYMS) == phrase


@given(st.text(max_size=80), st.sampled_from(Mode))
def test_no_question_becomes_empty(query, mode):
    assert bare_phrase(query, mode).strip() or not query.strip()
