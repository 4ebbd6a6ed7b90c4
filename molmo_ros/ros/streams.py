# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera's topics: subscribed to, kept undecoded, and made a frame of when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from molmo_ros.camera.frame import Frame
from molmo_ros.ros import conversions, qos
from molmo_ros.ros.answering import Capture, Refused, Status
from molmo_ros.ros.frames import (
    CAMERA_INFO,
    DEPTH,
    IMAGE,
    STREAMS,
    FrameStore,
    Match,
    NoFrame,
    StreamState,
    stamp_ns,
)
from molmo_ros.ros.messages import read_camera, unregistered
from molmo_ros.spatial import LiftStatus


class CameraStreams:
    """Subscriptions to `image`, `depth` and `camera_info`, and the newest frame they make.

    settings: the node's parameters by name; those of the subscriptions are read here, once.
    """

    def __init__(self, node: Node, settings: Mapping[str, Any]) -> None:
        self._node = node
        self._store = FrameStore()
        compressed = settings['image_transport'] == 'compressed'
        kinds: dict[str, tuple[type, str]] = {
            IMAGE: (CompressedImage, 'image/compressed') if compressed else (Image, 'image'),
            DEPTH: (Image, 'depth'),
            CAMERA_INFO: (CameraInfo, 'camera_info'),
        }
        self._profiles = {name: qos.PROFILES[settings[f'qos.{name}']] for name in STREAMS}
        # Apart from the questions' group: images go on arriving while one is being answered.
        group = MutuallyExclusiveCallbackGroup()
        self._subscriptions = {
            name: node.create_subscription(
                kind,
                topic,
                partial(self._store.add, name),
                self._profiles[name],
                callback_group=group,
            )
            for name, (kind, topic) in kinds.items()
        }
        self._jump_handle = None
        if node.get_clock().clock_type == ClockType.ROS_TIME:
            threshold = JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            )
            self._jump_handle = node.get_clock().create_jump_callback(
                threshold, post_callback=lambda jump: self._store.clear()
            )

    def topic(self, stream: str) -> str:
        """Name of a stream's topic after remapping."""
        return self._subscriptions[stream].topic_name

    def state(self, stream: str) -> StreamState:
        """How many messages came, when, and how often."""
        return self._store.state(stream)

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
        return ''

    def capture(self, settings: Mapping[str, Any]) -> Capture:
        """The newest frame, decoded. Raises Refused."""
        try:
            match = self._store.newest(
                lambda: self._node.get_clock().now().nanoseconds,
                slop=settings['sync_slop'],
                max_age=settings['max_frame_age'],
                expected=[s for s in STREAMS if self._node.count_publishers(self.topic(s))],
                wait=settings['frame_wait'],
            )
        except NoFrame as error:
            reason = f'no {error.stream} from {self.topic(error.stream)}: {error}'
            raise Refused(Status.NO_FRAME, self._with_hint(reason, error.stream)) from error
        return self._decoded(match, settings['rectified'])

    def _with_hint(self, reason: str, stream: str) -> str:
        hint = self.hint(stream)
        return f'{reason}; {hint}' if hint else reason

    def _decoded(self, match: Match, rectified: bool) -> Capture:
        try:
            color = conversions.color_array(match.image)
        except conversions.ConversionError as error:
            raise Refused(Status.NO_FRAME, f'{self.topic(IMAGE)}: {error}') from error
        depth, why_no_depth = self._depth(match, color)
        if match.camera_info is None:
            reason = f'{self.topic(CAMERA_INFO)}: {match.missing[CAMERA_INFO]}'
            camera, why_no_camera = None, self._with_hint(reason, CAMERA_INFO)
        else:
            camera, why_no_camera = read_camera(match.camera_info, color, rectified)
        header = match.image.header
        return Capture(
            Frame(color, depth, camera, stamp_ns(match.image), header.frame_id),
            {LiftStatus.NO_DEPTH: why_no_depth, LiftStatus.NO_CAMERA_INFO: why_no_camera},
        )

    def _depth(
        self, match: Match, color: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32] | None, str]:
        """Metres registered to the color image, or None and why."""
        topic = self.topic(DEPTH)
        if match.depth is None:
            return None, self._with_hint(f'{topic}: {match.missing[DEPTH]}', DEPTH)
        try:
            depth = conversions.depth_array(match.depth)
        except conversions.ConversionError as error:
            return None, f'{topic}: {error}'
        frames = match.depth.header.frame_id, match.image.header.frame_id
        if all(frames) and frames[0] != frames[1]:
            return None, (
                f"{topic}: it is in frame '{frames[0]}' and the image in '{frames[1]}': "
                'use depth that is aligned to the color image'
            )
        if depth.shape != color.shape[:2]:
            return None, f'{topic}: {unregistered(depth, color)}'
        return depth, ''
