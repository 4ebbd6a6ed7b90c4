# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demo model is asked, and what Molmo would answer, about a scene."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from molmo_ros.camera.tabletop import EASY
from molmo_ros.pointing import (
    ABSENT,
    NOT_IN_IMAGE,
    POINT_PROMPTS,
    Mode,
    format_points,
    label_for,
    prompt_for,
)

ABSENT_SHARE = 0.12
ARTICLES = ('the ', 'the ', 'a ', '')


@dataclass(frozen=True)
class Thing:
    """One visible object: what it is called and where to point, in percent of the image."""

    kind: str
    colour: str
    target: tuple[float, float]


@dataclass(frozen=True)
class Example:
    """A prompt, its answer, and which object (an index into the scene) the answer points at."""

    prompt: str
    answer: str
    thing: int | None


def make_example(things: Sequence[Thing], rng: random.Random) -> Example:
    """One question about one object, or about something that is not there."""
    if rng.random() < ABSENT_SHARE:
        query = _absent(things, rng)
        prompt = _prompt(query, rng)
        return Example(prompt, f' {NOT_IN_IMAGE if "isn" in prompt else ABSENT}', None)
    index = rng.randrange(len(things))
    query = rng.choice(_names(things, index))
    answer = format_points([things[index].target], label_for(query))
    return Example(_prompt(query, rng), answer, index)


def _prompt(query: str, rng: random.Random) -> str:
    if rng.random() < 0.6:
        return prompt_for(rng.choice(ARTICLES) + query, Mode.POINT)
    return rng.choice(POINT_PROMPTS).format(label=query)


def _names(things: Sequence[Thing], index: int) -> list[str]:
    """Every name that fits this object alone; the full one counts most."""
    thing = things[index]
    names = [f'{thing.colour} {thing.kind}'] * 3
    if sum(other.kind == thing.kind for other in things) == 1:
        names.append(thing.kind)
    if sum(other.colour == thing.colour for other in things) == 1:
        names.append(f'{thing.colour} object')
    return names


def _absent(things: Sequence[Thing], rng: random.Random) -> str:
    present = {(thing.colour, thing.kind) for thing in things}
    while True:
        pair = (rng.choice(EASY.colours), rng.choice(EASY.kinds))
        # Half of the time something like it is there: only colour and kind together tell.
        if rng.random() < 0.5:
            thing = rng.choice(things)
            pair = rng.choice([(pair[0], thing.kind), (thing.colour, pair[1])])
        if pair not in present:
            return ' '.join(pair)
