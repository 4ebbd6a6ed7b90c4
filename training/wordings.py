# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Other ways to write a question: plurals, one wrong letter, and what no table has."""

from __future__ import annotations

import random
from collections.abc import Sequence

from molmo_ros.pointing import Mode
from molmo_ros.tabletop.questions import TableQuestion, Thing, Topic, World
from molmo_ros.tabletop.questions.places import unanswerable
from molmo_ros.tabletop.questions.wording import THINGS, plural, possessive, with_article
from training.nouns import NOUNS

_ARTICLES = ('the ', 'an ', 'a ')
_ROWS = ('qwertyuiop', 'asdfghjkl', 'zxcvbnm')
# What no misspelling may give, because it would be another word.
_WORDS = frozenset(word for noun in NOUNS for word in noun.split())


def misspelt(phrase: str, world: World, rng: random.Random) -> str | None:
    """The phrase with one letter of one word wrong: dropped, doubled, swapped with the next, or
    taken from beside it on the keyboard; None where no word is long enough.

    A word of three letters keeps all of them, and none becomes another word.
    """
    words = phrase.split(' ')
    places = [place for place, word in enumerate(words) if len(word) >= 3 and word.isalpha()]
    known = {*world.kinds, *world.colours, *world.patterns, *words}
    for _ in range(8):
        if not places:
            break
        place = rng.choice(places)
        wrong = _wrong_letter(words[place], rng)
        if wrong != words[place] and wrong not in _WORDS and wrong not in known:
            return ' '.join([*words[:place], wrong, *words[place + 1 :]])
    return None


def _wrong_letter(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word) - 1)
    ways = ('doubled', 'swapped') if len(word) == 3 else ('doubled', 'swapped', 'dropped', 'beside')
    way = rng.choice(ways)
    if way == 'swapped':
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    at = rng.randrange(1, len(word))  # few get the first one wrong
    if way == 'doubled':
        return word[:at] + word[at] + word[at:]
    return word[:at] + ('' if way == 'dropped' else _beside(word[at], rng)) + word[at + 1 :]


def _beside(letter: str, rng: random.Random) -> str:
    row = next((row for row in _ROWS if letter in row), letter)
    at = row.index(letter)
    return rng.choice(row[max(0, at - 1) : at] + row[at + 1 : at + 2] or letter)


def in_plural(query: str) -> str:
    """`the red mugs`, of `the red mug` or `a red mug`."""
    for article in ('an ', 'a '):
        query = query.removeprefix(article)
    return plural(query)


def stranger(
    nouns: Sequence[str], things: Sequence[Thing], world: World, rng: random.Random
) -> TableQuestion:
    """A question about what one of `nouns` names, of which there is none."""
    noun = rng.choice(nouns)
    if rng.random() < 0.2:
        noun = f'{rng.choice(world.colours)} {noun}'
    form, mode = rng.random(), Mode.POINT
    if form < 0.6:
        query = with_article(noun, rng)
    elif form < 0.7:
        query = unanswerable(f'the {noun}', rng)
    elif form < 0.8 and things:
        related = unanswerable(f'the {rng.choice(things).kind}', rng)
        sought = next(word for word in related.split() if word in THINGS)
        query = related.replace(sought, noun, 1)
    elif form < 0.85:
        part = rng.choice(sorted({part for parts in world.parts.values() for part in parts}))
        owner = possessive(f'the {noun}')
        query = rng.choice((f'{owner} {part}', f'the {part} of the {noun}'))
    elif form < 0.92:
        query = rng.choice(('all ', 'all the ', 'the ', '')) + plural(noun)
    else:
        query, mode = plural(noun), Mode.COUNT
    return TableQuestion(Topic.ABSENT, query, mode, ())
