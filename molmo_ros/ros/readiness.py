# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the node that offers a service has its model, whatever that node is called.

The node is found in the graph by the service, its diagnostics by what it publishes. Where neither
is to be seen (a bridge between domains, diagnostics once a minute) the service itself is asked.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.client import Client
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

from molmo_ros.ros.answering import Status
from molmo_ros.ros.engine_worker import LOAD_FAILED, EnginePhase
from molmo_ros.srv import PointQuery

_DIAGNOSTICS = '/diagnostics'
_DIAGNOSTICS_TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
# Seconds without a word from the node until it is asked; sooner where it has said nothing yet,
# since its name may be known seconds after its service, and its diagnostics by that name alone.
_SILENCE_S = 2.5
_FIRST_S = 1.5
_LOOK_S = 0.5  # between looks at the graph


@dataclass(frozen=True)
class EngineReport:
    """What a node said of its engine. text: 'ready', 'ready, but ...', 'loading: ...',
    'failed: ...' and the like; progress: 0 to 1, NaN where not known."""

    text: str = ''
    progress: float = math.nan

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        return self.text.split(',')[0] == EnginePhase.READY.value

    @property
    def failed(self) -> bool:
        """Whether it never will be."""
        return self.text.startswith(EnginePhase.FAILED.value)


class EngineWatch:
    """Follows the engine behind a service.

    client: of that service, in the node, which somebody else spins. service: its full name.
    """

    def __init__(self, node: Node, client: Client, service: str) -> None:
        self._node = node
        self._client = client
        self._service = service
        self._servers: frozenset[str] = frozenset()
        self._topics: set[str] = set()
        self._looked = -math.inf
        self._heard = time.monotonic()
        self._pending: Any = None
        self.report = EngineReport()
        self._listen_on(_DIAGNOSTICS)

    def update(self) -> EngineReport:
        """What is known now; call it again and again while you wait."""
        now = time.monotonic()
        if not self._client.service_is_ready():
            self._heard = now
            if self.report.ready:
                self.report = EngineReport()
        elif now - self._looked > _LOOK_S:
            if now - self._looked > _SILENCE_S:  # nobody waited until now
                self._heard = now
            self._looked = now
            self._find_servers()
            if now - self._heard > (_SILENCE_S if self.report.text else _FIRST_S):
                self._heard = now
                self._ask()
        return self.report

    def _ask(self) -> None:
        if self._pending is not None:
            self._client.remove_pending_request(self._pending)
        self._pending = None
        with suppress(rclpy_implementation.RCLError):  # on a busy machine: it is asked again
            self._pending = self._client.call_async(PointQuery.Request())
            self._pending.add_done_callback(self._on_response)

    def _find_servers(self) -> None:
        """The nodes that offer the service now, and the topics of their diagnostics."""
        nodes = dict.fromkeys(self._node.get_node_names_and_namespaces())
        servers = [node for node in nodes if self._service in self._services_of(node)]
        self._servers = frozenset(f'{space.rstrip("/")}/{name}' for name, space in servers)
        for name, space in servers:
            for topic, types in self._published_by(name, space):
                if _DIAGNOSTICS_TYPE in types:
                    self._listen_on(topic)

    def _services_of(self, node: tuple[str, str]) -> list[str]:
        try:
            return [name for name, _ in self._node.get_service_names_and_types_by_node(*node)]
        except RuntimeError:  # it has just gone
            return []

    def _published_by(self, name: str, space: str) -> list[tuple[str, list[str]]]:
        try:
            return list(self._node.get_publisher_names_and_types_by_node(name, space))
        except RuntimeError:
            return []

    def _listen_on(self, topic: str) -> None:
        if topic not in self._topics:
            self._topics.add(topic)
            self._node.create_subscription(DiagnosticArray, topic, self._on_diagnostics, 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        engines = {f'{server.lstrip("/")}: engine' for server in self._servers}
        for status in message.status:
            if status.name in engines:
                values = {pair.key: pair.value for pair in status.values}
                self._heard = time.monotonic()
                self.report = EngineReport(status.message, _number(values.get('progress', '')))

    def _on_response(self, future: Any) -> None:
        """Of an empty question, which a node with a model refuses as such."""
        try:
            response = future.result()
        except Exception:  # the node has gone meanwhile
            return
        if response.status != Status.NOT_READY:
            self.report = EngineReport(EnginePhase.READY.value, 1.0)
        elif response.message.startswith(LOAD_FAILED):
            why = response.message.removeprefix(LOAD_FAILED).lstrip(': ')
            self.report = EngineReport(f'{EnginePhase.FAILED.value}: {why}')
        else:
            self.report = EngineReport(f'{EnginePhase.LOADING.value}: {response.message}')


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
