# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the node does, for whoever has to keep it running: what became of the questions, counted and
timed, and what is wrong with the engine. Nothing here knows rclpy."""

from __future__ import annotations

import enum
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from molmo_ros.ros.engine_worker import EngineHealth, EnginePhase, EngineState

_ANSWERED = ('SUCCESS', 'NO_POINTS')
# What only says something of whoever asked.
_ASKERS_OWN = ('INVALID_REQUEST', 'CANCELED')
_CURES = {
    'NO_FRAME': 'look at the camera and at the streams below',
    'BUSY': 'ask less often, or have the model answer faster (max_crops, max_points, a GPU)',
    'TIMEOUT': 'give more time, or have the model answer faster (max_crops, max_points, a GPU)',
    'ENGINE_FAILED': 'see the engine above and the log',
    'NOT_READY': 'see the engine above',
}
_KEPT = 100
_LATELY_S = 60.0
_MOST_LATELY = 20
# So many say something of a node that is rarely asked, too, if they are not older than this.
_FEW = 3
_FEW_LATELY_S = 600.0
_MOST_REASONS = 10
_MOST_STAGES = 20
_PERCENTS = (50, 95, 99)


class Level(enum.IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Finding:
    """How well something is, and in words why, and what to do."""

    level: Level
    message: str


@dataclass(frozen=True)
class HealthSettings:
    """hang_timeout: seconds without a sign of life of the engine in an answer; 0: any.
    latency_budget: seconds that 95 of 100 answers may take at most; 0: any. reload_after: see
    EngineWorker. exit_when_dead: whether the process ends where only another can answer.
    """

    hang_timeout: float = 0.0
    latency_budget: float = 0.0
    reload_after: float = 0.0
    exit_when_dead: bool = False


@dataclass(frozen=True)
class _Ended:
    """A question that did not end for a cause of the asker's own."""

    at: float
    status: str
    reason: str
    seconds: float
    stages: Mapping[str, float] = field(default_factory=dict)


class QuestionLog:
    """Counts all questions by status and by reason; keeps the last hundred to tell how it goes.

    clock: tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._statuses: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._ended: deque[_Ended] = deque(maxlen=_KEPT)
        self._seconds: deque[float] = deque(maxlen=_KEPT)
        self._stages: dict[str, deque[float]] = {}

    def add(
        self, status: str, message: str, seconds: float, stages: Mapping[str, float] | None = None
    ) -> None:
        """Take the end of a question.

        status: its name. message: of the response. seconds: from request to response; stages: of
        these, by name.
        """
        ended = _Ended(self._clock(), status, message, seconds, dict(stages or {}))
        with self._lock:
            self._statuses[status] += 1
            if status not in _ASKERS_OWN:
                self._ended.append(ended)
            if status in _ANSWERED:
                self._time(ended)
                # The engine said so itself while it was not there; now it is.
                self._forget('NOT_READY')
            else:
                self._count(f'{status}: {reason_of(message)}')

    def _time(self, ended: _Ended) -> None:
        self._seconds.append(ended.seconds)
        for stage, seconds in ended.stages.items():
            if stage in self._stages or len(self._stages) < _MOST_STAGES:
                self._stages.setdefault(stage, deque(maxlen=_KEPT)).append(seconds)

    def _forget(self, status: str) -> None:
        kept = [ended for ended in self._ended if ended.status != status]
        if len(kept) < len(self._ended):
            self._ended = deque(kept, maxlen=_KEPT)

    def _count(self, reason: str) -> None:
        if reason not in self._reasons and len(self._reasons) >= _MOST_REASONS:
            reason = 'other reasons'
        self._reasons[reason] += 1

    def summary(self) -> dict[str, str]:
        """Readable values: counts by status and reason; p50, p95 and p99 of the last hundred
        answers, whole and by stage."""
        with self._lock:
            summary = {status: str(n) for status, n in sorted(self._statuses.items())}
            summary |= {reason: str(n) for reason, n in self._reasons.most_common()}
            if self._seconds:
                for percent, value in zip(_PERCENTS, _percentiles(self._seconds), strict=True):
                    summary[f'latency p{percent} (s)'] = f'{value:.3f}'
            for stage, seconds in self._stages.items():
                shown = ' / '.join(f'{1000 * value:.1f}' for value in _percentiles(seconds))
                summary[f'{stage} p50 / p95 / p99 (ms)'] = shown
            return summary

    def finding(self, budget: float = 0.0) -> Finding:
        """How it goes lately. budget: seconds that 95 of 100 answers may take at most; 0: any."""
        lately = self._lately()
        failed = [ended for ended in lately if ended.status not in _ANSWERED]
        answered = [ended for ended in lately if ended.status in _ANSWERED]
        if len(lately) >= _FEW and 2 * len(failed) >= len(lately):
            return _failing(failed, len(lately))
        if budget and len(answered) >= _FEW:
            p95 = float(np.percentile([ended.seconds for ended in answered], 95))
            if p95 > budget:
                return Finding(Level.WARN, _slow(answered, p95, budget))
        if not lately:
            return Finding(Level.OK, 'nobody asked lately')
        return Finding(Level.OK, f'{len(answered)} of the last {len(lately)} were answered')

    def _lately(self) -> list[_Ended]:
        now = self._clock()
        with self._lock:
            ended = list(self._ended)
        recent = [one for one in ended if now - one.at <= _LATELY_S]
        few = [one for one in ended[-_FEW:] if now - one.at <= _FEW_LATELY_S]
        return recent[-_MOST_LATELY:] if len(recent) >= len(few) else few


_LEVELS = {
    EnginePhase.UNCONFIGURED: Level.WARN,
    EnginePhase.LOADING: Level.WARN,
    EnginePhase.INACTIVE: Level.WARN,
    EnginePhase.READY: Level.OK,
    EnginePhase.FAILED: Level.ERROR,
    EnginePhase.CLOSED: Level.STALE,
}


def engine_finding(state: EngineState, health: EngineHealth, settings: HealthSettings) -> Finding:
    """How the engine is; the message begins with 'ready' if it can be asked."""
    dead = why_dead(state, health, settings.hang_timeout)
    if dead:
        return Finding(Level.ERROR, dead)
    if state.phase is not EnginePhase.READY:
        told = f'{state.phase.value}: {state.detail}' if state.detail else state.phase.value
        return Finding(_LEVELS[state.phase], told)
    if health.out_of_memory:
        return Finding(
            Level.ERROR,
            f'ready, but out of memory at the last question ({health.error[:200]}): fewer '
            'max_crops, quantize, a smaller dtype or checkpoint, or less beside it on the device',
        )
    if health.failures >= _FEW:
        again = settings.reload_after
        cure = f'; the model is loaded anew after {again:g} s of that' if again else ''
        return Finding(
            Level.ERROR,
            f'ready, but the last {health.failures} questions failed ({health.error[:200]}): see '
            f'the log{cure}',
        )
    return Finding(Level.OK, 'ready')


def why_dead(state: EngineState, health: EngineHealth, hang_timeout: float) -> str:
    """Why this process will hardly answer again, and what to do; '' where it may."""
    if hang_timeout and health.quiet > hang_timeout:
        return (
            f'hangs: the model has shown no sign of life for {health.quiet:.0f} s (hang_timeout is '
            f'{hang_timeout:g}): start the node again, or raise hang_timeout if it is that slow; '
            'exit_when_dead with respawn does so by itself'
        )
    lost = f'{health.error} {state.detail}' if state.phase is EnginePhase.FAILED else health.error
    if EngineHealth(error=lost).lost:
        return (
            f'failed: the GPU is lost to this process ({lost[:200]}): start the node again; '
            'exit_when_dead with respawn does so by itself'
        )
    return ''


def reason_of(message: str) -> str:
    """A message without what differs from question to question, to be counted by."""
    first = re.split(r'[;:\n]', message, maxsplit=1)[0]
    return re.sub(r"'[^']*'|\S*\d\S*", '...', first)[:80].strip() or 'no reason'


def _failing(failed: list[_Ended], of: int) -> Finding:
    level = Level.ERROR if len(failed) == of else Level.WARN
    status, _ = Counter(ended.status for ended in failed).most_common(1)[0]
    last = next(ended for ended in reversed(failed) if ended.status == status)
    how_many = 'all' if level is Level.ERROR else str(len(failed))
    cure = _CURES.get(status, 'see the log')
    return Finding(
        level,
        f'{how_many} of the last {of} failed, most with {status} ({last.reason[:200]}): {cure}',
    )


def _slow(answered: list[_Ended], p95: float, budget: float) -> str:
    spent: Counter[str] = Counter()
    for ended in answered:
        spent.update(ended.stages)
    told = f'answers take {p95:.2f} s (p95), and latency_budget is {budget:g} s'
    if not spent:
        return told
    stage, seconds = spent.most_common(1)[0]
    what = {
        'frame': 'the frame: streams come late (sync_slop, frame_wait)',
        'transform': 'the transform: /tf comes late (transform_timeout)',
        'wait': 'waiting for other questions: ask less often',
        'vision': 'looking at the image: fewer max_crops, a GPU',
        'prefill': 'reading the image: fewer max_crops, a GPU',
        'decode': 'writing: fewer max_points, a GPU',
    }.get(stage, stage)
    return f'{told}; most, {seconds / len(answered):.2f} s, goes into {what}'


def _percentiles(seconds: deque[float]) -> list[float]:
    return [float(value) for value in np.percentile(seconds, _PERCENTS)]
