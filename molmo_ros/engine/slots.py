# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who holds which slot of the decoder's cache, and who sees what.

An image's tokens hold slots that every question about it sees, and none about another. Each
question takes further ones, sees its own alone, and gives back those of drafts that did not stand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FREE, PADDING, IMAGE, FIRST_QUESTION = -1, 0, 1, 2
FRAME = 1 << 12  # added to an owner once for each frame before its own
BRANCH = 1 << 24  # added to a question's number once for each branch of its draft


class Slots:
    """A table of owners and positions; nothing but bookkeeping.

    Slot 0 is for rows that only fill up a pass.
    """

    def __init__(self) -> None:
        self._owner = np.zeros(1, np.int64)
        self._position = np.zeros(1, np.int64)

    @property
    def extent(self) -> int:
        """One past the last slot in use."""
        return int(np.flatnonzero(self._owner != FREE)[-1]) + 1

    def gap(self, count: int) -> int:
        """The first of the lowest free slots, of so many side by side."""
        taken = np.flatnonzero(self._owner != FREE)
        wide = np.flatnonzero(np.diff(taken) > count)
        return int(taken[wide[0] if len(wide) else -1]) + 1

    def place(self, frame: int, tokens: int) -> slice:
        """Give an image of so many tokens slots side by side."""
        begin = self.gap(tokens)
        self._ensure(begin + tokens)
        image = slice(begin, begin + tokens)
        self._owner[image] = IMAGE + FRAME * frame
        self._position[image] = np.arange(tokens)
        return image

    def drop(self, frame: int) -> None:
        """Free all that a frame and its questions hold."""
        of_frame = self._owner % BRANCH // FRAME == frame
        self._owner[of_frame & (self._owner > PADDING)] = FREE

    def end_questions(self) -> None:
        """Free all but images."""
        self._owner[1:][self._owner[1:] % FRAME != IMAGE] = FREE

    def take(self, owners: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give each row the lowest free slot."""
        free = np.flatnonzero(self._owner == FREE)
        if len(free) < len(owners):
            self._ensure(len(self._owner) + len(owners))
            free = np.flatnonzero(self._owner == FREE)
        taken = free[: len(owners)]
        self._owner[taken] = owners
        self._position[taken] = positions
        return taken

    def release(self, slots: NDArray[np.int64]) -> None:
        self._owner[slots] = FREE

    def join(self, slots: NDArray[np.int64], owner: int) -> None:
        """Give a question what a branch of its draft held."""
        self._owner[slots] = owner

    def release_all(self, owner: int) -> None:
        """Free whatever an owner holds."""
        self._owner[self._owner == owner] = FREE

    def mask(
        self, owners: NDArray[np.int64], last_seen: NDArray[np.int64], extent: int
    ) -> NDArray[np.bool_]:
        """(rows, extent): whether a row sees a slot: its image's or its own, up to a position.

        A row of a branch sees its question's, too, and nothing of other branches.
        """
        self._ensure(extent)
        owner, position = self._owner[:extent], self._position[:extent]
        images = np.where(owners == PADDING, PADDING, owners % BRANCH // FRAME * FRAME + IMAGE)
        shared = owner == images[:, None]
        own = owner == owners[:, None]
        if (owners >= BRANCH).any():
            own |= owner == owners[:, None] % BRANCH
        return (shared | own) & (position <= last_seen[:, None])

    def _ensure(self, count: int) -> None:
        lacking = count - len(self._owner)
        if lacking > 0:
            self._owner = np.append(self._owner, np.full(lacking, FREE))
            self._position = np.append(self._position, np.zeros(lacking, np.int64))
