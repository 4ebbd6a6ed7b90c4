# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What nobody has to wait for, done after the answer in a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

_MOST_WAITING = 16


class Later:
    """Calls `do` with what it is given, in order; the oldest is left out where too much waits.

    log_error: gets what `do` raises.
    """

    def __init__(self, do: Callable[..., object], log_error: Callable[[str], object]) -> None:
        self._do = do
        self._log_error = log_error
        self._waiting: queue.Queue[tuple[Any, ...] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name='later', daemon=True)
        self._thread.start()

    def add(self, *arguments: Any) -> None:
        """Do this some time."""
        if self._waiting.qsize() >= _MOST_WAITING:
            with contextlib.suppress(queue.Empty):
                self._waiting.get_nowait()
        self._waiting.put(arguments)

    def close(self, timeout: float) -> bool:
        """Do what still waits, and no more; False if that takes longer than `timeout` seconds."""
        self._waiting.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (arguments := self._waiting.get()) is not None:
            try:
                self._do(*arguments)
            except Exception as error:
                self._log_error(f'an answer could not be shown: {error!r}')
            del arguments
