# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands on a table, and which names fit which of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

DOUBTFUL = 0.35  # visible fraction below which people would not agree that a thing is seen
PLAIN = 'plain'

Percent = tuple[float, float]


@dataclass(frozen=True)
class Thing:
    """An object on the table as the camera sees it.

    target: where to point at it, (x, y) in percent of the image. position: (x, y, z) metres,
    optical frame. size: its longest side, metres. area: percent of the image that it covers.
    visible: which fraction of it is not hidden. parts: where its parts are, those that are seen.
    """

    kind: str
    colour: str
    pattern: str
    target: Percent
    position: tuple[float, float, float]
    size: float
    area: float
    visible: float
    parts: Mapping[str, Percent]


@dataclass(frozen=True)
class World:
    """All that can stand on a table; parts: those that a kind has; untold: pairs of kind and colour
    that no question speaks against, so as not to teach that what is never shown is not there: not
    by both names, nor by the kind where something of the colour lies, nor the other way round.
    """

    kinds: tuple[str, ...]
    colours: tuple[str, ...]
    patterns: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    untold: frozenset[tuple[str, str]] = frozenset()


class Name(NamedTuple):
    """What a thing is called by; empty where it is left open."""

    pattern: str = ''
    colour: str = ''
    kind: str = ''

    @property
    def adjectives(self) -> str:
        """What stands before the noun, a space behind each word."""
        return ''.join(f'{word} ' for word in self[:2] if word)


class Table:
    """Things and their names.

    named: which things each name fits, the doubtful included. A question is judged over all things
    and dropped where a doubtful one takes part in its answer, so those that are hardly seen
    neither make nor break one.
    """

    def __init__(self, things: Sequence[Thing]) -> None:
        self.things = things
        self.sure = [thing.visible >= DOUBTFUL for thing in things]
        self.named: dict[Name, list[int]] = {}
        for index, thing in enumerate(things):
            for name in _names(thing.pattern, thing.colour, thing.kind):
                self.named.setdefault(name, []).append(index)
        self._drop_idle_plain()

    def certain(self, name: Name) -> list[int] | None:
        """Which things the name fits; None where that is in doubt."""
        members = self.named.get(name, [])
        return members if all(self.sure[index] for index in members) else None

    def only(self, name: Name) -> int | None:
        """The one thing that the name fits, beyond doubt."""
        members = self.named.get(name, ())
        return members[0] if len(members) == 1 and self.sure[members[0]] else None

    def own_names(self, index: int) -> list[Name]:
        """The names that fit this thing alone; none for a doubtful one."""
        thing = self.things[index]
        names = _names(thing.pattern, thing.colour, thing.kind)
        return [name for name in names if self.only(name) == index]

    def _drop_idle_plain(self) -> None:
        """Nobody says `plain` where there is no pattern to tell it from."""
        for name in [name for name in self.named if name.pattern == PLAIN]:
            if len(self.named[name]) == len(self.named[name._replace(pattern='')]):
                del self.named[name]


@cache
def _names(pattern: str, colour: str, kind: str) -> tuple[Name, ...]:
    names = (
        Name(),
        Name('', '', kind),
        Name('', colour, ''),
        Name('', colour, kind),
        Name(pattern, colour, kind),
    )
    if pattern == PLAIN:
        return names
    return (*names, Name(pattern, '', ''), Name(pattern, '', kind), Name(pattern, colour, ''))
