# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What training says in other words means the same, and what it calls absent is on no table."""

import random
import re
from collections import Counter

import pytest

from molmo_ros.pointing import ABSENT, NOT_IN_IMAGE, Mode
from molmo_ros.tabletop.questions import Topic, ask
from training.architecture import CONFIG
from training.language import KNOWN, SYNONYMS
from training.nouns import KEPT, NOUNS, TAUGHT
from training.questions import WORLD, make_example
from training.vocabulary import _anything
from training.wordings import in_plural, misspelt, stranger

WORDS = {*WORLD.kinds, *WORLD.colours, *WORLD.patterns}
PARTS = {part for parts in WORLD.parts.values() for part in parts}


def test_no_noun_that_is_denied_names_what_a_table_has_or_stands_for_it() -> None:
    denied = {word for noun in NOUNS for word in noun.split()}
    assert not denied & (WORDS | PARTS)
    assert not set(NOUNS) & set(SYNONYMS)


def test_the_nouns_to_measure_with_are_never_taught() -> None:
    assert len(KEPT) > 100 and set(KEPT) | set(TAUGHT) == set(NOUNS) and not set(KEPT) & set(TAUGHT)
    rng, asked = random.Random(3), Counter[str]()
    for _ in range(3000):
        example = make_example([_anything(rng) for _ in range(5)], rng)
        asked.update(f' {example.prompt} '.replace('\n', ' ').split())
    # A noun of two words may share one with what is taught: 'fire truck' and 'fire hydrant'.
    taught = {word for noun in TAUGHT for word in noun.split()}
    alone = {noun for noun in KEPT if ' ' not in noun} - taught
    assert not alone & set(asked)
    assert len(set(TAUGHT) & set(asked)) > 100


def test_questions_about_strangers_are_all_answered_with_none() -> None:
    rng = random.Random(5)
    for _ in range(300):
        question = stranger(TAUGHT, [_anything(rng)], WORLD, rng)
        assert question.topic is Topic.ABSENT and not question.targets
        assert question.answer.strip() in (ABSENT, NOT_IN_IMAGE)
        assert any(noun[:-1] in question.query for noun in TAUGHT)


def test_one_letter_of_one_word_is_wrong_and_it_is_no_other_word() -> None:
    rng = random.Random(7)
    for query in ('the green lamp', 'a mug', 'the pears left of the striped candle', 'can'):
        for _ in range(100):
            wrong = misspelt(query, WORLD, rng)
            assert wrong is not None
            pairs = list(zip(query.split(), wrong.split(), strict=True))
            ((right, written),) = [pair for pair in pairs if pair[0] != pair[1]]
            assert written not in WORDS and written not in NOUNS
            assert abs(len(right) - len(written)) <= 1
            if len(right) == 3:
                assert Counter(right) - Counter(written) == Counter()


def test_what_is_too_short_is_not_misspelt() -> None:
    assert misspelt('a b', WORLD, random.Random(0)) is None


@pytest.mark.parametrize(
    ('query', 'several'),
    [
        ('the green lamp', 'the green lamps'),
        ('a glass', 'glasses'),
        ('an orange brush', 'orange brushes'),
        ('scissors', 'scissors'),
    ],
)
def test_one_thing_may_be_asked_for_in_the_plural(query: str, several: str) -> None:
    assert in_plural(query) == several


def test_other_words_stand_for_words_that_are_taught() -> None:
    assert set(SYNONYMS.values()) <= WORDS
    assert not set(SYNONYMS) & (WORDS | PARTS)
    assert CONFIG.language.synonyms == SYNONYMS


def test_every_word_of_a_question_is_one_that_the_checkpoint_says_it_knows() -> None:
    rng = random.Random(11)
    for _ in range(3000):
        things = [_anything(rng) for _ in range(5)]
        question = ask(things, rng.choice(tuple(Topic)), WORLD, rng, lambda x, y: True)
        if question is not None:
            words = re.findall('[a-z]{3,}', question.query)
            assert KNOWN.issuperset(words), question.query
    others = CONFIG.language.other_words.split()
    assert not KNOWN.intersection(others) and {'parrot', 'frog', 'wing'}.issubset(others)


def test_counts_of_strangers_are_asked_too() -> None:
    rng = random.Random(9)
    asked = [stranger(TAUGHT, [], WORLD, rng).mode for _ in range(200)]
    assert Mode.COUNT in asked and Mode.POINT in asked
