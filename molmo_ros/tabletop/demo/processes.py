# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes in processes of their own, and gone in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType

from molmo_ros.errors import UserError
from molmo_ros.starting import PARENT

_STOP_TIMEOUT_S = 5.0
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NodeProcesses:
    """Runs Python modules as processes; whatever happens, leaving the context ends them all.

    logs: folder for what they print, one NAME.log each.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._starting = False
        self._ending: int | None = None

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start `python -m MODULE ARGUMENTS`."""
        # A process that was begun when a signal came, but not yet noted, would be left behind.
        self._starting = True
        try:
            self._processes[name] = self._popen(name, module, *arguments)
        finally:
            self._starting = False
        self._end_if_told()

    def check(self) -> None:
        """Raises UserError, with the end of its log, if one of them is no longer there."""
        self._end_if_told()
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = self._log(name)
                last = '\n'.join(log.read_text(errors='replace').splitlines()[-12:])
                raise UserError(f'{name} ended with {process.returncode}; {log} ends in:\n{last}')

    def _popen(self, name: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log(name).open('wb') as log:
            return subprocess.Popen(
                [sys.executable, '-m', module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | _named_parent(),
                # Ctrl-C reaches this process alone, which then ends them in order.
                start_new_session=True,
            )

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending = number
        if not self._starting:
            raise SystemExit(128 + number)

    def _end_if_told(self) -> None:
        """A signal's exception is lost where Python may raise none: in a destructor, a callback."""
        if self._ending is not None:
            raise SystemExit(128 + self._ending)

    def _log(self, name: str) -> Path:
        return self._logs / f'{name}.log'

    def __enter__(self) -> NodeProcesses:
        self._handlers = {number: signal.signal(number, self._end) for number in _ENDINGS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        try:
            _stop(list(self._processes.values()))
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        if kind is None:
            self._end_if_told()


def _named_parent() -> dict[str, str]:
    """Has nodes end when this process is killed; Linux goes by the thread that started them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {PARENT: str(os.getpid())}


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Interrupt them all, wait, kill who is left."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
