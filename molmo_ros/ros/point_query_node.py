# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node behind `point_query`: the service, the action, and what they show on topics.

python -m molmo_ros.ros.point_query_node --ros-args -r image:=/camera/color/image_raw ...
"""

from __future__ import annotations

if __name__ == '__main__':  # before all that takes time to import
    from molmo_ros.starting import begin, end

    begin()

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from geometry_msgs.msg import PoseArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.action import CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.engine import Engine, Pointer, as_engine, load_engine
from molmo_ros.engine.shipped import RENDERED_ONLY, default_checkpoint
from molmo_ros.errors import shortened
from molmo_ros.grounding.annotate import annotated
from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.grounding.objects import object_cloud, object_mask
from molmo_ros.ros import parameters, qos
from molmo_ros.ros.answering import Answering, AnswerSettings, Refused, Result, Status
from molmo_ros.ros.bond import make_bond
from molmo_ros.ros.conversions import color_message
from molmo_ros.ros.deadline import Deadline
from molmo_ros.ros.detection_messages import detections, vision_messages
from molmo_ros.ros.diagnostics import Diagnostics
from molmo_ros.ros.engine_host import EngineHost, EngineView
from molmo_ros.ros.engine_worker import EngineLoader, EngineNotReady, Progress
from molmo_ros.ros.further_cameras import FurtherCameras, declare_theirs
from molmo_ros.ros.health import QuestionLog
from molmo_ros.ros.later import Later
from molmo_ros.ros.managed import UNCONFIGURED, ManagedNode
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
from molmo_ros.ros.object_messages import cloud_message, mask_message
from molmo_ros.ros.responses import (
    PatientActionServer,
    RCLError,
    Unsent,
    publish,
    respond_patiently,
)
from molmo_ros.ros.spinning import run_node
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.transforms import make_transforms
from molmo_ros.ros.watch_service import WatchService
from molmo_ros.ros.waypoints import waypoints
from molmo_ros.srv import PointQuery

# Executor threads beside those of the questions: /tf, a transition, and all the rest.
_OTHER_THREADS = 3
_CLOSE_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 0.5  # where the process ends with it
# After an answer, for its response to leave: on a busy machine each waits for a thread, and the
# result of a goal may never be asked for.
_LEAVING_S = 0.8
_LOOK_S = 0.005
# Between two lines in the log about how far the same part of loading is.
_PROGRESS_S = 10.0
# A client asks for the result as its goal is accepted, so nobody comes for it much later.
_RESULT_TIMEOUT_S = 10


class PointQueryNode(ManagedNode):
    """Answers `point_query`, as a service and as an action, about the newest frame or one given.

    A managed node: configuring loads the engine, which is asked while the node is active and given
    back when it is cleaned up. It does the first two by itself unless `autostart` is false. In
    every state a question gets a response.

    engine_loader: where the engine comes from, called in a thread of its own with a callback for
    progress; by default the checkpoint that the parameters name. engine: of another node, which
    loads it and gives it back. Other arguments are Node's.
    Spin it with as many threads as `threads` says, and `close` it before it is destroyed.
    """

    _action: PatientActionServer | None = None
    _further: FurtherCameras | None = None

    def __init__(
        self,
        engine_loader: EngineLoader | None = None,
        *,
        engine: EngineView | None = None,
        **node_arguments: Any,
    ) -> None:
        super().__init__('molmo_point_query', **node_arguments)
        declare_theirs(self)
        parameters.declare(self, parameters.POINT_QUERY)
        self._current = read_settings(parameters.values(self, parameters.POINT_QUERY))
        settings = self._current
        self.threads = settings.max_waiting + 2 + _OTHER_THREADS
        self._closing = threading.Event()
        self._idle = threading.Condition()
        self._running = 0
        self._answered_at = -inf
        self._log = QuestionLog()
        self.add_on_set_parameters_callback(self._check)
        transforms = make_transforms(self, settings.transform_cache)
        self._streams = CameraStreams(self, settings.streams, transforms)
        self._streams.start()
        self._engine = engine or EngineHost(
            self._announced(engine_loader or self._load),
            self.get_fully_qualified_name(),
            self._reload_after,
        )
        if isinstance(self._engine, EngineView):
            self._engine.node_name = self.get_fully_qualified_name()
        self._bond: Any = None
        self._answering = Answering(
            self._engine,
            transforms,
            settings.max_waiting,
            self.get_logger().error,
        )
        self._markers = self.create_publisher(MarkerArray, '~/markers', qos.LATCHED)
        self._annotated = self.create_publisher(Image, '~/annotated_image', qos.LATCHED)
        self._waypoints = self.create_publisher(PoseArray, '~/waypoints', qos.LATCHED)
        self._object_mask = self.create_publisher(Image, '~/object_mask', qos.LATCHED)
        self._object_cloud = self.create_publisher(PointCloud2, '~/object_cloud', qos.LATCHED)
        self._vision = vision_messages()
        self._detections: Publisher | None = None
        if self._vision is None:
            self.get_logger().info('without vision_msgs there is no ~/detections')
        else:
            kind = self._vision.Detection3DArray
            self._detections = self.create_publisher(kind, '~/detections', qos.LATCHED)
        self._showing = Later(self._show, self.get_logger().error)
        self._diagnostics = Diagnostics(
            self,
            settings.diagnostics_period,
            self._engine,
            self._streams,
            self._log,
            settings=lambda: self._current.health,
            held=lambda: {'frames': self._streams.held_bytes, 'requests': self._answering.held},
            ignored=parameters.ignored(self, parameters.POINT_QUERY),
            on_dead=self._on_dead,
        )
        self._watches = WatchService(
            self,
            self._engine,
            self._streams,
            lambda request, frame: self._answering.target(
                request, frame, _answer_settings(self._current), self._stopped
            ),
            lambda: self._current,
            self._markers,
            self._waypoints,
            self._show_objects,
        )
        # Several at once, so that those who wait are heard and can be told BUSY or cancelled.
        questions = ReentrantCallbackGroup()
        self._service = self.create_service(
            PointQuery, 'point_query', self._on_request, callback_group=questions
        )
        self._action = PatientActionServer(
            self,
            PointQueryAction,
            'point_query',
            self._on_goal,
            callback_group=questions,
            cancel_callback=lambda goal: CancelResponse.ACCEPT,
            result_timeout=_RESULT_TIMEOUT_S,
        )
        respond_patiently(self)
        self._unsent = Unsent(self._service)
        if hasattr(self, 'add_post_set_parameters_callback'):
            self.add_post_set_parameters_callback(lambda changed: self.look_again())
        if isinstance(host := self._engine, EngineHost):
            self._further = FurtherCameras(
                self,
                settings.cameras,
                # A view for each, for each is active or not by itself.
                lambda **arguments: PointQueryNode(engine=EngineView(host), **arguments),
                parameters.values(self, parameters.POINT_QUERY),
            )
        if settings.autostart:
            self._engine.expect()
            self.manage_itself(self._reload_after)

    @property
    def settings(self) -> NodeSettings:
        """What the parameters mean now."""
        return self._current

    @property
    def waiting(self) -> int:
        """How many questions wait for the engine."""
        return self._engine.waiting

    def close(self, timeout: float = _CLOSE_TIMEOUT_S, leaving: bool = False) -> bool:
        """Cancel the questions, answer whoever waits, stop the engine.

        Spin it until this returns, or the last responses do not leave. False if the engine is in
        the middle of a pass that takes longer than `timeout` seconds.
        leaving: the process ends with it, and what the engine holds need not be given back.
        """
        end = time.monotonic() + timeout
        self._closing.set()
        if self._further is not None:
            self._further.close(timeout, leaving)
        self._watches.close(timeout)
        self._wait_until_idle(max(end - time.monotonic(), 0.0))
        self._wait_until_told()
        self._streams.close()
        self._showing.close(max(end - time.monotonic(), 0.0))
        closed = self._engine.close(max(end - time.monotonic(), 0.0), leaving)
        self.stop_managing(max(end - time.monotonic(), 0.0))
        return closed

    def destroy_node(self) -> None:
        """See Node; rclpy of Kilted also calls it of a node whose parameters were refused."""
        if self._further is not None:
            self._further.destroy()
        if self._action is not None:
            self._streams.close()
            self._action.destroy()
            self._end_bond()
        self.stop_managing(0.0)
        super().destroy_node()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engine."""
        try:
            self._engine.load()
        except EngineNotReady:  # which the loader has told
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer from now on."""
        self._engine.active = True
        if not self._current.autostart:  # then somebody else may watch over it
            self._bond = make_bond(self)
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer no more; what is being answered is canceled."""
        self._engine.active = False
        self._end_bond()
        self._wait_until_idle(_CLOSE_TIMEOUT_S)
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the engine and its memory back."""
        if self._engine.unload(_CLOSE_TIMEOUT_S):
            return TransitionCallbackReturn.SUCCESS
        self.get_logger().error('the model is in the middle of a pass: clean up again in a while')
        return TransitionCallbackReturn.FAILURE

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The end of it all, but for the process."""
        self._engine.active = False
        self._end_bond()
        self._wait_until_idle(_CLOSE_TIMEOUT_S)
        self._engine.close(_CLOSE_TIMEOUT_S)
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to where it can be configured again."""
        self._engine.active = False
        self._end_bond()
        self._engine.unload(_CLOSE_TIMEOUT_S)
        return TransitionCallbackReturn.SUCCESS

    def _end_bond(self) -> None:
        bond, self._bond = self._bond, None
        if bond is not None:
            bond.shutdown()

    def _wait_until_idle(self, timeout: float) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._running == 0, timeout)

    def _wait_until_told(self) -> None:
        """Until the responses have left: what answers a question does not send them."""
        end = self._answered_at + _LEAVING_S
        while (self._unsent or self._untold()) and time.monotonic() < end:
            time.sleep(_LOOK_S)

    def _untold(self) -> bool:
        return self._action is not None and self._action.untold

    def _stopped(self) -> bool:
        """Whether no question is answered any more."""
        return self._closing.is_set() or not self._engine.active

    def _reload_after(self) -> float:
        return float(self.get_parameter('reload_after').value)

    def _check(self, changed: list[Parameter]) -> SetParametersResult:
        """Whether these make sense, together with all the others."""
        values = parameters.values(self, parameters.POINT_QUERY)
        try:
            settings = read_settings(
                parameters.changed_values(self, parameters.POINT_QUERY, changed)
            )
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        late = [
            p.name for p in changed if p.name in parameters.CONFIGURED and p.value != values[p.name]
        ]
        if late and self.state != UNCONFIGURED:
            return SetParametersResult(
                successful=False,
                reason=f'{", ".join(late)} counts when the model is loaded, and the node is '
                f'{self.state}: deactivate it and clean it up first (ros2 lifecycle set)',
            )
        # rclpy sets those that change together one by one: reading them could find half of them.
        self._current = settings
        return SetParametersResult(successful=True)

    def _on_dead(self, why: str) -> None:
        """Whoever started this process starts it again; here nothing helps."""
        if self._current.health.exit_when_dead and not self._closing.is_set():
            self._closing.set()
            self.get_logger().fatal(f'the process ends: {why}')
            os.kill(os.getpid(), signal.SIGTERM)

    def _load(self, on_progress: Progress) -> Engine:
        wanted = self._current.engine
        if not wanted.checkpoint:
            self.get_logger().warning(RENDERED_ONLY)
        loaded = load_engine(
            wanted.checkpoint or default_checkpoint(),
            device=wanted.device,
            dtype=wanted.dtype,
            max_crops=wanted.max_crops,
            quantize=wanted.quantize,
            adapter=wanted.adapter,
            style=wanted.style,
            self_test=wanted.self_test,
            on_progress=on_progress,
        )
        engine = as_engine(loaded)
        for told in (*engine.warnings, *(f'assumed: {what}' for what in engine.assumed)):
            self.get_logger().warning(told)
        return engine

    def _announced(self, load: EngineLoader) -> EngineLoader:
        def announced(on_progress: Progress) -> Pointer:
            begun = time.monotonic()
            try:
                engine = load(self._logged(on_progress))
            except Exception as error:
                if not self._closing.is_set():
                    self.get_logger().error(f'the model could not be loaded: {error}')
                raise
            self.get_logger().info(f'ready after {time.monotonic() - begun:.1f} s')
            return engine

        return announced

    def _logged(self, on_progress: Progress) -> Progress:
        """Progress that is also in the log: each part as it begins, and now and then how far."""
        part, told = '', 0.0

        def logged(what: str, share: float) -> None:
            nonlocal part, told
            if what != part or time.monotonic() > told + _PROGRESS_S:
                part, told = what, time.monotonic()
                self.get_logger().info(f'{what}: {share:.0%}')
            on_progress(what, share)

        return logged

    def _on_request(
        self, request: PointQuery.Request, response: PointQuery.Response
    ) -> PointQuery.Response:
        return self._answer(request, response, 'service', self._stopped)

    def _on_goal(self, goal: ServerGoalHandle) -> PointQueryAction.Result:
        def should_stop() -> bool:
            return goal.is_cancel_requested or self._stopped()

        def on_progress(stage: str, points: tuple[GroundedPoint, ...]) -> None:
            feedback = PointQueryAction.Feedback(stage=stage, points=write_points(points))
            # What DDS cannot send at once, on a busy machine, costs no answer.
            with suppress(RCLError):
                goal.publish_feedback(feedback)

        result = self._answer(
            goal.request, PointQueryAction.Result(), 'action', should_stop, on_progress
        )
        drop_pictures(goal.request)
        with suppress(RCLError):
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
            settings = self._current
            result = self._result(request, settings, door, should_stop, on_progress)
            write_result(result, response, settings.waypoint_standoff)
            spent = time.monotonic() - begun
            self._log.add(result.status.name, result.message, spent, result.stage_times)
            self._showing.add(result, settings)
        except Exception as error:
            self.get_logger().error(f'a question failed: {error!r}')
            response.status = int(Status.ENGINE_FAILED)
            response.message = f'{type(error).__name__}: {shortened(error, 500)}'
            self._log.add(Status.ENGINE_FAILED.name, response.message, time.monotonic() - begun)
        finally:
            with self._idle:
                self._running -= 1
                self._answered_at = time.monotonic()
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
            request = read_request(message, settings.timeout, door, self.get_namespace())
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
            _answer_settings(settings),
            should_stop=should_stop,
            on_progress=on_progress,
        )

    def _show(self, result: Result, settings: NodeSettings) -> None:
        """Put an answer on the topics, under the image's own stamp."""
        if result.capture is None or result.status not in (Status.SUCCESS, Status.NO_POINTS):
            return
        header = result_header(result)
        self._publish(self._markers, markers(result.points, header, settings.marker_diameter))
        self._publish(self._waypoints, waypoints(result.points, header, settings.waypoint_standoff))
        frame = result.capture.frame
        of_image = Header(stamp=stamp_message(frame.stamp), frame_id=frame.frame_id)
        drawn = annotated(frame.color, [point.image for point in result.points])
        self._publish(self._annotated, color_message(drawn, of_image))
        if settings.grounding.grasp is not None:
            seen = result.points, result.capture, result.target
            self._publish(self._object_mask, mask_message(object_mask(*seen), of_image))
            self._publish(self._object_cloud, cloud_message(*object_cloud(*seen), header))
            if self._detections is not None:
                found = detections(result.points, header, self._vision)
                self._publish(self._detections, found)

    def _show_objects(
        self,
        points: Sequence[GroundedPoint],
        capture: Capture,
        target: TargetFrame,
        header: Header,
    ) -> None:
        """Put the things of a standing question on the topics, where somebody looks."""
        if self._object_mask.get_subscription_count():
            frame = capture.frame
            of_image = Header(stamp=stamp_message(frame.stamp), frame_id=frame.frame_id)
            mask = object_mask(points, capture, target)
            self._publish(self._object_mask, mask_message(mask, of_image))
        if self._object_cloud.get_subscription_count():
            cloud = object_cloud(points, capture, target)
            self._publish(self._object_cloud, cloud_message(*cloud, header))
        if self._detections is not None and self._detections.get_subscription_count():
            self._publish(self._detections, detections(points, header, self._vision))

    def _publish(self, publisher: Publisher, message: Any) -> None:
        publish(publisher, message, self.get_logger())


def _answer_settings(settings: NodeSettings) -> AnswerSettings:
    return AnswerSettings(
        settings.grounding,
        settings.frames.transform_timeout,
        settings.up_frame,
        settings.frames.optical_frame,
        settings.request_memory,
    )


def make_executor(node: PointQueryNode) -> Executor:
    """An executor with the threads that the node wants."""
    return MultiThreadedExecutor(num_threads=node.threads, context=node.context)


def _leave(node: PointQueryNode) -> bool:
    return node.close(_END_TIMEOUT_S, leaving=True)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(PointQueryNode, make_executor, _leave, args)


if __name__ == '__main__':
    end(main())
