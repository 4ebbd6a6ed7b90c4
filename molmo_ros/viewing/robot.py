# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's camera over ROS: its topics as the node takes them, and the node's answers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from math import inf

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine import Question
from molmo_ros.errors import UserError
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.ros.answering import Refused
from molmo_ros.ros.camera_topics import listening
from molmo_ros.ros.client import Answered, AnsweredPoint, PointQueryClient, ServiceUnavailable
from molmo_ros.spatial.frames import frame_name
from molmo_ros.spatial.transform_tree import NoTransform, poses_in, wait_for_transform
from molmo_ros.viewing.views import Box, Gripper, Shown, ShownPoint, View

_TIMEOUT_S = 120.0
_POLL_S = 0.01
# Views that an answer may turn out to be about: so many seconds, as far as the memory allows.
_KEPT_S, _KEPT_BYTES = 5.0, 200 << 20


class RobotFeed:
    """The camera and the node of one namespace.

    topics: names for the node's streams. frame: that positions are told in; '': the optical one.
    Raises UserError.
    """

    lasts, counts = inf, False

    def __init__(
        self, namespace: str = '', topics: Mapping[str, str] | None = None, frame: str = ''
    ) -> None:
        self.frame = frame
        self.namespace = f'/{namespace.strip("/")}' if namespace.strip('/') else ''
        self._stack = ExitStack()
        self._recent: deque[View] = deque()
        self._lock = threading.Lock()
        arguments = ['--ros-args', '-r', f'__ns:={self.namespace}'] if self.namespace else []
        with ExitStack() as stack:
            self._heard = stack.enter_context(listening('view', topics or {}, arguments))
            self._client = stack.enter_context(PointQueryClient(self.namespace, 'view_client'))
            self._stack = stack.pop_all()

    def close(self) -> None:
        """See Feed."""
        self._stack.close()

    def take(self, at: float, frame: str) -> View:
        """See Feed."""
        heard = self._heard
        try:
            capture = heard.streams.capture(heard.settings.frames)
        except Refused as error:
            raise UserError(str(error)) from error
        target = self._target(capture, frame)
        shown_in = frame_name(frame) or capture.frame.frame_id
        frames = poses_in(heard.transforms, shown_in, 0)
        view = View(capture, target, frame, frames, heard.streams.topic('image'))
        self._keep(view)
        return view

    def ask(self, question: Question, frame: str, should_stop: Callable[[], bool]) -> Shown:
        """The node's answer about its newest frame. Raises UserError."""
        client = self._client
        if not client.wait_until_ready(_POLL_S):
            raise UserError(client.engine_state or f'no node offers {client.service}')
        try:
            pending = client.start(
                question.query,
                mode=question.mode,
                target_frame=frame,
                max_points=question.max_points,
                timeout=_TIMEOUT_S,
            )
            while not pending.done():
                if should_stop():
                    pending.cancel()
                    should_stop = _never
                time.sleep(_POLL_S)
            answered = pending.result()
        except ServiceUnavailable as error:
            raise UserError(str(error)) from error
        return _shown(question, answered, self._about(answered.stamp_ns))

    def _target(self, capture: Capture, frame: str) -> TargetFrame:
        if frame_name(frame) in ('', capture.frame.frame_id):
            return OPTICAL
        optical, stamp = capture.frame.frame_id, capture.frame.stamp
        patience = self._heard.settings.frames.transform_timeout
        try:
            T = wait_for_transform(
                self._heard.transforms, frame_name(frame), optical, stamp, patience
            )
        except NoTransform as error:
            return TargetFrame(None, str(error))
        return TargetFrame(T)

    def _keep(self, view: View) -> None:
        with self._lock:
            recent = self._recent
            newest = view.capture.frame.stamp
            # Those of before time jumped back would be shown when their stamps come round again.
            while recent and recent[-1].capture.frame.stamp >= newest:
                recent.pop()
            recent.append(view)
            while len(recent) > 1 and (
                newest - recent[0].capture.frame.stamp > _KEPT_S * 1e9
                or sum(map(_bytes_of, recent)) > _KEPT_BYTES
            ):
                recent.popleft()

    def _about(self, stamp: int) -> View:
        """The view of a stamp, or else the one nearest to it. Raises UserError."""
        with self._lock:
            if not self._recent:
                raise UserError('no frame has come from the camera yet')
            return min(self._recent, key=lambda view: abs(view.capture.frame.stamp - stamp))


def _never() -> bool:
    return False


def _bytes_of(view: View) -> int:
    frame = view.capture.frame
    return frame.color.nbytes + (0 if frame.depth is None else frame.depth.nbytes)


def _shown(question: Question, answered: Answered, view: View) -> Shown:
    apart = abs(view.capture.frame.stamp - answered.stamp_ns) / 1e9
    notes = [text for text in (answered.message, *answered.assumed) if text]
    if answered.points and apart > 0:
        notes.append(
            f'the picture shown is {apart:.3f} s from the one that the answer is about, which this '
            'page did not see'
        )
    return Shown(
        view,
        question.query,
        question.mode,
        answered.status.name,
        answered.answer.strip(),
        answered.count if answered.count >= 0 else None,
        answered.presence,
        tuple(_points(answered)),
        dict(answered.stage_times),
        tuple(notes),
    )


def _points(answered: Answered) -> Iterator[ShownPoint]:
    poses: Sequence[Gripper] = [
        Gripper(_xyz(pose.position), _xyzw(pose.orientation)) for pose in answered.waypoints.poses
    ]
    # Waypoints are those of the points that have a position, in their order.
    grippers = iter(poses)
    for point in answered.points:
        in_space = bool(np.isfinite(point.surface.position).all())
        gripper = next(grippers, None) if in_space else None
        yield ShownPoint(point.image, point.surface, _box(point), gripper, point.object.reason)


def _box(point: AnsweredPoint) -> Box | None:
    thing = point.object
    if not thing.measured or not np.isfinite(thing.size).all():
        return None
    return Box(thing.centre, thing.quaternion, thing.size)


def _xyz(message: object) -> NDArray[np.float64]:
    return np.array([getattr(message, axis) for axis in 'xyz'])


def _xyzw(message: object) -> NDArray[np.float64]:
    return np.array([getattr(message, axis) for axis in 'xyzw'])
