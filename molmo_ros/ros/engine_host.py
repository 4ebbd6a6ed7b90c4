# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The engine through the states of a managed node: none, loaded, asked, given back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine import Answer, Question
from molmo_ros.ros.engine_worker import (
    EngineHealth,
    EngineLoader,
    EngineNotReady,
    EnginePhase,
    EngineState,
    EngineWorker,
    why_not_ready,
)


class EngineView:
    """An engine that another node has: asked, but neither loaded nor given back. See `EngineHost`.

    host: of the node that has it. node_name: of the node that only asks it. It answers while both
    are `active`.
    """

    def __init__(self, host: EngineHost) -> None:
        self._host = host
        self.node_name = ''
        self.active = False

    @property
    def state(self) -> EngineState:
        return _while_active(self._host.state, self.active, self.node_name)

    @property
    def health(self) -> EngineHealth:
        return self._host.health

    @property
    def assumed(self) -> tuple[str, ...]:
        return self._host.assumed

    @property
    def waiting(self) -> int:
        return self._host.waiting

    def expect(self) -> None:
        """Nothing to do."""

    def load(self) -> None:
        """Nothing to do."""

    def unload(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float, leaving: bool = False) -> bool:
        return True

    def require_ready(self) -> None:
        _require_ready(self.state)

    def submit(
        self,
        image: NDArray[np.uint8],
        question: Question,
        should_stop: Callable[[], bool],
        source: str = '',
    ) -> Future[Answer]:
        self.require_ready()
        return self._host.submit(image, question, should_stop, source)


class EngineHost:
    """Holds a worker while there is one, and says what to do where there is none.

    load, reload_after: see EngineWorker. node_name: for the commands that are told. It answers
    while it is `active`.
    """

    def __init__(
        self, load: EngineLoader, node_name: str, reload_after: Callable[[], float]
    ) -> None:
        self._load = load
        self._reload_after = reload_after
        self._node_name = node_name
        self._worker: EngineWorker | None = None
        self._lock = threading.Lock()
        self._without = self._unconfigured()
        self.active = False

    @property
    def state(self) -> EngineState:
        """What it is doing, and where it cannot be asked why, or what to do."""
        worker = self._worker
        if worker is None:
            return self._without
        return _while_active(worker.state, self.active, self._node_name)

    @property
    def health(self) -> EngineHealth:
        """How it does."""
        worker = self._worker
        return EngineHealth() if worker is None else worker.health

    @property
    def assumed(self) -> tuple[str, ...]:
        """What is taken for granted of it in every answer."""
        worker = self._worker
        return () if worker is None else worker.assumed

    @property
    def waiting(self) -> int:
        """How many questions wait for it."""
        worker = self._worker
        return 0 if worker is None else worker.waiting

    def expect(self) -> None:
        """Somebody is about to load it: no question has to be told how."""
        self._without = EngineState(EnginePhase.LOADING, 'starting')

    def load(self) -> None:
        """Load it, and wait for that. Raises EngineNotReady, which says why it could not be."""
        with self._lock:
            if self._without.phase is EnginePhase.CLOSED:
                raise EngineNotReady(why_not_ready(self._without))
            worker = self._worker = EngineWorker(self._load, self._reload_after)
        state = worker.wait_until_loaded()
        if state.phase is not EnginePhase.READY:
            with self._lock:
                # It may have been closed for good meanwhile.
                if (
                    state.phase is EnginePhase.FAILED
                    and self._without.phase is not EnginePhase.CLOSED
                ):
                    self._without = state
                self._worker = None
            raise EngineNotReady(why_not_ready(state))

    def unload(self, timeout: float) -> bool:
        """Give it back, with the memory it holds; it can be loaded again.

        False, and it stays, if it is in a pass that takes longer than `timeout` seconds.
        """
        return self._end(timeout, self._unconfigured())

    def close(self, timeout: float, leaving: bool = False) -> bool:
        """Give it back for good; see `unload`, and `EngineWorker.close`."""
        return self._end(timeout, EngineState(EnginePhase.CLOSED), leaving)

    def require_ready(self) -> None:
        """Raise EngineNotReady unless questions can be asked."""
        _require_ready(self.state)

    def submit(
        self,
        image: NDArray[np.uint8],
        question: Question,
        should_stop: Callable[[], bool],
        source: str = '',
    ) -> Future[Answer]:
        """See `EngineWorker.submit`."""
        self.require_ready()
        worker = self._worker
        if worker is None:  # just now
            raise EngineNotReady(why_not_ready(self._without))
        return worker.submit(image, question, should_stop, source)

    def _end(self, timeout: float, state: EngineState, leaving: bool = False) -> bool:
        with self._lock:
            worker = self._worker
            self._without = state
        if worker is not None and not worker.close(timeout, leaving):
            return False
        self._worker = None
        return True

    def _unconfigured(self) -> EngineState:
        detail = (
            f'ros2 lifecycle set {self._node_name} configure, which loads the model, and activate'
        )
        return EngineState(EnginePhase.UNCONFIGURED, detail)


def _while_active(state: EngineState, active: bool, node_name: str) -> EngineState:
    """The state as a node has it that is active, or is not."""
    if state.phase is EnginePhase.READY and not active:
        return EngineState(EnginePhase.INACTIVE, f'ros2 lifecycle set {node_name} activate', 1.0)
    return state


def _require_ready(state: EngineState) -> None:
    if state.phase is not EnginePhase.READY:
        raise EngineNotReady(why_not_ready(state))
