# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A response waits until its client can hear it.

A client may ask before DDS has told the server where it listens. rmw_fastrtps waits 0.1 s for that
and then drops the response; rclpy makes a Python warning of it, and the client waits for ever. A
response that was dropped so may be sent again.
"""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.action import ActionServer
from rclpy.action.server import ServerGoalHandle
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

# How rclpy begins its warning about a response that was dropped.
_DROPPED = 'failed to send response (timeout)'
# Seconds for which a response is sent again. Discovery takes about one on a loaded machine.
_PATIENCE_S = 5.0
# Seconds between two tries: not every middleware waits by itself.
_PAUSE_S = 0.05
# Clients that are waited for at once: each holds a thread of the executor.
_MOST_WAITING = 4


class _Dropped(threading.local):
    count = 0


_dropped = _Dropped()
_waiting = threading.BoundedSemaphore(_MOST_WAITING)


def hear_of_dropped_responses() -> None:
    """Have the warnings of dropped responses counted instead of shown, in this process."""
    warnings.filterwarnings('always', message=re.escape(_DROPPED))
    if getattr(warnings.showwarning, '_counts_dropped', False):
        return
    show = warnings.showwarning

    def showwarning(message: Warning | str, *more: Any, **named: Any) -> None:
        if str(message).startswith(_DROPPED):
            _dropped.count += 1
        else:
            show(message, *more, **named)

    showwarning._counts_dropped = True  # type: ignore[attr-defined]
    warnings.showwarning = showwarning


def send_until_heard(send: Callable[[], object]) -> bool:
    """Send a response until it is not dropped; False where it was in vain.

    send: sends it, in this thread, which is held for some seconds at most.
    """
    if _is_heard(send):
        return True
    if not _waiting.acquire(blocking=False):
        return False
    try:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            time.sleep(_PAUSE_S)
            if _is_heard(send):
                return True
        return False
    finally:
        _waiting.release()


def _is_heard(send: Callable[[], object]) -> bool:
    before = _dropped.count
    send()
    return _dropped.count == before


def respond_patiently(node: Node) -> None:
    """Have all services that the node has now send their responses so."""
    hear_of_dropped_responses()
    services: Iterable[Any] = node.services
    for service in services:
        name = node.resolve_service_name(service.srv_name)
        service.send_response = _patient(service.send_response, name, node)


def _patient(send: Callable[[Any, Any], None], name: str, node: Node) -> Callable[[Any, Any], None]:
    def send_response(response: Any, header: Any) -> None:
        if not send_until_heard(lambda: send(response, header)):
            _tell_unheard(f'the service {name}', node)

    return send_response


def _tell_unheard(what: str, node: Node) -> None:
    node.get_logger().warning(
        f'a client of {what} asked and cannot be reached: its response is lost. Its quality of '
        'service may not fit, or it has just left'
    )


def _begin(goal: ServerGoalHandle) -> None:
    """Have a goal executed, also one that is cancelled as it begins.

    rclpy looks whether it was cancelled and then notes that it is executed; a cancel in between
    makes that an error, after which nobody would ever tell a result.
    """
    try:
        goal.execute()
    except rclpy_implementation.RCLError:
        goal.execute()  # now it is seen to be cancelled


class PatientActionServer(ActionServer):
    """An action server that tells a client again that its goal is taken, where that was dropped."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, handle_accepted_callback=_begin, **named)

    async def _execute_goal_request(self, taken: Any) -> None:
        before = _dropped.count
        await super()._execute_goal_request(taken)
        if _dropped.count == before:
            return
        header, request = taken
        goal = self._goal_handles.get(bytes(request.goal_id.uuid))
        response = self.action_type.Impl.SendGoalService.Response(accepted=goal is not None)
        self._send_again(lambda: self._handle.send_goal_response(header, response))

    def _send_result_response(self, header: Any, future: Any) -> None:
        before = _dropped.count
        super()._send_result_response(header, future)
        if _dropped.count != before:
            self._send_again(lambda: self._handle.send_result_response(header, future.result()))

    def _send_again(self, send: Callable[[], object]) -> None:
        if not send_until_heard(send):
            _tell_unheard('the action point_query', self._node)
