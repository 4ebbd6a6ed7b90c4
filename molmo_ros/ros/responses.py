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
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from rclpy.action import ActionServer
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher

RCLError = rclpy_implementation.RCLError

# How rclpy begins its warning about a response that was dropped.
_DROPPED = 'failed to send response (timeout)'
# Seconds for which a response is sent again. Discovery takes about one on a loaded machine.
_PATIENCE_S = 5.0
# Seconds between two tries: not every middleware waits by itself.
_PAUSE_S = 0.05
# Clients that are waited for at once: each holds a thread of the executor.
_MOST_WAITING = 4
# Seconds between two lines of the log about messages that could not be sent, of whatever topic.
_LOG_S = 10.0


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


def publish(publisher: Publisher, message: Any, logger: Any) -> bool:
    """Whether it could be sent: what DDS cannot send just then, on a busy machine, is told.

    Each by itself, so that one that is lost keeps no other back.
    """
    try:
        publisher.publish(message)
    except RCLError as error:
        logger.warning(
            f'a message of {publisher.topic_name} could not be sent: {error}',
            throttle_duration_sec=_LOG_S,
        )
        return False
    return True


class Unsent:
    """Counts the requests to a service whose response has not left yet; true while there are any.

    rclpy sends it when the callback has returned, and not at all once the executor has ended.
    """

    def __init__(self, service: Any) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._callback, self._send = service.callback, service.send_response
        service.callback, service.send_response = self._call, self._send_response

    def __bool__(self) -> bool:
        return self._count > 0

    def _call(self, *arguments: Any) -> Any:
        self._add(1)
        try:
            return self._callback(*arguments)
        except BaseException:
            self._add(-1)
            raise

    def _send_response(self, response: Any, header: Any) -> None:
        try:
            self._send(response, header)
        finally:
            self._add(-1)

    def _add(self, more: int) -> None:
        with self._lock:
            self._count += more


class _Begun(threading.local):
    goal: Any = None


class PatientActionServer(ActionServer):
    """An action server that leaves no goal without its result.

    It tells a client again that its goal is taken, where that was dropped. rclpy begins no goal
    that is cancelled just as it begins, nor one of whose state DDS cannot tell anybody just then.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._told: WeakSet[Any] = WeakSet()
        self._begun = _Begun()
        super().__init__(*arguments, **named)

    @property
    def untold(self) -> bool:
        """Whether the result of a goal has not left yet; whoever sent a goal asks for it."""
        return any(result not in self._told for result in list(self._result_futures.values()))

    async def _execute_goal_request(self, taken: Any) -> None:
        before = _dropped.count
        header, request = taken
        try:
            await super()._execute_goal_request(taken)
        except RCLError:
            goal = self._goal_handles.get(bytes(request.goal_id.uuid))
            if goal is None:
                raise
            self._begin(goal)
        if _dropped.count == before:
            return
        goal = self._goal_handles.get(bytes(request.goal_id.uuid))
        response = self.action_type.Impl.SendGoalService.Response(accepted=goal is not None)
        self._send_again(lambda: self._handle.send_goal_response(header, response))

    def notify_execute(self, goal_handle: Any, execute_callback: Any) -> None:
        """See ActionServer; in the thread that takes the goal."""
        self._begun.goal = goal_handle
        super().notify_execute(goal_handle, execute_callback)

    def _begin(self, goal: Any) -> None:
        """Have a goal executed, whatever became of its state."""
        if self._begun.goal is not goal:
            with suppress(RCLError):
                goal.execute()
        if self._begun.goal is not goal:
            self.notify_execute(goal, None)

    def _send_result_response(self, header: Any, future: Any) -> None:
        before = _dropped.count
        try:
            super()._send_result_response(header, future)
            if _dropped.count != before:
                self._send_again(lambda: self._handle.send_result_response(header, future.result()))
        finally:
            self._told.add(future)

    def _send_again(self, send: Callable[[], object]) -> None:
        if not send_until_heard(send):
            _tell_unheard('the action point_query', self._node)
