# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demo model is asked, and what Molmo would answer, about a scene of a scene set."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from molmo_ros.tabletop.questions import (
    TableQuestion,
    Thing,
    Topic,
    World,
    answer_for,
    ask,
    prompt_of,
)
from molmo_ros.tabletop.world import HELD_OUT
from molmo_ros.tabletop.world.shapes import KINDS
from training.nouns import TAUGHT
from training.scenes import COLOUR_NAMES, KIND_NAMES, PATTERN_NAMES, SceneSet
from training.wordings import in_plural, misspelt, stranger

Free = Callable[[float, float], bool]

WORLD = World(
    KIND_NAMES,
    COLOUR_NAMES,
    PATTERN_NAMES,
    {k: tuple(part.name for part in KINDS[k].parts if part.name) for k in KIND_NAMES},
    untold=HELD_OUT,
)
_COLOURS = frozenset(COLOUR_NAMES)
_NEAREST, _DRAWN_AGAIN = frozenset({'nearest', 'closest'}), 0.35  # nearness is learned last
_HARD_PARTS = frozenset(  # those that were missed most; others are drawn again
    {
        ('duck', 'head'),
        ('hammer', 'head'),
        ('mug', 'handle'),
        ('pan', 'handle'),
        ('scissors', 'handle'),
        ('screwdriver', 'blade'),
    }
)
_EASY_DRAWN_AGAIN = 0.6
_STRANGE = 0.6  # of what is not there: what no table has
_PLURAL = 0.12  # of single things
_MISSPELT = 0.2
SHARES = {  # of the questions drawn, of which some relations and parts are drawn again
    Topic.ONE: 0.20,
    Topic.PART: 0.36,
    Topic.ALL: 0.08,
    Topic.COUNT: 0.18,
    Topic.RELATION: 0.34,
    Topic.EXTREME: 0.03,
    Topic.SPACE: 0.02,
    Topic.ABSENT: 0.20,
}


@dataclass(frozen=True)
class Example:
    """A prompt and its answer; pointed_at: for each of its points, in the answer's order, the
    object (an index into the scene) and the number of its part (0: all of it); None on the table.
    mentions: objects that the prompt names to say where another is, and where those words end.
    """

    topic: Topic
    prompt: str
    answer: str
    pointed_at: tuple[tuple[int, int] | None, ...]
    mentions: tuple[tuple[int, int], ...] = ()


def make_example(
    things: Sequence[Thing], rng: random.Random, free: Free | None = None, coloured: bool = True
) -> Example:
    """A question of a topic drawn by SHARES, of another where this table allows none.

    coloured: whether it may name a colour.
    """
    while True:
        topic = rng.choices(list(SHARES), list(SHARES.values()))[0]
        if topic is Topic.ABSENT and rng.random() < _STRANGE:
            question: TableQuestion | None = stranger(TAUGHT, things, WORLD, rng)
        else:
            question = ask(things, topic, WORLD, rng, free)
        if question is not None and _taken(question, things, rng, coloured):
            break
    question = _reworded(question, rng)
    prompt = prompt_of(question, rng)
    pointed_at = tuple(
        None if target.thing is None else (target.thing, _number(things, target.thing, target.part))
        for target in question.targets
    )
    mentions = _mentions(question, prompt)
    return Example(question.topic, prompt, answer_for(question, prompt), pointed_at, mentions)


def _reworded(question: TableQuestion, rng: random.Random) -> TableQuestion:
    """As people write who do not take care."""
    query = question.query
    if question.topic is Topic.ONE and rng.random() < _PLURAL:
        query = in_plural(query)
    if rng.random() < _MISSPELT:
        query = misspelt(query, WORLD, rng) or query
    return replace(question, query=query)


def _taken(
    question: TableQuestion, things: Sequence[Thing], rng: random.Random, coloured: bool
) -> bool:
    words = frozenset(question.query.split())
    if not coloured and words & _COLOURS:
        return False
    if question.topic is Topic.RELATION and not words & _NEAREST:
        return rng.random() >= _DRAWN_AGAIN
    if question.topic is Topic.PART and not _is_hard(question, things):
        return rng.random() >= _EASY_DRAWN_AGAIN
    return True


def _is_hard(question: TableQuestion, things: Sequence[Thing]) -> bool:
    (target,) = question.targets
    return target.thing is not None and (things[target.thing].kind, target.part) in _HARD_PARTS


def _mentions(question: TableQuestion, prompt: str) -> tuple[tuple[int, int], ...]:
    """(object, end) of each; the last words first, because what is sought stands before them."""
    found, end = [], len(prompt)
    for words, thing in reversed(question.mentions):
        start = prompt.rfind(words.removeprefix('the '), 0, end)
        if start >= 0:
            found.append((thing, start + len(words.removeprefix('the '))))
            end = start
    return tuple(found)


def _number(things: Sequence[Thing], thing: int, part: str | None) -> int:
    if part is None:
        return 0
    return 1 + [known.name for known in KINDS[things[thing].kind].parts].index(part)


def things_of(scenes: SceneSet, scene: int, mirrored: bool) -> list[Thing]:
    """What lies in a scene, as seen in its picture or in that mirrored left to right."""
    return [
        _thing(scenes, scene, item, mirrored)
        for item, kind in enumerate(scenes.kind[scene])
        if kind >= 0
    ]


def _thing(scenes: SceneSet, scene: int, item: int, mirrored: bool) -> Thing:
    def place(percent: Sequence[float]) -> tuple[float, float]:
        x, y = map(float, percent)
        return (100 - x if mirrored else x), y

    kind = KIND_NAMES[scenes.kind[scene, item]]
    x, y, z = map(float, scenes.position[scene, item])
    return Thing(
        kind,
        COLOUR_NAMES[scenes.colour[scene, item]],
        PATTERN_NAMES[scenes.pattern[scene, item]],
        place(scenes.target[scene, item]),
        (-x if mirrored else x, y, z),
        float(scenes.size[scene, item]),
        float(scenes.area[scene, item]),
        float(scenes.visible[scene, item]),
        {
            part.name: place(target)
            for part, target in zip(KINDS[kind].parts, scenes.parts[scene, item], strict=False)
            if not math.isnan(target[0])
        },
    )


def free_table(scenes: SceneSet, scene: int, mirrored: bool) -> Free:
    """Whether no object is seen at (x, y) in percent of the image."""
    ids = scenes.coarse_ids[scene]
    rows, columns = ids.shape

    def free(x: float, y: float) -> bool:
        column = int((100 - x if mirrored else x) / 100 * columns)
        row = int(y / 100 * rows)
        return bool(ids[min(row, rows - 1), min(column, columns - 1)] == 0)

    return free
