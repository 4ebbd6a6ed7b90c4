# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Asking from Python, without a node, an executor or a spin of one's own.

with PointQueryClient() as client:
    client.wait_until_ready(60)
    answered = client.ask('the red mug', target_frame='base_link')
    print(answered.points[0].surface.position)
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from numbers import Integral
from types import TracebackType
from typing import Any
from weakref import WeakSet

import numpy as np
import rclpy
from geometry_msgs.msg import PoseArray
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.pointing.prompts import Mode
from molmo_ros.ros.answering import Status
from molmo_ros.ros.calling import call
from molmo_ros.ros.client_watch import Followed, WatchHandle, watch_request
from molmo_ros.ros.conversions import camera_info_message, color_message, depth_message
from molmo_ros.ros.messages import duration_message, stamp_message
from molmo_ros.ros.readiness import EngineWatch
from molmo_ros.ros.spinning import Spinner
from molmo_ros.ros.sync import stamp_ns
from molmo_ros.spatial import LiftStatus, SurfacePoint
from molmo_ros.srv import PointQuery, Watch

# How much longer than the question's own timeout a response may be on its way.
_GRACE_S = 10.0
_POLL_S = 0.1
LONGEST_S = 1e6  # that a question may take; more is a slip
_CLOSED = 'the client has been closed'
_APPROACHES = 'ABOVE', 'TILTED', 'NORMAL', 'SIDE'


@dataclass(frozen=True)
class AnsweredGrasp:
    """A way to take a thing, in the frame of the answer: see Grasp.msg.

    approach: 'ABOVE', 'TILTED', 'NORMAL' or 'SIDE'. position, pregrasp, retreat: (3,) metres.
    quaternion: (4,) x, y, z, w of all three. width, opening, depth: metres. score: 0 to 1. reason:
    why it must not be taken; '' where it may be.
    """

    approach: str
    position: NDArray[np.float64]
    quaternion: NDArray[np.float64]
    pregrasp: NDArray[np.float64]
    retreat: NDArray[np.float64]
    width: float
    opening: float
    depth: float
    score: float
    reason: str


@dataclass(frozen=True)
class AnsweredPlace:
    """Where to put something down, in the frame of the answer.

    position: (3,) metres. quaternion: (4,) x, y, z, w, whose z is up from what carries it. radius:
    metres around in which nothing is seen to be in the way; NaN, as the arrays, where there is no
    place. reason: what ends the radius and what of it is not seen, or why there is none.
    """

    position: NDArray[np.float64]
    quaternion: NDArray[np.float64]
    radius: float
    reason: str


@dataclass(frozen=True)
class AnsweredObject:
    """What the camera sees of the thing that a point is on, in the frame of the answer.

    measured: whether the node measured it (parameter waypoint_from) and the depth showed where it
    ends; the arrays are NaN otherwise. reason: what is not known, or may be larger. centroid: (3,)
    metres, mean of its visible surface. centre, quaternion: (3,) metres and (4,) x, y, z, w of the
    box around it. size: (3,) metres along the box's axes. grasp_width: metres between the fingers
    of the first of the grasps, NaN where not known. graspable: there is a way to take it. grasps:
    the best first, those that must not be taken last. may_be_several: it has hardly a gap to what
    is beside it, or looks like two; reason says which.
    """

    measured: bool
    reason: str
    centroid: NDArray[np.float64]
    centre: NDArray[np.float64]
    quaternion: NDArray[np.float64]
    size: NDArray[np.float64]
    grasp_width: float
    graspable: bool
    grasps: tuple[AnsweredGrasp, ...] = ()
    may_be_several: bool = False


@dataclass(frozen=True)
class AnsweredPoint:
    """A point in the image, on the surface in the frame of the answer, and the thing it is on.

    place: where to put something down there.
    """

    image: ImagePoint
    surface: SurfacePoint
    object: AnsweredObject
    place: AnsweredPlace


@dataclass(frozen=True)
class Answered:
    """A response of point_query.

    stamp_ns: of the image; frame_id: of the 3D; count: -1 is none. assumed: what nothing said and
    the 3D depends on, each with the parameter that settles it. presence: the model's belief that
    there is anything to point at, 0 to 1, NaN where it is not known.
    """

    status: Status
    message: str
    answer: str
    stamp_ns: int
    frame_id: str
    points: tuple[AnsweredPoint, ...]
    count: int
    waypoints: PoseArray
    stage_times: Mapping[str, float]
    assumed: tuple[str, ...] = ()
    presence: float = nan


OnFeedback = Callable[[str, tuple[AnsweredPoint, ...]], None]


class ServiceUnavailable(Exception):
    """Nobody answers; the text says what to look at."""


class PendingAnswer:
    """A question on its way through the action.

    rclpy's action client may miss a response that comes while a request is still being noted down:
    whatever sends one has to run in the thread that receives. run: has a function run there.
    seconds: after which no answer is expected any more. action: whom it is asked of.
    """

    def __init__(
        self,
        run: Callable[[Callable[[], object]], object],
        send: Callable[[], Any],
        seconds: float,
        action: str,
    ) -> None:
        self._run = run
        self._end = time.monotonic() + seconds
        self._action = action
        self._answered: Future[Answered] = Future()
        self._goal: Any = None
        self._cancelled = False
        run(lambda: self._send(send))

    def cancel(self) -> None:
        """Ask the node to stop; the result then has the status CANCELED, or came before."""
        self._run(self._cancel)

    def done(self) -> bool:
        """Whether there is a result."""
        return self._answered.done()

    def result(self, timeout: float | None = None) -> Answered:
        """Wait for it. Raises TimeoutError, ServiceUnavailable.

        timeout: seconds; None: for as long as an answer may come.
        """
        left = max(self._end - time.monotonic(), 0.0)
        try:
            return self._answered.result(left if timeout is None else min(timeout, left))
        except concurrent.futures.TimeoutError as error:  # another one before Python 3.11
            if time.monotonic() >= self._end:
                raise ServiceUnavailable(_silent(self._action)) from error
            raise TimeoutError('the question is still being answered') from error

    def give_up(self, why: str) -> None:
        """No answer will come; for whoever ends the thread that receives."""
        if not self._answered.done():
            self._answered.set_exception(ServiceUnavailable(why))

    def _send(self, send: Callable[[], Any]) -> None:
        with self._failure_told():
            send().add_done_callback(self._on_accepted)

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        """Whoever waits is told what fails in the thread that receives, as on a busy machine."""
        try:
            yield
        except Exception as error:
            self.give_up(f'the question could not be sent: {error}; ask again')

    def _cancel(self) -> None:
        self._cancelled = True
        if self._goal is not None and self._goal.accepted:
            self._goal.cancel_goal_async()

    def _on_accepted(self, sent: Any) -> None:
        self._goal = sent.result()
        if not self._goal.accepted:
            self._answered.set_exception(ServiceUnavailable('the node refused the goal'))
            return
        with self._failure_told():
            self._goal.get_result_async().add_done_callback(self._on_result)
        if self._cancelled:
            self._goal.cancel_goal_async()

    def _on_result(self, result: Any) -> None:
        self._answered.set_result(read_answered(result.result().result))


class PointQueryClient:
    """Asks the node of one namespace, from any thread; it spins in a thread of its own.

    namespace: of the node to ask, '' at the root. node_name: of the node it is made of. service,
    action: what the node offers, where these were given other names. The node itself may be called
    anything. ros_arguments: as on the command line of a node, `--ros-args` first; None: those
    of this process.
    """

    def __init__(
        self,
        namespace: str = '',
        node_name: str = 'point_query_client',
        service: str = 'point_query',
        action: str = 'point_query',
        ros_arguments: Sequence[str] | None = None,
    ) -> None:
        self._context = Context()
        rclpy.init(
            args=None if ros_arguments is None else [*ros_arguments],
            context=self._context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self._node = Node(node_name, namespace=namespace, context=self._context)
        self._client: Any = self._node.create_client(PointQuery, service)
        self._action: Any = ActionClient(self._node, PointQueryAction, action)
        self._watch: Any = self._node.create_client(Watch, f'{service}/watch')
        self._name = self._node.resolve_service_name(service)
        self._action_name = self._node.resolve_service_name(action)
        self._engine = EngineWatch(self._node, self._client, self._name)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._pending: WeakSet[PendingAnswer] = WeakSet()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._spinner = Spinner(self._executor)

    def close(self) -> None:
        """Leave the graph; whoever waits for an answer in another thread is told. Raises
        RuntimeError in a callback of this client."""
        self._refuse_here('closed')
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
        self._spinner.close()
        for pending in self._pending:
            pending.give_up(_CLOSED)
        self._action.destroy()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def __enter__(self) -> PointQueryClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def wait_until_ready(
        self, timeout: float, on_progress: Callable[[str, float], None] | None = None
    ) -> bool:
        """Whether the node is there and its model loaded within `timeout` seconds.

        on_progress: told now and then what the node is doing, and how far it is (0 to 1).
        It listens to the diagnostics of the node that offers the service, and asks it where there
        are none; a model that failed to load counts as not ready, at once, as does a client that is
        closed meanwhile.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                report = self._engine.update()
            except rclpy_implementation.InvalidHandle:
                if self._closed.is_set():
                    return False
                raise
            if self._closed.is_set():
                return False
            if report.ready or report.failed or not time.monotonic() <= deadline:  # also of NaN
                return report.ready
            if on_progress is not None and report.text:
                on_progress(report.text, report.progress)
            time.sleep(_POLL_S)

    @property
    def service(self) -> str:
        """The full name of the service that is asked."""
        return self._name

    @property
    def engine_state(self) -> str:
        """What the node last said of its model; '' before it said anything."""
        return self._engine.report.text

    def ask(
        self,
        query: str,
        *,
        mode: Mode = Mode.POINT,
        frame: Frame | None = None,
        target_frame: str = '',
        max_points: int = 0,
        timeout: float = 60.0,
    ) -> Answered:
        """Ask through the service and wait.

        frame: what to ask about; None is the node's newest. target_frame: of the 3D; '' is the
        image's. timeout: seconds to wait for a node, and that it may take. Raises
        ServiceUnavailable, ValueError for a number that cannot be meant, and RuntimeError in a
        callback of this client.
        """
        self._refuse_here('asked so')
        _check(max_points, timeout)
        if not self._found(self._client.wait_for_service, timeout):
            raise ServiceUnavailable(
                f'no node offers {self._name}: start molmo_point_query, and look at namespace and '
                'ROS_DOMAIN_ID'
            )
        request = _fill(PointQuery.Request(), query, mode, frame, target_frame, max_points, timeout)
        stop = self._closed.is_set
        response = call(self._node, self._client, request, timeout + _GRACE_S, stop)
        if response is None:
            raise ServiceUnavailable(_CLOSED if stop() else _silent(self._name))
        return read_answered(response)

    def start(
        self,
        query: str,
        *,
        mode: Mode = Mode.POINT,
        frame: Frame | None = None,
        target_frame: str = '',
        max_points: int = 0,
        timeout: float = 60.0,
        on_feedback: OnFeedback | None = None,
    ) -> PendingAnswer:
        """Ask through the action and go on; arguments as of `ask`.

        on_feedback: told the stage that begins and the points so far, in this client's thread.
        Raises ServiceUnavailable and ValueError.
        """
        _check(max_points, timeout)
        if not self._found(self._action.wait_for_server, timeout):
            raise ServiceUnavailable(f'no node offers the action {self._action_name}')
        goal = _fill(PointQueryAction.Goal(), query, mode, frame, target_frame, max_points, timeout)

        def told(message: Any) -> None:
            if on_feedback is not None:
                feedback = message.feedback
                on_feedback(feedback.stage, _read_points(feedback.points))

        pending = PendingAnswer(
            self._run,
            lambda: self._action.send_goal_async(goal, feedback_callback=told),
            timeout + _GRACE_S,
            self._action_name,
        )
        with self._closing:
            self._require_open()  # else nobody tells it, and `close` may be going through them
            self._pending.add(pending)
        return pending

    def watch(
        self,
        query: str,
        on_points: Callable[[Followed], object] = lambda followed: None,
        *,
        mode: Mode = Mode.POINT,
        target_frame: str = '',
        max_points: int = 0,
        period: float = 0.0,
        lease: float = 3.0,
        timeout: float = 10.0,
    ) -> WatchHandle:
        """Set a standing question, which stands until the handle is closed.

        on_points: told where its points are in every image, in this client's thread. period:
        seconds at least from answer to answer; 0 is as often as the model can. lease: seconds that
        the question outlives this process; 0 is what the node gives. timeout: seconds to wait for
        the node. Raises ServiceUnavailable, WatchRefused, ValueError for a number that cannot be
        meant, and RuntimeError in a callback of this client.
        """
        self._refuse_here('asked so')
        _check(max_points, timeout, period=period, lease=lease)
        if not self._found(self._watch.wait_for_service, timeout):
            raise ServiceUnavailable(f'no node offers {self._name}/watch')
        request = watch_request(
            uuid.uuid4().hex, query, mode.value, target_frame, max_points, period, lease
        )
        return WatchHandle(
            self._node,
            self._watch,
            request,
            on_points,
            _read_points,
            timeout,
            lambda: self._spinner.here,
            self._closed.is_set,
        )

    def _run(self, work: Callable[[], object]) -> None:
        """In the thread that receives, for as long as there is one."""
        with self._closing:
            if not self._closed.is_set():
                self._executor.create_task(work)

    def _found(self, wait: Callable[[float], bool], timeout: float) -> bool:
        """Whether somebody is there to be asked. Raises ServiceUnavailable once this is closed."""
        try:
            found = not self._closed.is_set() and wait(timeout)
        except rclpy_implementation.InvalidHandle:
            found = False
        self._require_open()
        return found

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise ServiceUnavailable(_CLOSED)

    def _refuse_here(self, what: str) -> None:
        """Raises RuntimeError where the thread that receives would wait for itself."""
        if self._spinner.here:
            raise RuntimeError(
                f'a client cannot be {what} in one of its own callbacks, whose thread receives '
                'what it waits for: do it in another thread, or ask with start'
            )


def _silent(name: str) -> str:
    return f'{name} did not respond within its timeout'


def read_answered(message: Any) -> Answered:
    """The plain data of a PointQuery response or result."""
    return Answered(
        status=Status(message.status),
        message=message.message,
        answer=message.answer,
        stamp_ns=stamp_ns(message),
        frame_id=message.header.frame_id,
        points=_read_points(message.points),
        count=message.count,
        waypoints=message.waypoints,
        stage_times={stage.stage: stage.seconds for stage in message.stage_times},
        assumed=tuple(message.assumed),
        presence=message.presence,
    )


def _read_points(messages: Any) -> tuple[AnsweredPoint, ...]:
    return tuple(_read_point(message) for message in messages)


def _read_point(message: Any) -> AnsweredPoint:
    return AnsweredPoint(
        ImagePoint(message.u, message.v, message.label, message.confidence, spread=message.spread),
        SurfacePoint(
            LiftStatus(message.status_3d),
            position=_xyz(message.position),
            normal=_xyz(message.normal),
            covariance=np.asarray(message.position_covariance, float).reshape(3, 3),
            valid_pixels=message.depth_valid_pixels,
            spread=message.depth_spread,
            bridged=message.bridged,
            near_edge=message.near_edge,
            reason=message.reason,
        ),
        _read_object(message),
        _read_place(message),
    )


def _read_object(message: Any) -> AnsweredObject:
    return AnsweredObject(
        measured=message.object_measured,
        reason=message.object_reason,
        centroid=_xyz(message.object_centroid),
        centre=_xyz(message.object_box.position),
        quaternion=_xyzw(message.object_box.orientation),
        size=_xyz(message.object_size),
        grasp_width=message.grasp_width,
        graspable=message.graspable,
        grasps=tuple(_read_grasp(grasp) for grasp in message.grasps),
        may_be_several=message.object_may_be_several,
    )


def _read_grasp(message: Any) -> AnsweredGrasp:
    return AnsweredGrasp(
        approach=_APPROACHES[message.approach],
        position=_xyz(message.pose.position),
        quaternion=_xyzw(message.pose.orientation),
        pregrasp=_xyz(message.pregrasp.position),
        retreat=_xyz(message.retreat.position),
        width=message.width,
        opening=message.opening,
        depth=message.depth,
        score=message.score,
        reason=message.reason,
    )


def _read_place(message: Any) -> AnsweredPlace:
    return AnsweredPlace(
        _xyz(message.place.position),
        _xyzw(message.place.orientation),
        message.place_radius,
        message.place_reason,
    )


def _xyzw(message: Any) -> NDArray[np.float64]:
    return np.array([message.x, message.y, message.z, message.w])


def _xyz(message: Any) -> NDArray[np.float64]:
    return np.array([message.x, message.y, message.z])


def _check(max_points: int, timeout: float, **others: float) -> None:
    """Raise ValueError for what no message can hold, or no question can mean; seconds."""
    if not (isinstance(max_points, Integral) and 0 <= max_points < 1 << 32):
        raise ValueError(f'max_points is {max_points}: give how many, or 0 for all')
    if not 0 < timeout <= LONGEST_S:
        raise ValueError(f'timeout is {timeout} s: give more than 0 and at most {LONGEST_S:.0f}')
    for name, seconds in others.items():
        if not 0 <= seconds <= LONGEST_S:
            raise ValueError(f'{name} is {seconds} s: give 0 or more')


def _fill(
    message: Any,
    query: str,
    mode: Mode,
    frame: Frame | None,
    target_frame: str,
    max_points: int,
    timeout: float,
) -> Any:
    message.query = query
    message.mode = mode.value
    message.target_frame = target_frame
    message.max_points = max_points
    message.timeout = duration_message(timeout)
    if frame is not None:
        header = Header(stamp=stamp_message(frame.stamp), frame_id=frame.frame_id)
        message.image = color_message(frame.color, header)
        if frame.depth is not None:
            message.depth = depth_message(frame.depth, '32FC1', header)
        if frame.camera is not None:
            message.camera_info = camera_info_message(frame.camera, header)
    return message
