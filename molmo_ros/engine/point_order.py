# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""In which order MolmoPoint's tokens may come: a patch, a part of it, a place in that.

The reference enforces this on what its network finds likely, and so does this; `model.point_greedy`
has the same rules as the reference wrote them, over all logits at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.model.molmo_point_config import PointRules
from molmo_ros.model.point_ids import Kind, PointIds

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Choices:
    """What the network finds after a token, before any rule.

    text: the likeliest id of the vocabulary, text_logit its logit. patch_logit: that of a patch,
    whichever. patches: (n + 1,) logits of the patches, of no more points last where there is such a
    class; subpatches and locations: theirs.
    """

    text: int
    text_logit: float
    patch_logit: float
    patches: Floats
    subpatches: Floats
    locations: Floats


class Order:
    """What has been read of a line, as far as it matters for what may follow.

    last_patch: the patch that was read last, -1 for none.
    """

    def __init__(self, ids: PointIds, rules: PointRules) -> None:
        self._ids, self._rules = ids, rules
        self._recent: list[tuple[Kind, int]] = []  # the last two
        # Of what came before those. The reference looks no further either: just after a place,
        # its part does not count yet.
        self._patch = self._subpatch = -1
        self._ended = False
        self.last_patch = -1

    def copy(self) -> Order:
        other = Order(self._ids, self._rules)
        other._recent = list(self._recent)
        other._patch, other._subpatch = self._patch, self._subpatch
        other._ended, other.last_patch = self._ended, self.last_patch
        return other

    def read(self, token: int) -> None:
        """Take one more token."""
        kind, index = self._ids.read(token)
        self._recent.append((kind, index))
        if kind is Kind.PATCH:
            self.last_patch = index
        self._ended = self._ended or kind is Kind.END
        if len(self._recent) > 2:
            complete, which = self._recent.pop(0)
            if complete is Kind.PATCH:
                self._patch = which
            elif complete is Kind.SUBPATCH:
                self._subpatch = which

    def can_read(self, token: int) -> bool:
        """Whether a token, drafted, is one whose input is known: a part needs its patch."""
        kind, _ = self._ids.read(token)
        before = self._recent[-1][0] if self._recent else Kind.TEXT
        if kind is Kind.SUBPATCH:
            return before is Kind.PATCH
        return (kind is Kind.LOCATION) == (before is Kind.SUBPATCH) and before is not Kind.PATCH

    def next_token(self, found: Choices, may_point: bool) -> tuple[int, Floats]:
        """The likeliest token that may follow, and the belief in all that it could have been.

        The belief is (n,) in patches for a patch, (s,) or (9,) for what comes after one, and empty
        for text and for no more points. may_point: whether a patch may come at all.
        """
        kind = self._recent[-1][0] if self._recent else Kind.TEXT
        if kind is Kind.PATCH and not self._ended:
            allowed = found.subpatches.copy()
            if self._rules.sorted_subpatches and self._patch == self._recent[-1][1]:
                allowed[: self._subpatch + self._rules.no_repeats] = -np.inf
            if not np.isfinite(allowed).any():
                allowed = found.subpatches
            return self._ids.subpatch(int(allowed.argmax())), softmax(allowed)
        if kind is Kind.SUBPATCH and not self._ended:
            return self._ids.location(int(found.locations.argmax())), softmax(found.locations)
        nothing = np.zeros(0, np.float32)
        if not may_point or self._ended or found.text_logit >= found.patch_logit:
            return found.text, nothing
        forbidden = self._forbidden(len(found.patches))
        best = int(found.patches.argmax())
        if forbidden[best]:
            return found.text, nothing
        patches = len(found.patches) - self._ids.ends
        if best == patches:
            return self._ids.end, nothing
        belief = np.where(forbidden, np.float32(-np.inf), found.patches)[:patches]
        return self._ids.patch(best), softmax(belief)

    def _forbidden(self, count: int) -> NDArray[np.bool_]:
        """Which of so many patches may not come next."""
        forbidden = np.zeros(count, np.bool_)
        rules = self._rules
        if self._patch >= 0 and rules.sorted_patches:
            forbidden[: self._patch] = True
        used_up = self._subpatch == self._ids.subpatches - 1
        if self._patch >= 0 and used_up and rules.no_repeats and rules.sorted_subpatches:
            forbidden[self._patch] = True
        return forbidden


def softmax(logits: Floats) -> Floats:
    shares: Floats = np.exp(logits - logits.max())
    return shares / shares.sum()
