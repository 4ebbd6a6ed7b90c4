# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who holds which slot of the decoder's cache, and who sees what.

The image's tokens hold slots that every question sees. Each question takes further ones, sees its
own alone, and gives back those of drafts that did not stand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FREE, PADDING, IMAGE, FIRST_QUESTION = -1, 0, 1, 2
BRANCH = 1 << 16  # added to a question's number once for each branch of its draft
FIRST_SLOT = 1  # slot 0 is for rows that only fill up a pass


class Slots:
    """A table of owners and positions; nothing but bookkeeping."""

    def __init__(self) -> None:
        self._owner = np.zeros(1, np.int64)
        self._position = np.zeros(1, np.int64)

    @property
    def extent(self) -> int:
        """One past the last slot in use."""
        return int(np.flatnonzero(self._owner != FREE)[-1]) + 1

    def clear(self, image_tokens: int) -> None:
        """Free all but an image of so many tokens."""
        self._ensure(FIRST_SLOT + image_tokens)
        image = slice(FIRST_SLOT, FIRST_SLOT + image_tokens)
        self._owner[FIRST_SLOT:] = FREE
        self._owner[image] = IMAGE
        self._position[image] = np.arange(image_tokens)

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
        """(rows, extent): whether a row sees a slot: the image's or its own, up to a position.

        A row of a branch sees its question's, too, and nothing of other branches.
        """
        self._ensure(extent)
        owner, position = self._owner[:extent], self._position[:extent]
        shared = (owner == IMAGE) & (owners != PADDING)[:, None]
        own = owner == owners[:, None]
        if (owners >= BRANCH).any():
            own |= owner == owners[:, None] % BRANCH
        return (shared | own) & (position <= last_seen[:, None])

    def _ensure(self, count: int) -> None:
        lacking = count - len(self._owner)
        if lacking > 0:
            self._owner = np.append(self._owner, np.full(lacking, FREE))
            self._position = np.append(self._position, np.zeros(lacking, np.int64))
