# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera's topics: subscribed to, kept undecoded, and made a frame of when somebody asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import ClockType, JumpThreshold, ROSClock
from rclpy.clock import TimeJump as ClockJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from molmo_ros.cameras.calibrations import NoCalibration, best_calibration
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.image_file import picture_notes
from molmo_ros.grounding.optical import body_warning, taken_as_optical, why_body
from molmo_ros.ros import conversions, qos
from molmo_ros.ros.alignment import (
    registered_twice,
    same_calibration,
    same_view,
    taken_as_aligned,
    unaligned,
)
from molmo_ros.ros.answering import Refused, Status
from molmo_ros.ros.apart import ApartGroup, ApartSpinner
from molmo_ros.ros.bridge import distribution_bridge
from molmo_ros.ros.deadline import ENDLESS, Deadline
from molmo_ros.ros.node_settings import FrameSettings, StreamSettings
from molmo_ros.ros.raw_messages import RawMessage, UnreadableMessage, read_different
from molmo_ros.ros.sync import (
    CALIBRATIONS,
    CAMERA_INFO,
    DEPTH,
    DEPTH_CAMERA_INFO,
    IMAGE,
    STREAMS,
    FrameStore,
    Match,
    NoFrame,
    StreamState,
    stamp_ns,
)
from molmo_ros.ros.transforms import NoTransform, Transforms, wait_for_transform
from molmo_ros.spatial import CameraModel, DepthRemarks, LiftStatus, Registration, depth_remarks
from molmo_ros.spatial.frames import frame_of
from molmo_ros.spatial.time_jump import LEFT_OVER, TimeJump

# Metres; a depth camera farther from the color camera is no part of the same device.
_ONE_DEVICE_M = 0.25
# Seconds of wall time that a message may be on its way at most.
_LATE_S = 10.0

_LookUp = Callable[[str, str, int], NDArray[np.float64]]


class CameraStreams:
    """Subscriptions to `image`, `depth` and their camera_infos, and the newest frame they make.

    settings: of the subscriptions, read once.
    transforms: where the cameras stand to each other, if depth is of a camera of its own.
    """

    def __init__(self, node: Node, settings: StreamSettings, transforms: Transforms) -> None:
        self._node = node
        self._transforms = transforms
        self._store = FrameStore(settings.keep, settings.memory, on_jump=self._forget_transforms)
        self._image_bits = 0
        self._counting = threading.Lock()
        # Looked for now, so that no question has to wait for it.
        distribution_bridge()
        kinds: dict[str, tuple[type, str]] = {
            IMAGE: _kind(node, IMAGE, settings.image_transport),
            DEPTH: _kind(node, DEPTH, settings.depth_transport),
            CAMERA_INFO: (CameraInfo, CAMERA_INFO),
            DEPTH_CAMERA_INFO: (CameraInfo, DEPTH_CAMERA_INFO),
        }
        self._profiles = {
            IMAGE: qos.PROFILES[settings.image_qos],
            DEPTH: qos.PROFILES[settings.depth_qos],
            CAMERA_INFO: qos.PROFILES[settings.camera_info_qos],
            DEPTH_CAMERA_INFO: qos.PROFILES[settings.camera_info_qos],
        }
        self._group = ApartGroup()
        self._subscriptions = {
            name: node.create_subscription(
                kind,
                topic,
                partial(self._take, name, kind),
                self._profiles[name],
                callback_group=self._group,
                raw=True,
            )
            for name, (kind, topic) in kinds.items()
        }
        self._spinner: ApartSpinner | None = None
        self._latched: dict[str, Subscription] = {}
        self._latching = threading.Lock()
        # Several questions are about one frame, and it is read for the first of them.
        self._messages = {IMAGE: _Last(), DEPTH: _Last()}
        self._pixels = {IMAGE: _Last(), DEPTH: _Last()}
        self._picture = _Last()
        self._jump_handle = None
        self._clock = node.get_clock()
        self._ended = 0  # the latest time from which it has jumped back
        if self._clock.clock_type == ClockType.ROS_TIME:
            threshold = JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            )
            self._jump_handle = self._clock.create_jump_callback(
                threshold, post_callback=self._forget
            )

    def start(self) -> None:
        """Take messages from now on, in a thread of its own, whatever the node's executor does."""
        self._spinner = ApartSpinner(self._node, self._group)

    def close(self) -> None:
        """Take no more messages; before the node is destroyed."""
        if self._spinner is not None:
            self._spinner.close()

    def _take(self, stream: str, kind: type, data: bytes) -> None:
        self._store.add(stream, RawMessage.of(kind, data))

    def _take_new(self, stream: str, data: bytes) -> None:
        self._store.add_new(stream, RawMessage.of(CameraInfo, data))

    def _forget(self, told: ClockJump) -> None:
        """A recording starts again: what was kept lies in its future."""
        delta, jump = told.delta.nanoseconds, None
        if delta < 0:  # else use_sim_time was set, and there is no time yet
            # What is left over may be of before an earlier jump.
            self._ended = max(self._ended, self._now() - delta)
            jump = TimeJump(self._now, self._ended)
        self._store.clear(jump)
        self._transforms.clear(jump)

    def _forget_transforms(self) -> None:
        """The images show that time has gone back; they tell only roughly what time it is."""
        until = time.monotonic() + _LATE_S
        self._transforms.clear(TimeJump(self._store.present_ns, until=until))

    def _now(self) -> int:
        return int(self._clock.now().nanoseconds)

    def topic(self, stream: str) -> str:
        """Name of a stream's topic after remapping."""
        return self._subscriptions[stream].topic_name

    def state(self, stream: str) -> StreamState:
        """How many messages came, when, and how often."""
        return self._store.state(stream)

    @property
    def jumps(self) -> int:
        """How often time has jumped, so that images of any stamp may come."""
        return self._store.jumps

    @property
    def held_bytes(self) -> int:
        """Bytes of the messages that are kept."""
        return self._store.size

    def clock_problem(self) -> str:
        """Why there is no time yet; '' where there is."""
        clock = self._node.get_clock()
        if not isinstance(clock, ROSClock) or not clock.ros_time_is_active:
            return ''
        if clock.now().nanoseconds:
            return ''
        nobody = '' if self._node.count_publishers('/clock') else ', and nobody publishes it'
        return (
            f'use_sim_time is set but /clock has brought no time yet{nobody}: play the recording '
            'with --clock, start the simulator, or unset use_sim_time'
        )

    def listen_back(self) -> None:
        """Hear calibrations that were published once, before this node came.

        Only where such a publisher is: all others would warn of a subscription that does not fit.
        """
        with self._latching:
            for stream in CALIBRATIONS:
                if stream in self._latched or self.state(stream).received:
                    continue
                publishers = self._node.get_publishers_info_by_topic(self.topic(stream))
                if any(map(qos.is_latched, publishers)):
                    self._latched[stream] = self._node.create_subscription(
                        CameraInfo,
                        stream,
                        partial(self._take_new, stream),
                        qos.LATCHED,
                        callback_group=self._group,
                        raw=True,
                    )
                    if self._spinner is not None:
                        self._spinner.look_again()

    def hint(self, stream: str) -> str:
        """Why a stream might bring nothing, from what the ROS graph knows; '' if it should."""
        topic = self.topic(stream)
        if not self._node.count_publishers(topic):
            return f'nobody publishes {topic}: start the camera, or remap {stream} to its topic'
        mismatches = qos.mismatches(self._node, topic, self._profiles[stream])
        if mismatches:
            return (
                f'its quality of service does not fit: {"; ".join(mismatches)}; '
                f'set qos.{stream} to fit'
            )
        if self._store.only_left_over(stream):
            return f'what comes is not used: {LEFT_OVER}'
        return ''

    def capture(
        self,
        settings: FrameSettings,
        deadline: Deadline = ENDLESS,
    ) -> Capture:
        """The newest frame, decoded; the deadline ends every wait for it. Raises Refused."""
        self.listen_back()
        try:
            match = self._store.newest(
                self._now,
                slop=settings.sync_slop,
                max_age=settings.max_frame_age,
                expected=[s for s in STREAMS if self._node.count_publishers(self.topic(s))],
                wait=settings.frame_wait,
                deadline=deadline,
            )
        except NoFrame as error:
            if deadline.should_stop():
                raise Refused(Status.CANCELED, 'canceled') from error
            reason = f'no {error.stream} from {self.topic(error.stream)}: {error}'
            reason = '; '.join(filter(None, [self.clock_problem(), reason]))
            raise Refused(Status.NO_FRAME, self._with_hint(reason, error.stream)) from error

        def look_up(target: str, source: str, stamp: int) -> NDArray[np.float64]:
            timeout = deadline.within(settings.transform_timeout)
            return wait_for_transform(
                self._transforms, target, source, stamp, timeout, deadline.should_stop
            )

        return self._decoded(self._read(match), settings, look_up)

    def _read(self, match: Match) -> Match:
        """The same with whole messages. Raises Refused; what else cannot be read is missing."""
        read: dict[str, Any] = {}
        missing = dict(match.missing)
        try:
            image = self._messages[IMAGE].of(match.image, None, match.image.read)
        except UnreadableMessage as error:
            raise Refused(Status.NO_FRAME, f'{self.topic(IMAGE)}: {error}') from error
        try:
            if match.depth is not None:
                read[DEPTH] = self._messages[DEPTH].of(match.depth, None, match.depth.read)
        except UnreadableMessage as error:
            read[DEPTH], missing[DEPTH] = None, str(error)
        for stream in CALIBRATIONS:
            try:
                read[stream] = read_different(getattr(match, stream))
            except UnreadableMessage as error:
                read[stream], missing[stream] = (), str(error)
        return replace(match, image=image, missing=missing, **read)

    def _with_hint(self, reason: str, stream: str) -> str:
        hint = self.hint(stream)
        return f'{reason}; {hint}' if hint else reason

    def _decoded(self, match: Match, settings: FrameSettings, look_up: _LookUp) -> Capture:
        color, notes = self._color(match, settings)
        missing = {}
        frame_id = settings.optical_frame or frame_of(match.image)
        said = _Said()
        depth = registration = camera = None
        try:
            depth, remarks = self._depth(match, settings)
            said.warnings += filter(None, [remarks.warning])
            said.assumed += remarks.assumed
            registration = self._registration(match, color, depth, settings, look_up, said)
        except _Unusable as error:
            depth, missing[LiftStatus.NO_DEPTH] = None, str(error)
            said.warnings.clear()
            said.assumed.clear()
        try:
            camera = self._camera(CAMERA_INFO, match, color, settings.rectified, said)
        except _Unusable as error:
            missing[LiftStatus.NO_CAMERA_INFO] = str(error)
        return Capture(
            Frame(color, depth, camera, stamp_ns(match.image), frame_id),
            registration,
            missing,
            '; '.join(said.warnings),
            tuple(filter(None, said.assumed)),
            notes,
        )

    def _color(
        self, match: Match, settings: FrameSettings
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """The image, and what a user should know of it. Raises Refused."""
        message = match.image
        try:
            pixels = self._pixels[IMAGE].of(
                message, None, lambda: conversions.color_pixels(message)
            )
        except conversions.ConversionError as error:
            raise Refused(Status.NO_FRAME, f'{self.topic(IMAGE)}: {error}') from error
        # One scale for all images of a camera: its darkest is not shown as bright as the others.
        needed = pixels.bits
        with self._counting:
            self._image_bits = max(self._image_bits, needed)
            bits = settings.image_bits or self._image_bits

        def picture() -> tuple[NDArray[np.uint8], tuple[str, ...]]:
            color = pixels.rgb(bits)
            return color, picture_notes(color, pixels.orientation)

        shown: tuple[NDArray[np.uint8], tuple[str, ...]] = self._picture.of(pixels, bits, picture)
        return shown

    def _depth(
        self, match: Match, settings: FrameSettings
    ) -> tuple[NDArray[np.float32], DepthRemarks]:
        if match.depth is None:
            raise self._unusable(DEPTH, match.missing[DEPTH])
        message, unit = match.depth, settings.depth_unit

        def read() -> tuple[NDArray[np.float32], DepthRemarks]:
            metres = conversions.depth_array(message, unit)
            return metres, depth_remarks(metres, conversions.depth_encoding(message), unit)

        try:
            depth: tuple[NDArray[np.float32], DepthRemarks] = self._pixels[DEPTH].of(
                message, unit, read
            )
            return depth
        except conversions.ConversionError as error:
            raise self._unusable(DEPTH, str(error)) from error

    def _camera(
        self,
        stream: str,
        match: Match,
        pixels: NDArray[Any],
        rectified: bool,
        said: _Said,
    ) -> CameraModel:
        """The model of the color or the depth camera, and what it takes for granted."""
        if stream in match.missing:
            raise self._unusable(stream, match.missing[stream])
        image = match.image if stream == CAMERA_INFO else match.depth
        candidates = getattr(match, stream)
        try:
            calibration = best_calibration(candidates, image, pixels, rectified, self.topic(stream))
        except NoCalibration as error:
            raise _Unusable(str(error)) from error
        said.assumed += calibration.assumed
        return calibration.camera

    def _registration(
        self,
        match: Match,
        color: NDArray[np.uint8],
        depth: NDArray[np.float32],
        settings: FrameSettings,
        look_up: _LookUp,
        said: _Said,
    ) -> Registration | None:
        """Where the depth camera stands to the color camera, if it is another."""
        assert match.depth is not None
        aligned = settings.depth_aligned
        optical, depth_frame = settings.optical_frame, frame_of(match.depth)
        same = same_view(match.image, match.depth) or depth_frame == optical
        if aligned or (aligned is None and same):
            return None
        if not match.depth_camera_info:
            if aligned is None and settings.depth_pose is None and color.shape[:2] == depth.shape:
                said.assumed.append(self._taken_as_aligned(match))
                return None
            raise self._unusable(DEPTH, self._unregistered(match))
        camera = self._camera(DEPTH_CAMERA_INFO, match, depth, settings.rectified, said)
        if settings.depth_pose is not None:
            return Registration(camera, settings.depth_pose)
        try:
            color_frame = optical or frame_of(match.image)
            T_color_depth = look_up(color_frame, depth_frame, stamp_ns(match.depth))
        except NoTransform as error:
            raise _Unusable(f'{self.topic(DEPTH)} cannot be registered: {error}') from error
        self._say_of_frames(match, optical, said)
        if aligned is None and same_calibration(match):
            said.assumed.append(registered_twice(match))
        return Registration(camera, T_color_depth)

    def _taken_as_aligned(self, match: Match) -> str:
        """That depth of another frame and of the image's size is taken as aligned to the image.

        Raises _Unusable where something speaks against it.
        """
        coming = self._node.count_publishers(self.topic(DEPTH_CAMERA_INFO))
        if coming or self._own_calibration() or self._far_apart(match):
            raise self._unusable(DEPTH, self._unregistered(match))
        return taken_as_aligned(match)

    def _far_apart(self, match: Match) -> bool:
        """Whether /tf has depth's frame elsewhere than on the device of the image's."""
        assert match.depth is not None
        try:
            T_color_depth = self._transforms.look_up(
                frame_of(match.image), frame_of(match.depth), 0
            )
        except NoTransform:
            return False
        return bool(np.linalg.norm(T_color_depth[:3, 3]) > _ONE_DEVICE_M)

    def _own_calibration(self) -> str:
        """A topic with the calibration of depth, by its usual name, that nobody listens to here."""
        topic = self.topic(DEPTH).removesuffix('/compressedDepth')
        beside = f'{topic.rpartition("/")[0]}/camera_info'
        known = self.topic(CAMERA_INFO), self.topic(DEPTH_CAMERA_INFO)
        return beside if beside not in known and self._node.count_publishers(beside) else ''

    def _unregistered(self, match: Match) -> str:
        """What to do about depth of another frame."""
        beside = self._own_calibration()
        remap = f' (remap it to {beside})' if beside else ''
        topic = self.topic(DEPTH_CAMERA_INFO)
        return f'{unaligned(match)}; or have its camera_info on {topic}{remap}'

    def _say_of_frames(self, match: Match, optical: str, said: _Said) -> None:
        """What registration by /tf takes for granted of the frames of depth and image."""
        depth_frame = frame_of(match.depth)
        body = why_body(depth_frame, self._transforms)
        if body:
            settled_by = 'set depth_pose, or its frame_id'
            said.warnings.append(body_warning(depth_frame, 'depth', body, settled_by))
        else:
            said.assumed.append(taken_as_optical(depth_frame, 'depth', 'depth_pose'))
        if not optical:
            frame = frame_of(match.image)
            said.assumed.append(taken_as_optical(frame, 'image', 'optical_frame'))

    def _unusable(self, stream: str, reason: str) -> _Unusable:
        return _Unusable(self._with_hint(f'{self.topic(stream)}: {reason}', stream))


class _Last:
    """What was made of the last message, for whoever asks about that one again."""

    def __init__(self) -> None:
        self._made: tuple[Any, Any, Any] = (None, None, None)

    def of(self, message: Any, how: Any, make: Callable[[], Any]) -> Any:
        """What `make` makes of this very message; `how`: what that depends on besides."""
        last, last_how, made = self._made
        if last is not message or last_how != how:
            made = make()
            self._made = message, how, made
        return made


@dataclass
class _Said:
    """What there is to say of a frame: what was taken for granted, and what is implausible."""

    assumed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Unusable(Exception):
    """A stream brings nothing that 3D could be had from; the text says why."""


def _kind(node: Node, stream: str, transport: str) -> tuple[type, str]:
    """Type and name of an image's topic.

    A transport's topic follows that of the image, as image_transport has it: where `image` is
    remapped, `image/compressed` is below the new name, unless it is remapped itself.
    """
    if transport == 'raw':
        return Image, stream
    own = f'{stream}/{transport}'
    if node.resolve_topic_name(own) != node.resolve_topic_name(own, only_expand=True):
        return CompressedImage, own
    base = node.resolve_topic_name(stream)
    # Some name the transport's topic itself.
    return CompressedImage, f'{base.removesuffix(f"/{transport}")}/{transport}'
