# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long a question may still take, and whether anybody wants its answer: for every stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Deadline:
    """The end of a question's time.

    at: on the clock of time.monotonic(). should_stop: whether nobody wants the answer any more.
    """

    at: float = inf
    should_stop: Callable[[], bool] = _never

    @classmethod
    def after(cls, seconds: float, should_stop: Callable[[], bool] = _never) -> Deadline:
        """One that is so many seconds from now."""
        return cls(time.monotonic() + seconds, should_stop)

    def remaining(self) -> float:
        """Seconds left, at least 0."""
        return max(self.at - time.monotonic(), 0.0)

    def within(self, seconds: float) -> float:
        """Seconds that a wait of at most so many may take."""
        return min(seconds, self.remaining())

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.remaining() <= 0


ENDLESS = Deadline()
