# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Time that has jumped back, and what was sent before it and is heard after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

# Poses may be published ahead of time (a localisation's transform tolerance is a second or less),
# and time itself is told once a second at least.
AHEAD_NS = 2_000_000_000

LEFT_OVER = (
    f'time has jumped back, and its stamp is more than {AHEAD_NS * 1e-9:g} s ahead of it: it was '
    'sent before the jump, or by somebody whose clock is wrong'
)


@dataclass(frozen=True)
class TimeJump:
    """A jump back, as of a recording that loops or a simulator that is reset.

    Topics are heard in no order among each other: a message of the time before may come after the
    jump was noticed, and would pass for the newest until that time comes round again.

    now: the time since, nanoseconds; may be called from any thread. ended: the latest that was
    before, nanoseconds; inf where that is not known. until: on the clock of time.monotonic(), when
    nothing of before can be on its way any more; for a `now` that may go wrong.
    """

    now: Callable[[], int]
    ended: float = inf
    until: float = inf

    def left_over(self, stamp: int) -> bool:
        """Whether what is heard now with that stamp, nanoseconds, was sent before the jump."""
        ahead = self.now() + AHEAD_NS < stamp <= self.ended + AHEAD_NS
        return ahead and time.monotonic() < self.until
