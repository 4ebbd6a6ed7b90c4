# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node says of itself on /diagnostics: the engine, the questions, the process, its name
and parameters, each stream."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from molmo_ros.errors import shortened
from molmo_ros.ros.engine_host import EngineHost, EngineView
from molmo_ros.ros.health import (
    Finding,
    HealthSettings,
    Level,
    QuestionLog,
    engine_finding,
    why_dead,
)
from molmo_ros.ros.process_figures import process_figures
from molmo_ros.ros.responses import publish
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.sync import (
    CAMERA_INFO,
    DEPTH,
    DEPTH_CAMERA_INFO,
    IMAGE,
    PAUSE_MESSAGES,
    PAUSE_S,
    STREAMS,
)

# What it means if a stream brings nothing; only depth that is not aligned needs its own camera.
_SILENT = {
    IMAGE: Level.ERROR,
    DEPTH: Level.WARN,
    CAMERA_INFO: Level.WARN,
    DEPTH_CAMERA_INFO: Level.OK,
}
# And if it did bring something, and no longer does.
_LOST = _SILENT | {DEPTH_CAMERA_INFO: Level.WARN}
# A node that was killed is in the graph for some 20 s more.
_REMEMBERED_S = 30.0


class Diagnostics:
    """Publishes on /diagnostics every `period` seconds.

    settings: tells what counts as ill. held: tells how many bytes of what are kept. ignored: the
    parameters that do not exist, and the nearest that do. on_dead: told why, each time that the
    process is found to be beyond help.
    """

    def __init__(
        self,
        node: Node,
        period: float,
        engine: EngineHost | EngineView,
        streams: CameraStreams,
        questions: QuestionLog,
        *,
        settings: Callable[[], HealthSettings],
        held: Callable[[], Mapping[str, int]],
        ignored: Mapping[str, str],
        on_dead: Callable[[str], object],
    ) -> None:
        self._node = node
        self._engine = engine
        self._streams = streams
        self._questions = questions
        self._settings = settings
        self._held = held
        self._ignored = ignored
        self._on_dead = on_dead
        self._namesake_since: float | None = None
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady time: a /clock that stands still, or does not come at all, is worth a diagnosis.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period, self.publish, clock=steady)

    def publish(self) -> None:
        """Publish what is true now."""
        self._streams.listen_back()
        settings = self._settings()
        statuses = [
            self._of_engine(settings),
            self._of_questions(settings),
            self._of_process(),
            self._of_name(),
            self._of_parameters(),
            self._of_clock(),
            *(self._of_stream(stream) for stream in STREAMS),
        ]
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        publish(self._publisher, message, self._node.get_logger())
        dead = why_dead(self._engine.state, self._engine.health, settings.hang_timeout)
        if dead:
            self._on_dead(dead)

    def _of_engine(self, settings: HealthSettings) -> DiagnosticStatus:
        state, health = self._engine.state, self._engine.health
        values = {
            'phase': state.phase.value,
            'progress': f'{state.progress:.2f}',
            'waiting questions': str(self._engine.waiting),
            'without a sign of life (s)': f'{health.quiet:.1f}',
            'failures in a row': str(health.failures),
            'last failure': health.error[:200],
            'loaded anew': str(health.reloads),
        }
        return self._found('engine', engine_finding(state, health, settings), values)

    def _of_questions(self, settings: HealthSettings) -> DiagnosticStatus:
        finding = self._questions.finding(settings.latency_budget)
        return self._found('questions', finding, self._questions.summary())

    def _of_process(self) -> DiagnosticStatus:
        held = {f'{what} (MiB)': f'{size / 2**20:.1f}' for what, size in self._held().items()}
        finding = Finding(Level.OK, 'what it holds')
        return self._found('process', finding, held | process_figures())

    def _of_name(self) -> DiagnosticStatus:
        own = self._node.get_name(), self._node.get_namespace()
        count = list(self._node.get_node_names_and_namespaces()).count(own)
        values = {'nodes of this name': str(count)}
        if count <= 1:
            self._namesake_since = None
            return self._found('name', Finding(Level.OK, 'it is the only one of its name'), values)
        now = time.monotonic()
        since = self._namesake_since = self._namesake_since or now
        level = Level.ERROR if now - since > _REMEMBERED_S else Level.WARN
        return self._found(
            'name',
            Finding(
                level,
                f'{count} nodes are called {self._node.get_fully_qualified_name()} (one that was '
                'killed counts for half a minute): each answers questions and takes parameters; '
                'give one another name (-r __node:=...) or namespace',
            ),
            values,
        )

    def _of_parameters(self) -> DiagnosticStatus:
        if not self._ignored:
            return self._found('parameters', Finding(Level.OK, 'all that were given exist'), {})
        names = ', '.join(
            f'{shortened(name)} (did you mean {nearest}?)' if nearest else shortened(name)
            for name, nearest in self._ignored.items()
        )
        told = f'ignored, because they do not exist: {names}; mend the names and start again'
        return self._found('parameters', Finding(Level.WARN, told), self._ignored)

    def _of_clock(self) -> DiagnosticStatus:
        now = {'now (s)': f'{self._node.get_clock().now().nanoseconds * 1e-9:.3f}'}
        problem = self._streams.clock_problem()
        level = Level.ERROR if problem else Level.OK
        return self._found('clock', Finding(level, problem or 'time goes by'), now)

    def _of_stream(self, stream: str) -> DiagnosticStatus:
        state = self._streams.state(stream)
        values = {
            'topic': self._streams.topic(stream),
            'received': str(state.received),
            'rate (Hz)': f'{state.rate:.1f}',
        }
        if state.stamp_ns is None:
            hint = self._streams.hint(stream) or 'published, but nothing has arrived'
            return self._found(stream, Finding(_SILENT[stream], hint), values)
        now_ns = self._node.get_clock().now().nanoseconds
        values['age (s)'] = f'{(now_ns - state.stamp_ns) * 1e-9:.3f}'
        image_ns = self._streams.state(IMAGE).stamp_ns
        if image_ns is not None:
            values['offset to image (s)'] = f'{(state.stamp_ns - image_ns) * 1e-9:+.3f}'
        usual = 0.0 if math.isnan(state.rate) else 1 / state.rate
        if state.quiet > max(PAUSE_S, PAUSE_MESSAGES * usual):
            hint = self._streams.hint(stream)
            why = f': {hint}' if hint else ''
            message = f'nothing for {state.quiet:.1f} s{why}'
            return self._found(stream, Finding(_LOST[stream], message), values)
        rate = '' if math.isnan(state.rate) else f' at {state.rate:.1f} Hz'
        return self._found(stream, Finding(Level.OK, f'arriving{rate}'), values)

    def _found(self, what: str, finding: Finding, values: Mapping[str, str]) -> DiagnosticStatus:
        name = self._node.get_fully_qualified_name().lstrip('/')
        return DiagnosticStatus(
            name=f'{name}: {what}',
            level=bytes([finding.level]),
            message=finding.message,
            hardware_id=name,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
