# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node says of itself on /diagnostics: the engine, the questions, each stream."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from molmo_ros.ros.answering import Result, Status
from molmo_ros.ros.engine_worker import EnginePhase, EngineState
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.sync import CAMERA_INFO, DEPTH, DEPTH_CAMERA_INFO, IMAGE, STREAMS

_LEVELS = {
    EnginePhase.UNCONFIGURED: DiagnosticStatus.WARN,
    EnginePhase.INACTIVE: DiagnosticStatus.WARN,
    EnginePhase.READY: DiagnosticStatus.OK,
    EnginePhase.LOADING: DiagnosticStatus.WARN,
    EnginePhase.FAILED: DiagnosticStatus.ERROR,
    EnginePhase.CLOSED: DiagnosticStatus.STALE,
}
# What it means if a stream brings nothing; only depth that is not aligned needs its own camera.
_SILENT = {
    IMAGE: DiagnosticStatus.ERROR,
    DEPTH: DiagnosticStatus.WARN,
    CAMERA_INFO: DiagnosticStatus.WARN,
    DEPTH_CAMERA_INFO: DiagnosticStatus.OK,
}
# Seconds, and messages left out, after which a stream has stopped.
_QUIET_S = 2.0
_QUIET_MESSAGES = 5


class QuestionLog:
    """Counts questions by status, and keeps how long the last hundred answers took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Status] = Counter()
        self._seconds: deque[float] = deque(maxlen=100)

    def add(self, result: Result, seconds: float) -> None:
        """Take the end of a question that took so long from request to response."""
        with self._lock:
            self._counts[result.status] += 1
            if result.status in (Status.SUCCESS, Status.NO_POINTS):
                self._seconds.append(seconds)

    def summary(self) -> dict[str, str]:
        """Readable values: the count of each status that occurred, latency p50 and p95."""
        with self._lock:
            summary = {status.name: str(n) for status, n in sorted(self._counts.items())}
            if self._seconds:
                for percent in (50, 95):
                    latency = np.percentile(self._seconds, percent)
                    summary[f'latency p{percent} (s)'] = f'{latency:.3f}'
            return summary


class Diagnostics:
    """Publishes on /diagnostics every `period` seconds."""

    def __init__(
        self,
        node: Node,
        period: float,
        engine: Callable[[], EngineState],
        streams: CameraStreams,
        questions: QuestionLog,
    ) -> None:
        self._node = node
        self._engine = engine
        self._streams = streams
        self._questions = questions
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady time: a /clock that stands still, or does not come at all, is worth a diagnosis.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period, self.publish, clock=steady)

    def publish(self) -> None:
        """Publish what is true now."""
        self._streams.listen_back()
        statuses = [self._of_engine(), self._of_questions(), self._of_clock()]
        statuses += [self._of_stream(stream) for stream in STREAMS]
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _of_engine(self) -> DiagnosticStatus:
        state = self._engine()
        values = {'phase': state.phase.value, 'progress': f'{state.progress:.2f}'}
        message = f'{state.phase.value}: {state.detail}' if state.detail else state.phase.value
        return self._status('engine', _LEVELS[state.phase], message, values)

    def _of_questions(self) -> DiagnosticStatus:
        summary = self._questions.summary()
        return self._status('questions', DiagnosticStatus.OK, 'counts by status', summary)

    def _of_clock(self) -> DiagnosticStatus:
        now = {'now (s)': f'{self._node.get_clock().now().nanoseconds * 1e-9:.3f}'}
        problem = self._streams.clock_problem()
        level = DiagnosticStatus.ERROR if problem else DiagnosticStatus.OK
        return self._status('clock', level, problem or 'time goes by', now)

    def _of_stream(self, stream: str) -> DiagnosticStatus:
        state = self._streams.state(stream)
        values = {
            'topic': self._streams.topic(stream),
            'received': str(state.received),
            'rate (Hz)': f'{state.rate:.1f}',
        }
        if state.stamp_ns is None:
            hint = self._streams.hint(stream) or 'published, but nothing has arrived'
            return self._status(stream, _SILENT[stream], hint, values)
        now_ns = self._node.get_clock().now().nanoseconds
        values['age (s)'] = f'{(now_ns - state.stamp_ns) * 1e-9:.3f}'
        image_ns = self._streams.state(IMAGE).stamp_ns
        if image_ns is not None:
            values['offset to image (s)'] = f'{(state.stamp_ns - image_ns) * 1e-9:+.3f}'
        usual = 0.0 if math.isnan(state.rate) else 1 / state.rate
        if state.quiet > max(_QUIET_S, _QUIET_MESSAGES * usual):
            hint = self._streams.hint(stream)
            why = f': {hint}' if hint else ''
            message = f'nothing for {state.quiet:.1f} s{why}'
            return self._status(stream, DiagnosticStatus.WARN, message, values)
        rate = '' if math.isnan(state.rate) else f' at {state.rate:.1f} Hz'
        return self._status(stream, DiagnosticStatus.OK, f'arriving{rate}', values)

    def _status(
        self, what: str, level: bytes, message: str, values: Mapping[str, str]
    ) -> DiagnosticStatus:
        name = self._node.get_fully_qualified_name().lstrip('/')
        return DiagnosticStatus(
            name=f'{name}: {what}',
            level=level,
            message=message,
            hardware_id=name,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
