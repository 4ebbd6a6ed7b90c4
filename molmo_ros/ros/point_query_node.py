# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node behind `point_query`: the service, the action, and what they show on topics.

python -m molmo_ros.ros.point_query_node --ros-args -r image:=/camera/color/image_raw ...
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.engine import Engine, Pointer, load_engine
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.grounding.annotate import annotated
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.ros import parameters, qos
from molmo_ros.ros.answering import Answering, AnswerSettings, Refused, Result, Status
from molmo_ros.ros.conversions import color_message
from molmo_ros.ros.deadline import Deadline
from molmo_ros.ros.diagnostics import Diagnostics, QuestionLog
from molmo_ros.ros.engine_worker import EngineLoader, EngineWorker, Progress
from molmo_ros.ros.later import Later
from molmo_ros.ros.markers import markers
from molmo_ros.ros.messages import (
    brings_image,
    drop_pictures,
    read_capture,
    read_request,
    result_header,
    stamp_message,
    write_points,
    write_result,
)
from molmo_ros.ros.node_settings import NodeSettings, read_settings
from molmo_ros.ros.spinning import run_node
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.transforms import make_transforms
from molmo_ros.ros.waypoints import waypoints
from molmo_ros.srv import PointQuery

# Executor threads beside those of the questions: /tf, and all the rest.
_OTHER_THREADS = 2
_CLOSE_TIMEOUT_S = 5.0
# A client asks for the result as its goal is accepted, so nobody comes for it much later.
_RESULT_TIMEOUT_S = 10


class PointQueryNode(Node):
    """Answers `point_query`, as a service and as an action, about the newest frame or one given.

    engine_loader: where the engine comes from, called in a thread of its own with a callback for
    progress; by default the checkpoint that the parameters name. Other arguments are Node's.
    Spin it with as many threads as `threads` says, and `close` it before it is destroyed.
    """

    _action: ActionServer | None = None

    def __init__(self, engine_loader: EngineLoader | None = None, **node_arguments: Any) -> None:
        super().__init__('molmo_point_query', **node_arguments)
        parameters.declare(self, parameters.POINT_QUERY)
        settings = self._settings()
        self.threads = settings.max_waiting + 2 + _OTHER_THREADS
        self._closing = threading.Event()
        self._idle = threading.Condition()
        self._running = 0
        self._log = QuestionLog()
        self.add_on_set_parameters_callback(self._check)
        transforms = make_transforms(self, settings.transform_cache)
        self._streams = CameraStreams(self, settings.streams, transforms)
        self._streams.start()
        self._worker = EngineWorker(self._announced(engine_loader or self._load))
        self._answering = Answering(
            self._worker,
            transforms,
            settings.max_waiting,
            self.get_logger().error,
        )
        self._markers = self.create_publisher(MarkerArray, '~/markers', qos.LATCHED)
        self._annotated = self.create_publisher(Image, '~/annotated_image', qos.LATCHED)
        self._waypoints = self.create_publisher(PoseArray, '~/waypoints', qos.LATCHED)
        self._showing = Later(self._show, self.get_logger().error)
        self._diagnostics = Diagnostics(
            self,
            settings.diagnostics_period,
            lambda: self._worker.state,
            self._streams,
            self._log,
        )
        # Several at once, so that those who wait are heard and can be told BUSY or cancelled.
        questions = ReentrantCallbackGroup()
        self._service = self.create_service(
            PointQuery, 'point_query', self._on_request, callback_group=questions
        )
        self._action = ActionServer(
            self,
            PointQueryAction,
            'point_query',
            self._on_goal,
            callback_group=questions,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            result_timeout=_RESULT_TIMEOUT_S,
        )

    @property
    def waiting(self) -> int:
        """How many questions wait for the engine."""
        return self._worker.waiting

    def close(self, timeout: float = _CLOSE_TIMEOUT_S) -> bool:
        """Cancel the questions, answer whoever waits, stop the engine.

        False if the engine is in the middle of a pass that takes longer than `timeout` seconds.
        """
        self._closing.set()
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, timeout)
        self._streams.close()
        self._showing.close(timeout)
        return self._worker.close(timeout)

    def destroy_node(self) -> None:
        """See Node; rclpy of Kilted also calls it of a node whose parameters were refused."""
        if self._action is not None:
            self._streams.close()
            self._action.destroy()
        super().destroy_node()

    def _settings(self) -> NodeSettings:
        return read_settings(parameters.values(self, parameters.POINT_QUERY))

    def _check(self, changed: list[Parameter]) -> SetParametersResult:
        """Whether these make sense, together with all the others."""
        values = parameters.values(self, parameters.POINT_QUERY)
        try:
            read_settings(values | {p.name: p.value for p in changed})
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _load(self, on_progress: Progress) -> Engine:
        wanted = self._settings().engine
        return load_engine(
            wanted.checkpoint or default_checkpoint(),
            device=wanted.device,
            dtype=wanted.dtype,
            max_crops=wanted.max_crops,
            quantize=wanted.quantize,
            adapter=wanted.adapter,
            on_progress=on_progress,
        )

    def _announced(self, load: EngineLoader) -> EngineLoader:
        def announced(on_progress: Progress) -> Pointer:
            begun = time.monotonic()
            try:
                engine = load(on_progress)
            except Exception as error:
                if not self._closing.is_set():
                    self.get_logger().error(f'the model could not be loaded: {error}')
                raise
            self.get_logger().info(f'ready after {time.monotonic() - begun:.1f} s')
            return engine

        return announced

    def _on_request(
        self, request: PointQuery.Request, response: PointQuery.Response
    ) -> PointQuery.Response:
        return self._answer(request, response, 'service', self._closing.is_set)

    def _on_goal(self, goal: ServerGoalHandle) -> PointQueryAction.Result:
        def should_stop() -> bool:
            return goal.is_cancel_requested or self._closing.is_set()

        def on_progress(stage: str, points: tuple[GroundedPoint, ...]) -> None:
            feedback = PointQueryAction.Feedback(stage=stage, points=write_points(points))
            goal.publish_feedback(feedback)

        result = self._answer(
            goal.request, PointQueryAction.Result(), 'action', should_stop, on_progress
        )
        drop_pictures(goal.request)
        if result.status in (Status.SUCCESS, Status.NO_POINTS):
            goal.succeed()
        elif result.status == Status.CANCELED and goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return result

    def _answer(
        self,
        request: Any,
        response: Any,
        door: str,
        should_stop: Callable[[], bool],
        on_progress: Callable[[str, tuple[GroundedPoint, ...]], None] = lambda stage, points: None,
    ) -> Any:
        """Fill in the response; an exception here would end the executor, so none leaves."""
        with self._idle:
            self._running += 1
        begun = time.monotonic()
        try:
            settings = self._settings()
            result = self._result(request, settings, door, should_stop, on_progress)
            write_result(result, response, settings.waypoint_standoff)
            self._log.add(result, time.monotonic() - begun)
            self._showing.add(result, settings)
        except Exception as error:
            self.get_logger().error(f'a question failed: {error!r}')
            response.status = int(Status.ENGINE_FAILED)
            response.message = f'{type(error).__name__}: {error}'
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
        return response

    def _result(
        self,
        message: Any,
        settings: NodeSettings,
        door: str,
        should_stop: Callable[[], bool],
        on_progress: Callable[[str, tuple[GroundedPoint, ...]], None],
    ) -> Result:
        try:
            request = read_request(message, settings.timeout, door)
            own_image = brings_image(message)
        except Refused as refusal:
            return Result(refusal.status, str(refusal))

        def capture(deadline: Deadline) -> Capture:
            if own_image:
                brought = read_capture(message, settings.frames)
                if door == 'action':
                    drop_pictures(message)
                return brought
            return self._streams.capture(settings.frames, deadline)

        return self._answering.answer(
            request,
            capture,
            AnswerSettings(
                settings.grounding,
                settings.frames.transform_timeout,
                settings.up_frame,
                settings.frames.optical_frame,
                settings.request_memory,
            ),
            should_stop=should_stop,
            on_progress=on_progress,
        )

    def _show(self, result: Result, settings: NodeSettings) -> None:
        """Put an answer on the topics, under the image's own stamp."""
        if result.capture is None or result.status not in (Status.SUCCESS, Status.NO_POINTS):
            return
        header = result_header(result)
        self._markers.publish(markers(result.points, header, settings.marker_diameter))
        self._waypoints.publish(waypoints(result.points, header, settings.waypoint_standoff))
        frame = result.capture.frame
        picture = color_message(
            annotated(frame.color, [point.image for point in result.points]), result_header(result)
        )
        picture.header.frame_id = frame.frame_id
        picture.header.stamp = stamp_message(frame.stamp)
        self._annotated.publish(picture)


def make_executor(node: PointQueryNode) -> Executor:
    """An executor with the threads that the node wants."""
    return MultiThreadedExecutor(num_threads=node.threads, context=node.context)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(PointQueryNode, make_executor, PointQueryNode.close, args)


if __name__ == '__main__':
    sys.exit(main())
