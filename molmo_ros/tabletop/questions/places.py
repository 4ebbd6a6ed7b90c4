# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about where things are: relations, extremes and free space, with clear margins."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence

from molmo_ros.pointing import Mode
from molmo_ros.tabletop.questions.question import TableQuestion, Target, Topic
from molmo_ros.tabletop.questions.table import Name, Table, Thing
from molmo_ros.tabletop.questions.wording import definite, singular_phrase

NEAREST = 1.3  # the next candidate is farther by this factor
CONE = 0.8  # the most that a thing lies sideways for one ahead
SIDE = 4.0  # percent of the image's width
DEPTH = 0.06  # m, along the table
CLOSER = 0.05  # m, to the camera
LARGER = 1.25
TRIES = 8  # at a wording, after which another is tried

Free = Callable[[float, float], bool]
Offset = Callable[[Thing, Thing], tuple[float, float]]
Mentions = tuple[tuple[str, int], ...]


def _rightwards(anchor: Thing, thing: Thing) -> tuple[float, float]:
    return thing.target[0] - anchor.target[0], thing.target[1] - anchor.target[1]


def _leftwards(anchor: Thing, thing: Thing) -> tuple[float, float]:
    return _rightwards(thing, anchor)


def _backwards(anchor: Thing, thing: Thing) -> tuple[float, float]:
    """Metres along the table, away from a camera that looks down at about 45 degrees."""
    x, y, z = (b - a for a, b in zip(anchor.position, thing.position, strict=True))
    return (z - y) * math.sqrt(0.5), x


def _forwards(anchor: Thing, thing: Thing) -> tuple[float, float]:
    return _backwards(thing, anchor)


def _apart(anchor: Thing, thing: Thing) -> tuple[float, float]:
    return math.dist(anchor.position, thing.position), 0.0


# How it is said; how far ahead and sideways a thing lies; how far ahead is clear.
_Relation = tuple[tuple[str, ...], Offset, float]
_RELATIONS: tuple[_Relation, ...] = (
    (('left of', 'to the left of', 'on the left of'), _leftwards, SIDE),
    (('right of', 'to the right of', 'on the right of'), _rightwards, SIDE),
    (('behind',), _backwards, DEPTH),
    (('in front of',), _forwards, DEPTH),
    (('nearest to', 'closest to', 'nearest'), _apart, 0.0),
)


def relation(table: Table, rng: random.Random) -> TableQuestion | None:
    """`the object left of the red mug`, `the box between the mug and the can`."""
    anchors = [(index, names) for index, names in _named(table) if names]
    if not anchors:
        return None
    for form in rng.sample(range(len(_RELATIONS) + 1), len(_RELATIONS) + 1):
        for _ in range(TRIES):
            noun = _noun(table, rng, least=1 if rng.random() < 0.2 else 2)
            if form < len(_RELATIONS):
                found = _beside(table, noun, rng.choice(anchors), _RELATIONS[form], rng)
            elif len(anchors) > 1:
                found = _between(table, noun, rng.sample(anchors, 2), rng)
            else:
                break
            if found is not None:
                index, words, mentions = found
                query = f'the {singular_phrase(noun, rng)} {words}'
                return _point(table, Topic.RELATION, query, index, mentions)
    return None


def unanswerable(anchor: str, rng: random.Random) -> str:
    """A relation to something that is not there."""
    words = rng.choice(rng.choice(_RELATIONS)[0])
    return f'the {singular_phrase(Name(), rng)} {words} {anchor}'


def _point(
    table: Table, topic: Topic, query: str, index: int, mentions: Mentions = ()
) -> TableQuestion:
    target = Target(table.things[index].target, index)
    return TableQuestion(topic, query, Mode.POINT, (target,), mentions=mentions)


def _named(table: Table) -> Iterable[tuple[int, list[Name]]]:
    for index in range(len(table.things)):
        yield index, [name for name in table.own_names(index) if name.kind]


def _noun(table: Table, rng: random.Random, least: int) -> Name:
    """What the thing sought is called: `object`, or a name that fits several here."""
    if rng.random() < 0.4:
        return Name()
    names = [
        name for name, members in table.named.items() if len(members) >= least and not name.pattern
    ]
    return rng.choice(names) if names else Name()


def _beside(
    table: Table,
    noun: Name,
    anchor: tuple[int, list[Name]],
    relation: _Relation,
    rng: random.Random,
) -> tuple[int, str, Mentions] | None:
    forms, offset, clear = relation
    index, names = anchor
    others = [other for other in table.named.get(noun, ()) if other != index]
    if len(others) == 1 and offset is _apart:
        return None
    found = _first_ahead(table.things, table.things[index], others, offset, clear)
    if found is None or not table.sure[found]:
        return None
    words = rng.choice(forms)
    named = definite(rng.choice(names), rng)
    return found, f'{words} {named}', ((named, index),)


def _first_ahead(
    things: Sequence[Thing], anchor: Thing, others: Sequence[int], offset: Offset, clear: float
) -> int | None:
    """The nearest of those ahead, if it is well ahead and nothing else ahead is about as near."""
    ahead = []
    for index in others:
        forward, sideways = offset(anchor, things[index])
        if forward > 0:
            ahead.append((math.hypot(forward, sideways), forward, sideways, index))
    if not ahead:
        return None
    ahead.sort()
    distance, forward, sideways, index = ahead[0]
    if forward < clear or abs(sideways) > CONE * forward:
        return None
    if len(ahead) > 1 and ahead[1][0] < NEAREST * distance:
        return None
    return index


def _between(
    table: Table, noun: Name, ends: Sequence[tuple[int, list[Name]]], rng: random.Random
) -> tuple[int, str, Mentions] | None:
    (first, first_names), (second, second_names) = ends
    a, b = table.things[first].target, table.things[second].target
    near = []
    for index in table.named.get(noun, ()):
        if index in (first, second):
            continue
        along, aside = _along(a, b, table.things[index].target)
        if -0.1 < along < 1.1 and aside < 0.6:
            near.append((index, 0.25 < along < 0.75 and aside < 0.25))
    if len(near) != 1 or not near[0][1] or not table.sure[near[0][0]]:
        return None
    names = rng.choice(first_names), rng.choice(second_names)
    one, other = (definite(name, rng) for name in names)
    return near[0][0], f'between {one} and {other}', ((one, first), (other, second))


def _along(
    a: tuple[float, float], b: tuple[float, float], point: tuple[float, float]
) -> tuple[float, float]:
    """How far a point lies along the line from a to b, and aside of it, in lengths of the line."""
    x, y = b[0] - a[0], b[1] - a[1]
    u, v = point[0] - a[0], point[1] - a[1]
    square = x * x + y * y or 1e-9
    return (u * x + v * y) / square, abs(u * y - v * x) / square


def _larger(thing: Thing, other: Thing) -> bool:
    return thing.size >= LARGER * other.size and thing.area >= LARGER * other.area


def _smaller(thing: Thing, other: Thing) -> bool:
    return _larger(other, thing)


def _more_left(thing: Thing, other: Thing) -> bool:
    return thing.target[0] + SIDE <= other.target[0]


def _more_right(thing: Thing, other: Thing) -> bool:
    return _more_left(other, thing)


def _nearer(thing: Thing, other: Thing) -> bool:
    return math.hypot(*thing.position) + CLOSER <= math.hypot(*other.position)


def _farther(thing: Thing, other: Thing) -> bool:
    return _nearer(other, thing)


_EXTREMES: tuple[tuple[tuple[str, ...], Callable[[Thing, Thing], bool]], ...] = (
    (('largest {}', 'biggest {}'), _larger),
    (('smallest {}', 'smallest {}', 'tiniest {}'), _smaller),
    (('leftmost {}', 'leftmost {}', '{} farthest to the left', '{} on the far left'), _more_left),
    (
        ('rightmost {}', 'rightmost {}', '{} farthest to the right', '{} on the far right'),
        _more_right,
    ),
    (('nearest {}', 'closest {}', '{} closest to the camera', '{} nearest to the camera'), _nearer),
    (('farthest {}', 'furthest {}', '{} farthest from the camera', '{} furthest away'), _farther),
)


def extreme(table: Table, rng: random.Random) -> TableQuestion | None:
    """`the largest mug`, `the object closest to the camera`."""
    for forms, beats in rng.sample(_EXTREMES, len(_EXTREMES)):
        for _ in range(TRIES):
            noun = _noun(table, rng, least=2)
            found = _winner(table.things, table.named.get(noun, []), beats)
            if found is not None and table.sure[found]:
                query = 'the ' + rng.choice(forms).format(singular_phrase(noun, rng))
                return _point(table, Topic.EXTREME, query, found)
    return None


def _winner(
    things: Sequence[Thing], members: Sequence[int], beats: Callable[[Thing, Thing], bool]
) -> int | None:
    """The one that clearly beats every other of at least two."""
    if len(members) < 2:
        return None
    best = members[0]
    for index in members[1:]:
        if beats(things[index], things[best]):
            best = index
    wins = all(beats(things[best], things[index]) for index in members if index != best)
    return best if wins else None


_SPACES = (
    'the empty space between {} and {}',
    'the free space between {} and {}',
    'the space between {} and {}',
    'the gap between {} and {}',
    'the free spot between {} and {}',
)


def space(table: Table, rng: random.Random, free: Free | None) -> TableQuestion | None:
    """`the empty space between the mug and the box`: the middle of the two, where it is free."""
    named = [(index, names) for index, names in _named(table) if names]
    if len(named) < 2:
        return None
    for _ in range(3 * TRIES):
        (first, first_names), (second, second_names) = rng.sample(named, 2)
        middle = _free_middle(table.things, first, second)
        if middle is None or (free is not None and not free(*middle)):
            continue
        names = (rng.choice(first_names), rng.choice(second_names))
        words = rng.choice(_SPACES)
        one, other = (definite(name, rng) for name in names)
        return TableQuestion(
            Topic.SPACE,
            words.format(one, other),
            Mode.POINT,
            (Target(middle, None),),
            between=(first, second),
            mentions=((one, first), (other, second)),
        )
    return None


def _free_middle(things: Sequence[Thing], first: int, second: int) -> tuple[float, float] | None:
    a, b = things[first].target, things[second].target
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    for index, thing in enumerate(things):
        # Those on either side may be long; others only need to be out of the way.
        room = _radius(thing) * (1.2 if index in (first, second) else 1.5) + 1
        if math.dist(thing.target, middle) < room:
            return None
    return middle if math.dist(a, b) < 60 else None


def _radius(thing: Thing) -> float:
    """Percent of the image: of a disc as large as what is seen of the thing."""
    return 10 * math.sqrt(thing.area / math.pi)
