# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A standing question as a client has it: renewed for as long as somebody wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from geometry_msgs.msg import PoseArray
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile

from molmo_ros.msg import TrackedPoints
from molmo_ros.ros.answering import Status
from molmo_ros.ros.calling import call
from molmo_ros.ros.messages import duration_message
from molmo_ros.ros.sync import stamp_ns
from molmo_ros.srv import Watch

_RENEWALS = 3  # in the time of a lease
_SHORTEST_S = 0.05  # from one to the next
_TAKEN_BACK_S = 2.0


@dataclass(frozen=True)
class FollowedPoint:
    """A point of a standing question in one image.

    id: the same for as long as it is followed or found again. answered: the model has pointed at it
    since the last message. drift: pixels by which carrying may have moved it off. point: an
    AnsweredPoint.
    """

    id: int
    answered: bool
    drift: float
    point: Any


@dataclass(frozen=True)
class Followed:
    """Where the points of a standing question are in one image.

    stamp_ns: of the image, 0 where there is none; frame_id: of the 3D. status, message: how the
    last answer ended; answered_ns: stamp of the image that the last good one is about, 0 for none.
    """

    status: Status
    message: str
    stamp_ns: int
    frame_id: str
    answered_ns: int
    points: tuple[FollowedPoint, ...]
    waypoints: PoseArray
    assumed: tuple[str, ...]


class WatchRefused(Exception):
    """A standing question is not taken; status and text say why."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class WatchHandle:
    """A standing question, which ends when this is closed, or its process is gone.

    node: spun by somebody else. client: of the node's watch service. on_points: told of every
    image, in the thread that spins. in_callback: whether it is that thread which calls. gone:
    whether the node is destroyed, or about to be.
    """

    def __init__(
        self,
        node: Node,
        client: Any,
        request: Watch.Request,
        on_points: Callable[[Followed], object],
        read_points: Callable[[Any], tuple[Any, ...]],
        timeout: float,
        in_callback: Callable[[], bool],
        gone: Callable[[], bool],
    ) -> None:
        self._in_callback = in_callback
        self._gone = gone
        self._closed = False
        self._closing = threading.Lock()
        self._renewed = threading.Event()
        self._renewed.set()
        self._node = node
        self._client = client
        self._request = request
        self._on_points = on_points
        self._read_points = read_points
        self._newest: Followed | None = None
        response = call(node, client, request, timeout, gone)
        if response is None:
            response = Watch.Response(
                status=int(Status.TIMEOUT), message='the node did not respond'
            )
        if response.status != Status.SUCCESS:
            raise WatchRefused(Status(response.status), response.message)
        self._subscription = node.create_subscription(
            TrackedPoints, response.topic, self._on_message, QoSProfile(depth=10)
        )
        lease = response.lease.sec + response.lease.nanosec * 1e-9  # what the node granted
        self._timer = node.create_timer(max(lease / _RENEWALS, _SHORTEST_S), self._renew)

    @property
    def newest(self) -> Followed | None:
        """What was last told; None before the first message."""
        return self._newest

    def close(self) -> None:
        """End the standing question; more than once is once. Nothing is waited for in on_points."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        with suppress(rclpy_implementation.InvalidHandle):  # the client may have been closed before
            self._timer.cancel()
            self._stop()
            self._node.destroy_timer(self._timer)
            self._node.destroy_subscription(self._subscription)

    def _stop(self) -> None:
        """Tell the node; where that cannot be sent, the lease ends it."""
        stop = Watch.Request(id=self._request.id, stop=True)
        # A node takes requests in several threads: a renewal must not come after the end.
        if not self._in_callback() and self._renewed.wait(_TAKEN_BACK_S):
            call(self._node, self._client, stop, _TAKEN_BACK_S, self._gone)
        else:
            with suppress(rclpy_implementation.RCLError):
                self._client.call_async(stop)

    def __enter__(self) -> WatchHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _renew(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._renewed.clear()
            try:
                renewal = self._client.call_async(self._request)
            except rclpy_implementation.RCLError:  # on a busy machine: the next is soon enough
                self._renewed.set()
                return
        renewal.add_done_callback(lambda _: self._renewed.set())

    def _on_message(self, message: TrackedPoints) -> None:
        if message.id != self._request.id or self._closed:
            return
        self._newest = self._read(message)
        self._on_points(self._newest)

    def _read(self, message: TrackedPoints) -> Followed:
        points = zip(message.points, message.drift, self._read_points(message.points), strict=True)
        answered = message.answered
        return Followed(
            status=Status(message.status),
            message=message.message,
            stamp_ns=stamp_ns(message),
            frame_id=message.header.frame_id,
            answered_ns=answered.sec * 1_000_000_000 + answered.nanosec,
            points=tuple(
                FollowedPoint(one.track_id, one.source == one.ANSWERED, drift, point)
                for one, drift, point in points
            ),
            waypoints=message.waypoints,
            assumed=tuple(message.assumed),
        )


def watch_request(
    id: str,
    query: str,
    mode: int,
    target_frame: str,
    max_points: int,
    period: float,
    lease: float,
) -> Watch.Request:
    """A request for a standing question; period, lease: seconds."""
    return Watch.Request(
        id=id,
        query=query,
        mode=mode,
        target_frame=target_frame,
        max_points=max_points,
        period=duration_message(period),
        lease=duration_message(lease),
    )
