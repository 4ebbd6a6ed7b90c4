# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The English of it: nouns, plurals and articles."""

from __future__ import annotations

import random

from molmo_ros.tabletop.questions.table import Name

THINGS = ('object', 'object', 'thing', 'item')
PAIRS = ('scissors', 'tongs', 'pliers')  # plural even where there is one
_IRREGULAR = {'knife': 'knives', 'dice': 'dice', 'die': 'dice', 'mouse': 'mice', 'leaf': 'leaves'}
_HISSING = ('s', 'x', 'z', 'ch', 'sh')


def plural(noun: str) -> str:
    """Of the last word of a noun."""
    if noun in PAIRS:
        return noun
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith(_HISSING):
        return noun + 'es'
    if noun.endswith('y') and noun[-2] not in 'aeiou':
        return noun[:-1] + 'ies'
    return noun + 's'


def singular_phrase(name: Name, rng: random.Random) -> str:
    """`red mug`, or `striped object` where the kind is left open."""
    return name.adjectives + (name.kind or rng.choice(THINGS))


def plural_phrase(name: Name, rng: random.Random) -> str:
    """`red mugs`, or `striped objects` where the kind is left open."""
    return name.adjectives + plural(name.kind or rng.choice(THINGS))


def definite(name: Name, rng: random.Random) -> str:
    """`the red mug`."""
    return f'the {singular_phrase(name, rng)}'


def with_article(phrase: str, rng: random.Random) -> str:
    """A phrase as people type it: most often with `the`, with `a`, or bare."""
    article = rng.choice(('the ', 'the ', 'the ', 'a ', ''))
    if article == 'a ':
        if phrase.endswith(PAIRS):
            article = 'the '
        elif phrase[0] in 'aeiou':
            article = 'an '
    return article + phrase


def possessive(phrase: str) -> str:
    """`the glass's`, `the scissors'`."""
    return phrase + ("'" if phrase.endswith(PAIRS) else "'s")
