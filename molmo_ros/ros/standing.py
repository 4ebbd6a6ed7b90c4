# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which standing questions there are, and for how long; no messages and no threads here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from molmo_ros.engine import Question
from molmo_ros.ros.answering import Refused, Request, Status


@dataclass(frozen=True)
class Standing:
    """A question that is answered again and again.

    period: seconds at least from answer to answer. lease: seconds that it lives without being
    renewed; until: when that is over, on the clock of time.monotonic().
    """

    id: str
    request: Request
    period: float
    lease: float
    until: float

    @property
    def question(self) -> Question:
        """What the engine is asked."""
        return Question(self.request.query, self.request.mode, self.request.max_points)

    @property
    def key(self) -> tuple[str, Question]:
        """By which its points are followed: those of another question are others."""
        return self.id, self.question


class StandingBook:
    """The standing questions, at most so many. Safe to use from any thread.

    clock: seconds, for the leases.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._standing: dict[str, Standing] = {}
        self._changed = threading.Condition()
        self._closed = False

    def set(self, id: str, request: Request, period: float, lease: float) -> Standing:
        """Let a question stand from now on, or renew it. Raises Refused."""
        with self._changed:
            if self._closed:
                raise Refused(Status.NOT_READY, 'the node is shutting down')
            self._expire()
            if id not in self._standing and len(self._standing) >= self._most:
                raise Refused(Status.BUSY, self._full())
            standing = Standing(id, request, period, lease, self._clock() + lease)
            self._standing[id] = standing
            self._changed.notify_all()
            return standing

    def end(self, id: str) -> None:
        """End one. Raises Refused where there is none of this id."""
        with self._changed:
            self._expire()
            if self._standing.pop(id, None) is None:
                raise Refused(
                    Status.INVALID_REQUEST,
                    f"no standing question has the id '{id}': it was ended, or its lease is over",
                )

    def living(self) -> tuple[Standing, ...]:
        """Those whose lease is not over, the oldest first."""
        with self._changed:
            self._expire()
            return tuple(self._standing.values())

    def wait_for_any(self) -> bool:
        """Wait until there is one; False when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._standing)
            return not self._closed

    def close(self) -> None:
        """End all, and take no more."""
        with self._changed:
            self._closed = True
            self._standing.clear()
            self._changed.notify_all()

    def _expire(self) -> None:
        now = self._clock()
        self._standing = {id: one for id, one in self._standing.items() if one.until > now}

    def _full(self) -> str:
        if not self._most:
            return 'no standing questions are allowed: set max_standing higher'
        soonest = min(one.until for one in self._standing.values()) - self._clock()
        return (
            f'{self._most} standing questions are as many as max_standing allows: end one, or ask '
            f'again when a lease is over, in {soonest:.1f} s at the earliest'
        )
