# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's config says how it wants to be asked; one that says nothing hears every word."""

import json

import pytest

from molmo_ros.engine import EngineError, Question, load_engine
from molmo_ros.engine.requests import heard
from molmo_ros.model.config import LanguageConfig
from molmo_ros.model.loading import read_config
from molmo_ros.pointing import Mode


def test_a_release_hears_the_words_as_they_are():
    question = Question('Please find "The CUP".', Mode.POINT, 3)
    assert heard(question, LanguageConfig()) == question


@pytest.mark.parametrize(
    ('language', 'query'),
    [
        (LanguageConfig(lower_case=True), 'please find "the cup".'),
        (LanguageConfig(bare_phrases=True), 'The CUP'),
        (LanguageConfig(True, True, synonyms={'cup': 'mug'}), 'the mug'),
        (LanguageConfig(True, True, 'the cup mug', synonyms={'cup': 'mug'}), 'the mug'),
    ],
)
def test_a_checkpoint_hears_what_it_says_that_it_knows(language, query):
    question = Question('Please find "The CUP".', Mode.POINT, 3)
    assert heard(question, language) == Question(query, Mode.POINT, 3)


def test_a_question_asked_as_it_stands_is_heard_so():
    question = Question('Point to the Cup.', Mode.ASK)
    assert heard(question, LanguageConfig(True, True, synonyms={'cup': 'mug'})) == question


def change(folder, language):
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'language': language}))


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A checkpoint of one's own, to change."""
    for file in checkpoint().iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_the_config_is_read_and_what_it_leaves_out_is_as_of_a_release(folder):
    change(folder, {'lower_case': True, 'synonyms': {'cup': 'mug'}})
    assert read_config(folder).language == LanguageConfig(True, synonyms={'cup': 'mug'})


@pytest.mark.parametrize(
    ('language', 'said'),
    [({'upper_case': False}, 'upper_case'), ({'presence_temperature': 0}, 'above 0')],
)
def test_a_config_that_is_not_understood_is_refused_with_what_it_says(folder, language, said):
    change(folder, language)
    with pytest.raises(EngineError, match=said):
        load_engine(folder)


def test_the_prompts_of_one_who_hears_no_capitals_differ_in_the_query_alone(folder, images):
    change(folder, {'lower_case': True})
    engine, image = load_engine(folder), images(0)
    answers = [engine.answer(image, Question(query)) for query in ('A Lamp', 'a lamp')]
    assert answers[0].work['text_tokens'] > 0
    # The second is the first, asked again: it is remembered, and takes one pass.
    assert answers[0].tokens == answers[1].tokens
    assert answers[1].passes < answers[0].passes
