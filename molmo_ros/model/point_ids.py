# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tokens that MolmoPoint points with, three a point: a patch, a part of it, a place in that.

The reference numbers them from the vocabulary's end on, patches first, so that what a number means
depends on the image. Here patches come last, and a number means the same in every image; only what
is told is numbered as the reference does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

LOCATIONS = 9  # in a part of a patch, column by column


class Kind(Enum):
    """What a token is, and how it is written in an answer's text."""

    TEXT = ''
    PATCH = 'PATCH'
    SUBPATCH = 'SUBPATCH'
    LOCATION = 'LOCATION'
    END = 'END'  # no more points


_WRITTEN = re.compile(r'<(?:(PATCH|SUBPATCH|LOCATION)_([0-9]{1,6})|(END))>')


@dataclass(frozen=True)
class PointIds:
    """first: the id after the vocabulary. subpatches: parts of a patch. ends: whether there is a
    token for no more points."""

    first: int
    subpatches: int
    ends: bool

    @property
    def end(self) -> int:
        return self.first

    def location(self, index: int) -> int:
        return self.first + 1 + index

    def subpatch(self, index: int) -> int:
        return self.first + 1 + LOCATIONS + index

    def patch(self, index: int) -> int:
        return self.first + 1 + LOCATIONS + self.subpatches + index

    def read(self, token: int) -> tuple[Kind, int]:
        """What an id is, and which of its kind (for text the id itself)."""
        if token < self.first:
            return Kind.TEXT, token
        if token == self.end:
            return Kind.END, 0
        if token < self.subpatch(0):
            return Kind.LOCATION, token - self.location(0)
        if token < self.patch(0):
            return Kind.SUBPATCH, token - self.subpatch(0)
        return Kind.PATCH, token - self.patch(0)

    def written(self, token: int) -> str:
        """How a token that is no text is written."""
        kind, index = self.read(token)
        return '<END>' if kind is Kind.END else f'<{kind.value}_{index}>'

    def in_text(self, text: str) -> Iterator[str | int]:
        """Cut a text into words and the ids that are written between them."""
        before = 0
        for found in _WRITTEN.finditer(text):
            token = self._named(found)
            if token is not None:
                yield text[before : found.start()]
                yield token
                before = found.end()
        yield text[before:]

    def told(self, token: int, patches: int) -> int:
        """The reference's number of a token, in an image of so many patches."""
        kind, index = self.read(token)
        after = patches + self.ends
        place = {
            Kind.TEXT: index - self.first,
            Kind.PATCH: index,
            Kind.END: patches,
            Kind.SUBPATCH: after + index,
            Kind.LOCATION: after + self.subpatches + index,
        }
        return self.first + place[kind]

    def ours(self, told: Sequence[int], patches: int) -> list[int]:
        """The way back from `told`, of several."""
        known = {
            self.told(token, patches): token for token in range(self.first, self.patch(patches))
        }
        return [known.get(token, token) for token in told]

    def told_text(self, text: str, patches: int) -> str:
        """An answer's text as the reference writes it, in an image of so many patches."""
        return ''.join(
            piece if isinstance(piece, str) else f'<POINT_{self.told(piece, patches) - self.first}>'
            for piece in self.in_text(text)
        )

    def _named(self, found: re.Match[str]) -> int | None:
        kind, index, end = found.groups()
        if end:
            return self.end
        number = int(index)
        if kind == 'PATCH':
            return self.patch(number)
        if kind == 'SUBPATCH':
            return self.subpatch(number) if number < self.subpatches else None
        return self.location(number) if number < LOCATIONS else None
