# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about things by what they are called; `ask` for all topics."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from molmo_ros.pointing import Mode
from molmo_ros.tabletop.questions import places
from molmo_ros.tabletop.questions.question import TableQuestion, Target, Topic, in_order
from molmo_ros.tabletop.questions.table import PLAIN, Name, Table, Thing, World
from molmo_ros.tabletop.questions.wording import (
    PAIRS,
    definite,
    plural_phrase,
    possessive,
    singular_phrase,
    with_article,
)

MOST = 10  # targets of one question
SIZE_RATIO = 1.3  # between 'the large mug' and the other
_LARGE, _SMALL = ('large', 'big'), ('small', 'little')
_COUNT_WEIGHTS = {0: 2, 1: 2, 2: 4, 3: 4, 4: 4, 5: 4, 6: 4}  # of what is seen; 1 beyond
_PART_WORDS = ('{owners} {part}', 'the {part} of {owner}', '{owner} {part}')
# What other kinds may be said to have too: no question is asked of these where it is not plain.
_VAGUE_PARTS = ('head', 'blade', 'stem', 'shade')


def ask(
    things: Sequence[Thing],
    topic: Topic,
    world: World,
    rng: random.Random,
    free: Callable[[float, float], bool] | None = None,
) -> TableQuestion | None:
    """A question of that topic with one right answer; None where this table allows none.

    world: what could be there, for questions about what is not. free: whether bare table is seen
    at (x, y) in percent of the image; without it, only the things' own places are considered.
    """
    table = Table(things)
    if topic is Topic.ONE:
        return _one(table, rng)
    if topic is Topic.PART:
        return _part(table, rng)
    if topic is Topic.ALL:
        return _all(table, rng)
    if topic is Topic.COUNT:
        return _count(table, world, rng)
    if topic is Topic.RELATION:
        return places.relation(table, rng)
    if topic is Topic.EXTREME:
        return places.extreme(table, rng)
    if topic is Topic.SPACE:
        return places.space(table, rng, free)
    return _absent(table, world, rng)


def _point(table: Table, topic: Topic, query: str, indices: Sequence[int]) -> TableQuestion:
    targets = in_order(Target(table.things[index].target, index) for index in indices)
    return TableQuestion(topic, query, Mode.POINT, targets)


def _one(table: Table, rng: random.Random) -> TableQuestion | None:
    for index in rng.sample(range(len(table.things)), len(table.things)):
        names = [name for name in table.own_names(index) if any(name)]
        # What most people say counts more.
        names += [name for name in names if name.colour and name.kind and not name.pattern] * 2
        phrases = [singular_phrase(name, rng) for name in names] + _by_size(table, index, rng)
        if phrases:
            return _point(table, Topic.ONE, with_article(rng.choice(phrases), rng), [index])
    return None


def _by_size(table: Table, index: int, rng: random.Random) -> list[str]:
    """`large mug` where there are two mugs, one clearly larger."""
    thing = table.things[index]
    phrases = []
    for name in (Name('', '', thing.kind), Name('', thing.colour, thing.kind)):
        members = table.certain(name)
        if members is None or len(members) != 2:
            continue
        other = table.things[members[0] if members[1] == index else members[1]]
        ratio = thing.size / other.size
        looks_so = (ratio > 1) == (thing.area > other.area)
        if max(ratio, 1 / ratio) >= SIZE_RATIO and looks_so:
            word = rng.choice(_LARGE if ratio > 1 else _SMALL)
            phrases.append(f'{word} {name.adjectives}{name.kind}')
    return phrases


def _part(table: Table, rng: random.Random) -> TableQuestion | None:
    places_of_parts: dict[tuple[Name, str], list[int]] = {}
    for name, members in table.named.items():
        for index in members:
            for part in table.things[index].parts:
                places_of_parts.setdefault((name, part), []).append(index)
    choices = [
        (name, part, members[0])
        for (name, part), members in places_of_parts.items()
        if len(members) == 1
        and table.sure[members[0]]
        and (name.kind or (not any(name) and part not in _VAGUE_PARTS))
    ]
    if not choices:
        return None
    name, part, index = rng.choice(choices)
    query, owner = _part_of(name, part, rng) if any(name) else (f'the {part}', '')
    target = Target(table.things[index].parts[part], index, part)
    mentions = ((owner, index),) if owner else ()
    return TableQuestion(Topic.PART, query, Mode.POINT, (target,), mentions=mentions)


def _part_of(name: Name, part: str, rng: random.Random) -> tuple[str, str]:
    """`the mug's handle`, and the words for its owner."""
    owner = definite(name, rng)
    words = rng.choice(_PART_WORDS).format(owner=owner, owners=possessive(owner), part=part)
    return words if rng.random() < 0.8 else words.removeprefix('the '), owner


def _groups(table: Table) -> dict[Name, list[int]]:
    """The names that can be asked for in the plural, and all that they fit."""
    return {
        name: members
        for name, members in table.named.items()
        if len(members) <= MOST and table.certain(name) is not None
    }


def _all(table: Table, rng: random.Random) -> TableQuestion | None:
    groups = _groups(table)
    several = [name for name, members in groups.items() if len(members) > 1 and any(name)]
    single = [name for name, members in groups.items() if len(members) == 1 and any(name)]
    wanted = rng.random()
    if Name() in groups and (wanted < 0.2 or not (several or single)):
        return _point(table, Topic.ALL, _everything(rng), groups[Name()])
    names = single if single and (wanted < 0.35 or not several) else several
    if not names:
        return None
    name = rng.choice(names)
    members = groups[name]
    return _point(table, Topic.ALL, _each(name, rng, several=len(members) > 1), members)


def _everything(rng: random.Random) -> str:
    if rng.random() < 0.25:
        return 'everything on the table'
    return _each(Name(), rng, several=True) + rng.choice(('', ' on the table'))


def _each(name: Name, rng: random.Random, several: bool) -> str:
    """`all red mugs`, `every red mug`."""
    determiner = rng.choice(('all ', 'all ', 'all the ', 'all of the ', 'every ', 'each '))
    if several and rng.random() < 0.25:
        determiner = rng.choice(('the ', ''))
    if determiner in ('every ', 'each '):
        if name.kind not in PAIRS:
            return determiner + name.adjectives + (name.kind or 'object')
        determiner = 'all '
    return determiner + plural_phrase(name, rng)


def _count(table: Table, world: World, rng: random.Random) -> TableQuestion | None:
    by_count: dict[int, list[Name]] = {0: []}
    for name, members in _groups(table).items():
        by_count.setdefault(len(members), []).append(name)
    absent = _absent_name(table, world, rng)
    if absent is not None:
        by_count[0].append(absent)
    counts = [count for count, names in by_count.items() if names]
    if not counts:
        return None
    count = rng.choices(counts, [_COUNT_WEIGHTS.get(count, 1) for count in counts])[0]
    name = rng.choice(by_count[count])
    query = plural_phrase(name, rng)
    if not any(name):
        query += rng.choice(('', ' on the table'))
    members = table.named.get(name, [])
    targets = in_order(Target(table.things[index].target, index) for index in members)
    return TableQuestion(Topic.COUNT, query, Mode.COUNT, targets)


def _absent(table: Table, world: World, rng: random.Random) -> TableQuestion | None:
    form = rng.random()
    if form < 0.1:
        query = _absent_part(table, world, rng)
        if query is not None:
            return TableQuestion(Topic.ABSENT, query, Mode.POINT, ())
    name = _absent_name(table, world, rng)
    if name is None:
        return None
    if 0.1 <= form < 0.15:
        return TableQuestion(Topic.ABSENT, plural_phrase(name, rng), Mode.COUNT, ())
    if 0.15 <= form < 0.25:
        query = _each(name, rng, several=True)
    elif 0.25 <= form < 0.4 and name.kind:
        query = places.unanswerable(definite(name, rng), rng)
    else:
        query = with_article(singular_phrase(name, rng), rng)
    return TableQuestion(Topic.ABSENT, query, Mode.POINT, ())


def _absent_name(table: Table, world: World, rng: random.Random) -> Name | None:
    """A name that fits nothing here, not even in doubt; half of the time something is like it."""
    patterns = [pattern for pattern in world.patterns if pattern != PLAIN]
    for _ in range(8):
        form = rng.random()
        colour, kind = rng.choice(world.colours), rng.choice(world.kinds)
        if table.things and rng.random() < 0.5:
            like = rng.choice(table.things)
            colour, kind = rng.choice(((colour, like.kind), (like.colour, kind)))
        if form < 0.6:
            name = Name('', colour, kind)
        elif form < 0.8:
            name = Name('', '', kind)
        elif form < 0.9 or not patterns:
            name = Name('', colour, '')
        else:
            name = Name(rng.choice(patterns), '', kind)
        if _is_deniable(name, table, world):
            return name
    return None


def _is_deniable(name: Name, table: Table, world: World) -> bool:
    """Whether nothing here is called so, nor speaks against an untold pair."""
    if name in table.named or (name.kind, name.colour) in world.untold:
        return False
    if name.kind and name.colour:  # nothing black is a red duck
        return True
    return not any(
        (kind == name.kind and thing.colour == colour)
        or (colour == name.colour and thing.kind == kind)
        for kind, colour in world.untold
        for thing in table.things
    )


def _absent_part(table: Table, world: World, rng: random.Random) -> str | None:
    """A part that a thing on the table does not have, or a part of what is not there."""
    parts = sorted({part for of_kind in world.parts.values() for part in of_kind})
    if not parts:
        return None
    part = rng.choice(parts)
    if table.things and part not in _VAGUE_PARTS and rng.random() < 0.6:
        index = rng.randrange(len(table.things))
        names = [name for name in table.own_names(index) if name.kind]
        if not names or part in world.parts.get(table.things[index].kind, ()):
            return None
        return _part_of(rng.choice(names), part, rng)[0]
    owners = [Name('', '', kind) for kind, of_kind in world.parts.items() if part in of_kind]
    owners = [name for name in owners if _is_deniable(name, table, world)]
    return _part_of(rng.choice(owners), part, rng)[0] if owners else None
