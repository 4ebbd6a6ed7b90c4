# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One wrong letter in a word, for a model that knows few words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from string import ascii_lowercase

_WORD = re.compile(r'[a-z]{3,}')
_ROWS = ('qwertyuiop', 'asdfghjkl', 'zxcvbnm')


def respelt(phrase: str, words: Collection[str], other_words: Collection[str]) -> str:
    """The phrase, in lower case, with words that are one letter off one of `words` put right.

    A word that is one of `words`, or of `other_words`, which mean something else, stays, and so
    does one that could be two of them. Two letters swapped and one doubled are likelier than one
    left out or taken from beside it on the keyboard, and these than any other. Words of three
    letters are only known with all of their letters.
    """
    stays = {*words, *other_words}

    def right(match: re.Match[str]) -> str:
        word = match[0]
        return word if word in stays else _meant(word, frozenset(words)) or word

    return _WORD.sub(right, phrase)


@lru_cache(maxsize=4096)
def _meant(word: str, words: frozenset[str]) -> str | None:
    """Which of the words is meant; None where it is none or not plain."""
    for likely, guesses in enumerate((_swapped_or_doubled, _left_out_or_beside, _one_off)):
        found = {guess for guess in guesses(word) if guess in words}
        found = {guess for guess in found if len(guess) > 3 or not likely}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _swapped_or_doubled(word: str) -> Iterator[str]:
    for at in range(1, len(word)):
        yield word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
        if word[at] == word[at - 1]:
            yield word[:at] + word[at + 1 :]


def _left_out_or_beside(word: str) -> Iterator[str]:
    for at in range(len(word) + 1):
        yield from (word[:at] + letter + word[at:] for letter in ascii_lowercase)
    for at, letter in enumerate(word):
        row = next(row for row in _ROWS if letter in row)
        place = row.index(letter)
        for other in row[max(0, place - 1) : place] + row[place + 1 : place + 2]:
            yield word[:at] + other + word[at + 1 :]


def _one_off(word: str) -> Iterator[str]:
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        yield from (word[:at] + letter + word[at + 1 :] for letter in ascii_lowercase)
