# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions reach the model in the wording it was trained on, with the user's words intact."""

import pytest

from molmo_ros.pointing import COUNT_PROMPTS, POINT_PROMPTS, Mode, Style, label_for, prompt_for


def test_the_three_ways_to_ask():
    assert prompt_for('the Red mug', Mode.POINT) == (
        "Point to the Red mug\nPlease say 'This isn't in the image.' if it is not in the image."
    )
    assert prompt_for('mugs', Mode.COUNT) == 'How many mugs are there?'
    assert prompt_for('What is this?', Mode.ASK) == 'What is this?'


def test_molmo2_is_told_its_own_sentence_for_what_is_not_there():
    assert prompt_for('the Red mug', Mode.POINT, Style.MOLMO2) == (
        "Point to the Red mug\nPlease say 'There are none.' if it is not in the image."
    )
    for mode in (Mode.COUNT, Mode.ASK):
        assert prompt_for('mugs', mode, Style.MOLMO2) == prompt_for('mugs', mode)


@pytest.mark.parametrize('query', ['{label}', '{0} {', '100% "sure"', 'die Tasse für Ä', '杯子'])
def test_words_stay_as_they_are(query):
    for mode in Mode:
        assert query in prompt_for(f'  {query}\n', mode)


def test_control_characters_become_spaces_and_only_questions_keep_their_lines():
    assert prompt_for('red\r\n\tmug\x00\ud800', Mode.COUNT) == 'How many red mug are there?'
    assert prompt_for('one\r\ntwo\x07\n', Mode.ASK) == 'one\ntwo'


@pytest.mark.parametrize('query', ['', '  \n', '\x00'])
@pytest.mark.parametrize('mode', Mode)
def test_an_empty_query_is_refused_with_advice(query, mode):
    with pytest.raises(ValueError, match='say what to look for'):
        prompt_for(query, mode)


@pytest.mark.parametrize(
    ('query', 'label'),
    [
        ('mug', 'mug'),
        (' The Red Mug. ', 'red mug'),
        ('all the mugs', 'mugs'),
        ('every mug', 'mug'),
        ('all of the mugs', 'mugs'),
        ('an apple', 'apple'),
        ('anchor', 'anchor'),
        ('theatre', 'theatre'),
        ('the', 'the'),
        ("the mug's handle", "mug's handle"),
    ],
)
def test_the_label_is_the_phrase_that_molmo_repeats(query, label):
    assert label_for(query) == label


def test_every_trained_wording_takes_a_label():
    for template in (*POINT_PROMPTS, *COUNT_PROMPTS):
        assert template.format(label='red mug').count('red mug') == 1
