# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question about a table, its wordings as a prompt, and its answer as Molmo writes it."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterable
from dataclasses import dataclass

from molmo_ros.pointing import (
    COUNT_PROMPTS,
    POINT_PROMPTS,
    Mode,
    format_absence,
    format_count,
    format_points,
    label_for,
    prompt_for,
)

CANONICAL_SHARE = 0.6  # of prompts worded as the engine words them

# Which of Molmo's wordings suit a phrase that means one thing, and one that means several.
_FOR_ALL = ('all occurrences', 'any', 'are the', 'every')
_ONE = tuple(text for text in POINT_PROMPTS if not any(word in text for word in _FOR_ALL))
_THE_ONE = tuple(text for text in _ONE if ' a {' not in text)
_EVERY = tuple(text for text in POINT_PROMPTS if 'every' in text or 'occurrences' in text)
_FOR_ONE = (' a {', 'every', 'Object:')
_SEVERAL = tuple(text for text in POINT_PROMPTS if not any(word in text for word in _FOR_ONE))
_EVERYTHING = tuple(text for text in POINT_PROMPTS if text.startswith('find'))


class Topic(enum.Enum):
    """What kind of question it is."""

    ONE = 'one'
    PART = 'part'
    ALL = 'all'
    COUNT = 'count'
    RELATION = 'relation'
    EXTREME = 'extreme'
    SPACE = 'space'
    ABSENT = 'absent'


@dataclass(frozen=True)
class Target:
    """Where to point, (x, y) in percent of the image, and at which thing (None: free table).

    part: of that thing, where a part was asked for.
    """

    point: tuple[float, float]
    thing: int | None
    part: str | None = None


@dataclass(frozen=True)
class TableQuestion:
    """What a user types, and what is meant.

    targets: in the order in which Molmo writes them; empty where there is nothing to point at.
    between: the two things on either side of a free space (SPACE). mentions: the things by which
    others are found, and the words that name them, in the query's order ('the red mug' in 'the can
    left of the red mug').
    """

    topic: Topic
    query: str
    mode: Mode
    targets: tuple[Target, ...]
    between: tuple[int, int] | None = None
    mentions: tuple[tuple[str, int], ...] = ()

    @property
    def answer(self) -> str:
        """The right answer to the prompt that the engine makes of this question."""
        return answer_for(self, prompt_for(self.query, self.mode))


def in_order(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Sort as Molmo does: by x, then y, both as they are written."""
    return tuple(sorted(targets, key=lambda target: [round(value, 1) for value in target.point]))


def answer_for(question: TableQuestion, prompt: str) -> str:
    """The right answer to a question in that wording, leading space included.

    A prompt that says how to answer what is not there is answered so.
    """
    points = [target.point for target in question.targets]
    if not points:
        return format_absence(prompt)
    write = format_count if question.mode is Mode.COUNT else format_points
    return write(points, label_for(question.query))


def prompt_of(question: TableQuestion, rng: random.Random) -> str:
    """One of the wordings that Molmo was trained on; most often the one that the engine uses."""
    if rng.random() < CANONICAL_SHARE:
        return prompt_for(question.query, question.mode)
    return rng.choice(_wordings(question)).replace('{label}', label_for(question.query))


def _wordings(question: TableQuestion) -> tuple[str, ...]:
    if question.mode is Mode.COUNT:
        return COUNT_PROMPTS
    first = question.query.split(' ', 1)[0]
    if first == 'everything':
        return _EVERYTHING
    if first in ('every', 'each'):
        return _EVERY
    if first == 'all' or question.topic is Topic.ALL:
        return _SEVERAL
    return _ONE if first == 'a' else _THE_ONE
