# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calling a service whose server may have been killed and replaced.

DDS takes some 20 s to notice that a process was killed. Until then a request may go to the dead
server alone, because the client has not heard of the living one yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

from rclpy.client import Client
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

_LOOK_S = 0.1  # between looks whether another server has come


def call(
    node: Node,
    client: Client,
    request: Any,
    timeout: float,
    should_stop: Callable[[], bool] = lambda: False,
) -> Any:
    """Call a service and wait for the response; None where none came within `timeout` seconds.

    node: the client's, which somebody else spins. Where another server comes meanwhile the same
    request is sent to it, too, and the first response counts. What DDS cannot send just then, on a
    busy machine, is sent a moment later. should_stop: whether nobody waits any
    more; the node may be destroyed then.
    """
    try:
        return _call(node, client, request, timeout, should_stop)
    except rclpy_implementation.InvalidHandle:
        if should_stop():
            return None
        raise


def _call(
    node: Node, client: Client, request: Any, timeout: float, should_stop: Callable[[], bool]
) -> Any:
    answered: list[Any] = []
    done = Event()

    def on_done(future: Any) -> None:
        answered.append(future.result())
        done.set()

    pending: list[Any] = []

    def send() -> None:
        with suppress(rclpy_implementation.RCLError):
            pending.append(client.call_async(request))
            pending[-1].add_done_callback(on_done)

    end = time.monotonic() + timeout
    known = _servers(node, client)
    send()
    while not done.wait(min(_LOOK_S, max(end - time.monotonic(), 0.0))):
        if time.monotonic() >= end or should_stop():
            break
        now = _servers(node, client)
        if now > known:
            # Known in the graph is not yet matched: a moment later it is.
            done.wait(_LOOK_S)
        if now > known or not pending:
            send()
        known = now
    for future in pending:
        if not future.done():
            client.remove_pending_request(future)
    return answered[0] if answered else None


def _servers(node: Node, client: Client) -> int:
    """How many offer the service, dead ones among them; 0 before ROS 2 Iron, which cannot tell."""
    count = getattr(node, 'count_services', None)
    return 0 if count is None else int(count(node.resolve_service_name(client.srv_name)))
