# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one thread in which the engine loads and answers, so that nothing else waits for it."""

from __future__ import annotations

import enum
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine import (
    Answer,
    AskedImage,
    Engine,
    EngineError,
    InvalidImage,
    InvalidQuestion,
    Pointer,
    Question,
    QueuedQuestion,
    Stopped,
    as_engine,
)
from molmo_ros.engine.answers import NOT_TOLD
from molmo_ros.engine.frame_cache import same_pixels

Progress = Callable[[str, float], None]
EngineLoader = Callable[[Progress], Pointer]

# What a refusal begins with when there will never be an engine.
LOAD_FAILED = 'the model could not be loaded'

_MOST_SOURCES = 256  # whose turn is remembered
AT_ONCE = 16  # questions in common passes
_FEW_FAILURES = 3  # that say nothing yet


# Seconds at most between two tries to load a model that failed.
LONGEST_PAUSE_S = 600.0


class EnginePhase(enum.Enum):
    """What the engine is doing."""

    UNCONFIGURED = 'unconfigured'
    LOADING = 'loading'
    INACTIVE = 'inactive'
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


@dataclass(frozen=True)
class EngineHealth:
    """How the engine does. quiet: seconds since it last showed life in an answer, 0 while it has
    none to give. failures: in a row; error: the last of them, '' after an answer. reloads: so far.
    """

    quiet: float = 0.0
    failures: int = 0
    error: str = ''
    reloads: int = 0

    @property
    def out_of_memory(self) -> bool:
        """Whether the last question ended so."""
        return 'out of memory' in self.error.lower() or 'MemoryError' in self.error

    @property
    def lost(self) -> bool:
        """Whether only another process can compute again: CUDA never recovers in this one."""
        return 'CUDA error' in self.error and not self.out_of_memory


@dataclass(frozen=True, eq=False)
class _Job:
    """A question about an image, and who waits for its answer. source: whom it is from."""

    image: NDArray[np.uint8]
    question: Question
    should_stop: Callable[[], bool]
    future: Future[Answer]
    source: str = ''

    def tell(self, outcome: Answer | Exception) -> None:
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class EngineWorker:
    """Loads an engine and answers questions, in a thread of its own.

    One image is looked at after the other, several at a time by an engine that says so: that of
    the source which has waited longest since one of its own was looked at, and of a source in the
    order of arrival. So one that asks much does not keep others waiting. Questions that wait when
    an image's turn comes and are about just that image are asked of the engine together. An engine
    that can answer about a further image meanwhile takes it in the same order.

    load: called in that thread with a callback for progress (what, 0 to 1); this is where torch
    is imported, if at all. reload_after: tells the seconds of nothing but failures after which the
    engine is closed and loaded anew; twice as long if that did not help, and so on; 0: never.
    """

    def __init__(self, load: EngineLoader, reload_after: Callable[[], float] = lambda: 0.0) -> None:
        self._load = load
        self._reload_after = reload_after
        self._pulse = _Pulse()
        self._waiting: list[_Job] = []
        self._arrival = threading.Condition()
        self._choosing = threading.Lock()
        self._turns: OrderedDict[str, None] = OrderedDict()  # sources, the last served at the end
        self._engine: Engine | None = None
        self._assumed: tuple[str, ...] = ()
        self._closing = threading.Event()
        self._loaded = threading.Event()
        self._leaving = False
        self._state = EngineState(EnginePhase.LOADING, 'starting')
        # A daemon, because a pass of a large model cannot be interrupted at shutdown.
        self._thread = threading.Thread(target=self._run, name='engine', daemon=True)
        self._thread.start()

    @property
    def state(self) -> EngineState:
        """What the engine is doing now."""
        return self._state

    @property
    def health(self) -> EngineHealth:
        """How it does."""
        return self._pulse.health()

    @property
    def waiting(self) -> int:
        """How many questions wait for their turn."""
        return len(self._waiting)

    @property
    def assumed(self) -> tuple[str, ...]:
        """What is taken for granted of the engine in every answer, as of the last that was told."""
        engine = self._engine
        return self._assumed if engine is None else engine.assumed

    def wait_until_loaded(self) -> EngineState:
        """The state after loading, however that ended."""
        self._loaded.wait()
        return self._state

    def require_ready(self) -> None:
        """Raise EngineNotReady unless questions can be asked."""
        state = self._state
        if state.phase is not EnginePhase.READY:
            raise EngineNotReady(why_not_ready(state))

    def submit(
        self,
        image: NDArray[np.uint8],
        question: Question,
        should_stop: Callable[[], bool],
        source: str = '',
    ) -> Future[Answer]:
        """Queue a question about an (H, W, 3) RGB image; source: who takes turns with others.

        The future's cancel() takes it back while it has not begun; once it runs, should_stop does.
        Raises EngineNotReady.
        """
        stop = lambda: self._closing.is_set() or should_stop()  # noqa: E731
        job = _Job(image, question, stop, Future(), source)
        with self._arrival:
            self.require_ready()
            self._waiting.append(job)
            self._arrival.notify()
        job.future.add_done_callback(self._take_back)
        return job.future

    def _take_back(self, future: Future[Answer]) -> None:
        """What was cancelled waits no more, and keeps no picture."""
        if future.cancelled():
            with self._arrival:
                self._waiting = [job for job in self._waiting if job.future is not future]

    def close(self, timeout: float, leaving: bool = False) -> bool:
        """Stop after the current pass; False if that takes longer than `timeout` seconds.

        leaving: the process ends anyway, so the engine does not have to take itself apart.
        """
        self._leaving = leaving
        self._closing.set()
        with self._arrival:
            self._arrival.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            engine = self._open()
            self._loaded.set()
            while engine is not None:
                self._serve(engine)
                engine = None  # before the next is loaded: a GPU may have no room for both
                engine = self._reopen()
        finally:
            self._loaded.set()
            self._dismiss()

    def _serve(self, engine: Engine) -> None:
        """Answer until the end, or until it has failed for so long that another is wanted."""
        over = threading.Event()
        # Daemons, as this thread is.
        others = [
            threading.Thread(target=self._answer_on, args=(engine, over), daemon=True)
            for _ in range(engine.at_once - 1)
        ]
        try:
            for other in others:
                other.start()
            self._answer_on(engine, over)
            for other in others:
                other.join()
        finally:
            self._assumed, self._engine = engine.assumed, None
            # One that is out of order may fail at that, too; there is nothing else to be done.
            with suppress(Exception):
                if not self._leaving:
                    engine.close()

    def _answer_on(self, engine: Engine, over: threading.Event) -> None:
        """Answer one image after the other; over: when all who do that shall end."""
        while jobs := self._next(over):
            self._answer(engine, _running(jobs), over)
            if self._pulse.failing_for(self._reload_after()):
                over.set()
                with self._arrival:
                    self._arrival.notify_all()

    def _reopen(self) -> Engine | None:
        """Load it anew, again and again; None at the end."""
        while not self._closing.is_set():
            self._pulse.reloads += 1
            engine = self._open()
            if engine is not None:
                return engine
            self._dismiss(self._state)
            self._closing.wait(self._pulse.pause(self._reload_after()))
        return None

    def _open(self) -> Engine | None:
        """Load it; None if it cannot be, or is no longer wanted."""
        try:
            engine = as_engine(self._load(self._on_progress))
        except BaseException as error:
            if not self._closing.is_set():
                detail = str(error) or type(error).__name__
                self._state = EngineState(EnginePhase.FAILED, detail)
            return None
        self._engine = engine
        self._state = EngineState(EnginePhase.READY, progress=1.0)
        return engine

    def _answer(self, engine: Engine, jobs: list[_Job], over: threading.Event) -> None:
        """Ask about one image, and what the engine takes beside it; everybody is told."""
        if not jobs:
            return

        def more() -> AskedImage | None:
            jobs[:] = [job for job in jobs if not job.future.done()]
            while not self._pulse.failing:
                further = self._next(over, AT_ONCE - len(jobs), wait=False)
                if not further:
                    break
                if running := _running(further):
                    jobs.extend(running)
                    return self._asked(running)
            return None

        why: BaseException = EngineError(NOT_TOLD)
        self._pulse.begin()
        try:
            engine.answer_frames(self._asked(jobs), more)
        except BaseException as error:
            why = error
        for job in jobs:
            if not job.future.done():
                self._pulse.note(why)
                job.future.set_exception(why)
        self._pulse.end()

    def _asked(self, jobs: Sequence[_Job]) -> AskedImage:
        """What an engine is asked about the image of some jobs."""
        questions = [
            QueuedQuestion(job.question, self._pulse.noting(job.tell), self._pulse.felt(job))
            for job in jobs
        ]
        return AskedImage(jobs[0].image, questions)

    def _next(self, over: threading.Event, most: int = AT_ONCE, wait: bool = True) -> list[_Job]:
        """The question whose turn it is, and those about the same image, so many at most; none at
        the end. wait: for one to come, else it may be none now, too.
        """

        def ended() -> bool:
            return self._closing.is_set() or over.is_set()

        if not self._choosing.acquire(blocking=wait):
            return []
        try:
            with self._arrival:
                self._arrival.wait_for(lambda: self._waiting or ended() or not wait)
                if ended() or not self._waiting or most < 1:
                    return []
                waiting = list(self._waiting)
            # Large images take some time to compare, and whoever submits does not wait for that.
            first = self._first(waiting)
            others = [job for job in waiting if job is not first]
            same = [first, *(job for job in others if same_pixels(job.image, first.image))][:most]
            with self._arrival:
                self._waiting = [job for job in self._waiting if job not in same]
            return same
        finally:
            self._choosing.release()

    def _first(self, waiting: Sequence[_Job]) -> _Job:
        """The oldest question of the source that was served longest ago, or never."""
        served = {source: turn for turn, source in enumerate(self._turns)}
        first = min(waiting, key=lambda job: served.get(job.source, -1))
        self._turns[first.source] = None
        self._turns.move_to_end(first.source)
        if len(self._turns) > _MOST_SOURCES:
            self._turns.popitem(last=False)
        return first

    def _dismiss(self, state: EngineState | None = None) -> None:
        """Take no more questions, and tell those that still wait."""
        with self._arrival:
            if state is None and self._state.phase is not EnginePhase.FAILED:
                self._state = EngineState(EnginePhase.CLOSED)
            left, self._waiting = self._waiting, []
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.tell(EngineNotReady(why_not_ready(self._state)))

    def _on_progress(self, what: str, share: float) -> None:
        if self._closing.is_set():
            raise EngineNotReady('the node is shutting down')
        self._state = EngineState(EnginePhase.LOADING, what, share)


def _running(jobs: Sequence[_Job]) -> list[_Job]:
    """Those that were not taken back; from now on they cannot be."""
    return [job for job in jobs if job.future.set_running_or_notify_cancel()]


class _Pulse:
    """Notes signs of life and failures of the engine."""

    def __init__(self) -> None:
        self.reloads = 0
        self._lock = threading.Lock()
        self._running = 0
        self._alive: float | None = None
        self._failures = 0
        self._failing_since = 0.0
        self._error = ''
        self._pauses = 0

    def health(self) -> EngineHealth:
        alive = self._alive
        quiet = 0.0 if alive is None else time.monotonic() - alive
        return EngineHealth(quiet, self._failures, self._error, self.reloads)

    @property
    def failing(self) -> bool:
        """Whether the last question ended in an error of the engine."""
        return self._failures > 0

    def begin(self) -> None:
        with self._lock:
            self._running += 1
            self._alive = time.monotonic()

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                self._alive = None

    def felt(self, job: _Job) -> Callable[[], bool]:
        """The job's should_stop, which an engine asks between its passes."""

        def should_stop() -> bool:
            with self._lock:
                if self._running:  # an engine may look once more after its answer
                    self._alive = time.monotonic()
            return job.should_stop()

        return should_stop

    def noting(
        self, tell: Callable[[Answer | Exception], None]
    ) -> Callable[[Answer | Exception], None]:
        def noted(outcome: Answer | Exception) -> None:
            self.note(outcome)
            tell(outcome)

        return noted

    def note(self, outcome: Answer | BaseException) -> None:
        """What a question came to; that it was refused or stopped says nothing of the engine."""
        if isinstance(outcome, InvalidImage | InvalidQuestion | Stopped):
            return
        with self._lock:
            if isinstance(outcome, BaseException):
                if not self._failures:
                    self._failing_since = time.monotonic()
                self._failures += 1
                said = str(outcome)
                named = isinstance(outcome, EngineError) and said
                self._error = said if named else f'{type(outcome).__name__}: {said}'
            else:
                self._failures, self._error, self._pauses = 0, '', 0

    def failing_for(self, seconds: float) -> bool:
        """Whether it has failed for that long or longer, after each reload for twice as long."""
        with self._lock:
            if not seconds or self._failures < _FEW_FAILURES:
                return False
            if time.monotonic() - self._failing_since < self._longer(seconds):
                return False
            self._pauses += 1
            self._failures = 0
            return True

    def pause(self, seconds: float) -> float:
        """How long to wait before the next try to load."""
        self._pauses += 1
        return self._longer(seconds or LONGEST_PAUSE_S)

    def _longer(self, seconds: float) -> float:
        return min(seconds * 2**self._pauses, max(LONGEST_PAUSE_S, seconds))


def why_not_ready(state: EngineState) -> str:
    """What to tell whoever asks nevertheless."""
    if state.phase in (EnginePhase.UNCONFIGURED, EnginePhase.INACTIVE):
        return f'the node is {state.phase.value}: {state.detail}'
    if state.phase is EnginePhase.LOADING:
        return f'the model is loading ({state.detail}, {state.progress:.0%}): ask again in a while'
    if state.phase is EnginePhase.FAILED:
        return f'{LOAD_FAILED}: {state.detail}'
    return 'the node is shutting down'
