# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one thread in which the engine loads and answers, so that nothing else waits for it."""

from __future__ import annotations

import enum
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine import Answer, Engine, Question

Progress = Callable[[str, float], None]
EngineLoader = Callable[[Progress], Engine]


class EnginePhase(enum.Enum):
    """What the engine is doing."""

    LOADING = 'loading'
    READY = 'ready'
    FAILED = 'failed'
    CLOSED = 'closed'


@dataclass(frozen=True)
class EngineState:
    """phase, and in words how far or why; progress: 0 to 1 while loading."""

    phase: EnginePhase
    detail: str = ''
    progress: float = 0.0


class EngineNotReady(Exception):
    """The engine cannot be asked now; the text says why."""


class EngineWorker:
    """Loads an engine and answers one question after the other, in a thread of its own.

    load: called in that thread with a callback for progress (what, 0 to 1); this is where torch
    is imported, if at all.
    """

    def __init__(self, load: EngineLoader) -> None:
        self._load = load
        self._jobs: queue.SimpleQueue[Callable[[Engine], None] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._state = EngineState(EnginePhase.LOADING, 'starting')
        # A daemon, because a pass of a large model cannot be interrupted at shutdown.
        self._thread = threading.Thread(target=self._run, name='engine', daemon=True)
        self._thread.start()

    @property
    def state(self) -> EngineState:
        """What the engine is doing now."""
        return self._state

    def require_ready(self) -> None:
        """Raise EngineNotReady unless questions can be asked."""
        state = self._state
        if state.phase is not EnginePhase.READY:
            raise EngineNotReady(_why_not_ready(state))

    def submit(
        self, image: NDArray[np.uint8], question: Question, should_stop: Callable[[], bool]
    ) -> Future[Answer]:
        """Queue a question about an (H, W, 3) RGB image.

        The future's cancel() takes it back while it has not begun; once it runs, should_stop does.
        Raises EngineNotReady.
        """
        self.require_ready()
        future: Future[Answer] = Future()

        def job(engine: Engine) -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(
                    engine.answer(image, question, lambda: self._closing.is_set() or should_stop())
                )
            except BaseException as error:
                future.set_exception(error)

        self._jobs.put(job)
        return future

    def close(self, timeout: float) -> bool:
        """Stop after the current pass; False if that takes longer than `timeout` seconds."""
        self._closing.set()
        self._jobs.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            engine = self._load(self._on_progress)
        except BaseException as error:
            if not self._closing.is_set():
                detail = str(error) or type(error).__name__
                self._state = EngineState(EnginePhase.FAILED, detail)
            return
        self._state = EngineState(EnginePhase.READY, progress=1.0)
        try:
            while not self._closing.is_set() and (job := self._jobs.get()) is not None:
                job(engine)
        finally:
            self._state = EngineState(EnginePhase.CLOSED)
            engine.close()

    def _on_progress(self, what: str, share: float) -> None:
        if self._closing.is_set():
            raise EngineNotReady('the node is shutting down')
        self._state = EngineState(EnginePhase.LOADING, what, share)


def _why_not_ready(state: EngineState) -> str:
    if state.phase is EnginePhase.LOADING:
        return f'the model is loading ({state.detail}, {state.progress:.0%}): ask again in a while'
    if state.phase is EnginePhase.FAILED:
        return f'the model could not be loaded: {state.detail}'
    return 'the node is shutting down'
