# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many questions, and how many bytes of pictures with them, may be here at once.

ROS 2 tells a server nothing of who asks: rclpy keeps the writer of a request to itself, and goals
have ids of their own. What can be told apart is the door, service or action: one door that is
always full cannot keep those at the other outside, for each may have one question here in any case.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class NoRoom(Exception):
    """Too much is here already; the text says how much."""


class Room:
    """Questions that are being answered or wait, and the bytes that they brought.

    max_waiting: how many questions may wait beside the one that runs.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._here: Counter[str] = Counter()
        self._bytes = 0
        self._last_took = 0.0

    @property
    def size(self) -> int:
        """Bytes that the questions here have brought."""
        return self._bytes

    def others(self) -> int:
        """How many questions are here beside the one that asks this."""
        return max(self._here.total() - 1, 0)

    @contextmanager
    def place(self, door: str, size: int, most: int) -> Iterator[None]:
        """A place for a question that came by a door and brought so many bytes.

        most: bytes that all questions here may bring. Raises NoRoom.
        """
        self._enter(door, size, most)
        begun = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._here[door] -= 1
                self._bytes -= size
                self._last_took = time.monotonic() - begun

    def _enter(self, door: str, size: int, most: int) -> None:
        with self._lock:
            here = self._here.total()
            # The other door may have filled the room, and this one has its place all the same.
            only_other = bool(self._max_waiting) and not self._here[door]
            if here > self._max_waiting + only_other:
                raise NoRoom(self._told(here, 'max_waiting'))
            if self._bytes and self._bytes + size > most:
                held = f'{self._bytes / 1e6:.0f} MB of pictures are held (request_memory); '
                raise NoRoom(held + self._told(here, 'max_waiting'))
            self._here[door] += 1
            self._bytes += size

    def _told(self, here: int, limit: str) -> str:
        last = f'; the last was here for {self._last_took:.2g} s' if self._last_took else ''
        return (
            f'a question is running and {here - 1} more wait already ({limit}){last}: '
            'ask again later'
        )
