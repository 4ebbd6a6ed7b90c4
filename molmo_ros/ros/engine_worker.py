# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one thread in which the engine loads and answers, so that nothing else waits for it."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine import (
    Answer,
    Engine,
    EngineError,
    Pointer,
    Question,
    QueuedQuestion,
    as_engine,
)
from molmo_ros.engine.answers import NOT_TOLD
from molmo_ros.engine.frame_cache import same_pixels

Progress = Callable[[str, float], None]
EngineLoader = Callable[[Progress], Pointer]

# What a refusal begins with when there will never be an engine.
LOAD_FAILED = 'the model could not be loaded'

AT_ONCE = 16  # questions in common passes


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


@dataclass(frozen=True, eq=False)
class _Job:
    """A question about an image, and who waits for its answer."""

    image: NDArray[np.uint8]
    question: Question
    should_stop: Callable[[], bool]
    future: Future[Answer]

    def tell(self, outcome: Answer | Exception) -> None:
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class EngineWorker:
    """Loads an engine and answers questions, in a thread of its own.

    One image is looked at after the other, in the order of arrival. Questions that wait when an
    image's turn comes and are about just that image are asked of the engine together.

    load: called in that thread with a callback for progress (what, 0 to 1); this is where torch
    is imported, if at all.
    """

    def __init__(self, load: EngineLoader) -> None:
        self._load = load
        self._waiting: list[_Job] = []
        self._arrival = threading.Condition()
        self._closing = threading.Event()
        self._state = EngineState(EnginePhase.LOADING, 'starting')
        # A daemon, because a pass of a large model cannot be interrupted at shutdown.
        self._thread = threading.Thread(target=self._run, name='engine', daemon=True)
        self._thread.start()

    @property
    def state(self) -> EngineState:
        """What the engine is doing now."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many questions wait for their turn."""
        return len(self._waiting)

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
        job = _Job(image, question, lambda: self._closing.is_set() or should_stop(), Future())
        with self._arrival:
            self.require_ready()
            self._waiting.append(job)
            self._arrival.notify()
        return job.future

    def close(self, timeout: float) -> bool:
        """Stop after the current pass; False if that takes longer than `timeout` seconds."""
        self._closing.set()
        with self._arrival:
            self._arrival.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            loaded = self._load(self._on_progress)
        except BaseException as error:
            if not self._closing.is_set():
                detail = str(error) or type(error).__name__
                self._state = EngineState(EnginePhase.FAILED, detail)
            return
        engine = as_engine(loaded)
        self._state = EngineState(EnginePhase.READY, progress=1.0)
        try:
            while jobs := self._next():
                _answer(engine, [j for j in jobs if j.future.set_running_or_notify_cancel()])
        finally:
            self._dismiss()
            engine.close()

    def _next(self) -> list[_Job]:
        """The question that has waited longest, and those about the same image; none at the end."""
        with self._arrival:
            self._arrival.wait_for(lambda: self._waiting or self._closing.is_set())
            if self._closing.is_set():
                return []
            waiting = list(self._waiting)
        # Large images take some time to compare, and whoever submits does not wait for that.
        same = [job for job in waiting if same_pixels(job.image, waiting[0].image)][:AT_ONCE]
        with self._arrival:
            self._waiting = [job for job in self._waiting if job not in same]
        return same

    def _dismiss(self) -> None:
        """Take no more questions, and tell those that still wait."""
        with self._arrival:
            self._state = EngineState(EnginePhase.CLOSED)
            left, self._waiting = self._waiting, []
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.tell(EngineNotReady(_why_not_ready(self._state)))

    def _on_progress(self, what: str, share: float) -> None:
        if self._closing.is_set():
            raise EngineNotReady('the node is shutting down')
        self._state = EngineState(EnginePhase.LOADING, what, share)


def _answer(engine: Engine, jobs: Sequence[_Job]) -> None:
    """Ask about one image; whatever happens, everybody is told."""
    if not jobs:
        return
    asked = [QueuedQuestion(job.question, job.tell, job.should_stop) for job in jobs]
    why: BaseException = EngineError(NOT_TOLD)
    try:
        engine.answer_each(jobs[0].image, asked)
    except BaseException as error:
        why = error
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(why)


def _why_not_ready(state: EngineState) -> str:
    if state.phase is EnginePhase.LOADING:
        return f'the model is loading ({state.detail}, {state.progress:.0%}): ask again in a while'
    if state.phase is EnginePhase.FAILED:
        return f'{LOAD_FAILED}: {state.detail}'
    return 'the node is shutting down'
