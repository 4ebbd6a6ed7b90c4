# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a ROS 2 bag: color, depth, calibration and transforms as they were recorded.

Read by rosbags, which is plain Python; messages are decoded by what the node decodes them with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.bag_topics import BagTopic, Topics, choose_topics, is_camera_topic
from molmo_ros.cameras.image_messages import (
    ConversionError,
    camera_model,
    color_array,
    depth_array,
    is_empty,
)
from molmo_ros.cameras.source import Source, first_line
from molmo_ros.errors import UserError
from molmo_ros.extras import require
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.spatial import CameraModel, LiftStatus, Registration, depth_warning
from molmo_ros.spatial.transform_tree import NoTransform, TransformTree

_NS = 1_000_000_000
# What belongs to an image was recorded this near to it, in seconds; transforms take longer.
_NEAR_S, _TRANSFORMS_S = 1.0, 10.0
# How far one looks for a frame that has everything: images in all, and seconds from a given time.
_MOST_IMAGES, _LATE_S = 300, 0.5


@dataclass(frozen=True)
class BagSettings:
    """How a bag is read.

    topics: of the streams that are not to be chosen (see `bag_topics`). sync_slop: seconds by
    which the stamps of an image and its depth may differ. rectified: the image is, so P holds;
    None: as the topic's name says.
    """

    topics: Mapping[str, str] = field(default_factory=dict)
    sync_slop: float = 0.02
    rectified: bool | None = None


@dataclass(frozen=True, eq=False)
class _Stamped:
    """A message, when it was taken and when it was recorded, in nanoseconds."""

    message: Any
    recorded: int

    @property
    def stamp(self) -> int:
        """The header's; where that has none, when it was recorded."""
        stamp = self.message.header.stamp
        return int(stamp.sec) * _NS + int(stamp.nanosec) or self.recorded

    @property
    def frame_id(self) -> str:
        return str(self.message.header.frame_id).lstrip('/')


class Bag(Source):
    """A recording: a bag's folder, or its one file, .mcap or .db3. Raises UserError."""

    def __init__(self, path: Path, settings: BagSettings | None = None) -> None:
        require('rosbags', f'{path}, a ROS bag,')
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore

        self._path = path
        self._settings = settings or BagSettings()
        with self._reading():
            # Bags that were recorded before Iron do not bring the definitions of their messages.
            store = get_typestore(Stores.ROS2_JAZZY)
            self._reader = AnyReader([path], default_typestore=store)
            self._reader.open()
        try:
            self._topics = self._chosen()
        except UserError:
            self.close()
            raise
        self._taken = 0

    @property
    def topics(self) -> Topics:
        """What is read."""
        return self._topics

    def close(self) -> None:
        """See Source."""
        self._reader.close()

    def capture(self, at: float | None = None) -> Capture:
        """See Source. The image is the first at or after that time which has all that belongs to
        it, or else the first."""
        with self._reading():
            image, depth = self._frame(at)
            self._taken = image.recorded
            seconds = (image.recorded - self._reader.start_time) / _NS
            self.about = f'{self._path}, {seconds:.3f} s from its beginning: {self._topics}'
            return self._decoded(image, depth)

    def target(self, frame: str, capture: Capture) -> TargetFrame:
        """See Source."""
        if frame in ('', capture.frame.frame_id):
            return OPTICAL
        with self._reading():
            try:
                T = self._tree().look_up(frame, capture.frame.frame_id, capture.frame.stamp)
            except NoTransform as error:
                return TargetFrame(None, str(error))
        return TargetFrame(T)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """A damaged recording fails in many ways; all are told alike."""
        try:
            yield
        except UserError as error:
            raise UserError(f'{self._path}: {error}') from error
        except Exception as error:
            raise UserError(
                f'{self._path} is no ROS bag that can be read, or it is damaged: '
                f'{first_line(error)}'
            ) from error

    def _chosen(self) -> Topics:
        topics = []
        with self._reading():
            for connection in self._reader.connections:
                if is_camera_topic(connection.msgtype):
                    first = next(self._messages(connection.topic), None)
                    if first is not None:
                        kind = connection.msgtype
                        topics.append(BagTopic(connection.topic, kind, first.message))
            return choose_topics(topics, self._settings.topics)

    def _messages(
        self, topic: str | None, start: int | None = None, stop: int | None = None
    ) -> Iterator[_Stamped]:
        """Those of a topic that were recorded in a span of time, in nanoseconds."""
        connections = [c for c in self._reader.connections if c.topic == topic]
        if not connections:
            return
        for connection, recorded, data in self._reader.messages(connections, start, stop):
            yield _Stamped(self._reader.deserialize(data, connection.msgtype), recorded)

    def _frame(self, at: float | None) -> tuple[_Stamped, _Stamped | None]:
        """An image and the depth nearest to it. Raises UserError."""
        length = (self._reader.end_time - self._reader.start_time) / _NS
        if at is not None and not 0 <= at <= length:
            raise UserError(f'{at:g} s is not within the {length:.3f} s that it lasts')
        start = self._reader.start_time + int((at or 0) * _NS)
        stop = None if at is None else start + int(_LATE_S * _NS)
        first = None
        for image in islice(self._messages(self._topics.image, start, stop), _MOST_IMAGES):
            depth = self._nearest(self._topics.depth, image)
            if self._topics.depth is None or self._together(image, depth):
                return image, depth
            first = first or (image, depth)
        if first is None:
            raise UserError(f'no image on {self._topics.image} at {at or 0:g} s')
        return first

    def _nearest(self, topic: str | None, image: _Stamped) -> _Stamped | None:
        """The message of a topic that was taken nearest to an image, if one was recorded near."""
        near = int(_NEAR_S * _NS)
        around = self._messages(topic, image.recorded - near, image.recorded + near)
        return min(around, key=lambda message: abs(message.stamp - image.stamp), default=None)

    def _together(self, image: _Stamped, depth: _Stamped | None) -> bool:
        slop = int(self._settings.sync_slop * _NS)
        return depth is not None and abs(depth.stamp - image.stamp) <= slop

    def _decoded(self, image: _Stamped, depth: _Stamped | None) -> Capture:
        topics = self._topics
        try:
            color = np.array(color_array(image.message))  # of one's own: the bag's is read-only
        except ConversionError as error:
            raise UserError(f'{topics.image}: {error}') from error
        missing, assumed = {}, list(topics.assumed)
        metres = registration = camera = None
        try:
            metres = self._metres(image, depth)
            registration = self._registration(image, depth, color, metres, assumed)
        except _Unusable as error:
            metres, missing[LiftStatus.NO_DEPTH] = None, str(error)
        try:
            camera = self._camera('camera_info', topics.image, image, color, assumed)
        except _Unusable as error:
            missing[LiftStatus.NO_CAMERA_INFO] = str(error)
        return Capture(
            Frame(color, metres, camera, image.stamp, image.frame_id),
            registration,
            missing,
            (depth_warning(metres) or '') if metres is not None else '',
            tuple(assumed),
        )

    def _metres(self, image: _Stamped, depth: _Stamped | None) -> NDArray[np.float32]:
        topic = self._topics.depth
        if topic is None:
            raise _Unusable('the bag holds no depth image; --topics depth=... names one')
        if depth is None:
            raise _Unusable(f'{topic}: nothing was recorded within {_NEAR_S:g} s of the image')
        if not self._together(image, depth):
            offset = (depth.stamp - image.stamp) / _NS
            raise _Unusable(
                f"{topic}: the nearest depth is {offset:+.3f} s off the image's stamp, more than "
                f'--sync-slop ({self._settings.sync_slop:g} s)'
            )
        try:
            return depth_array(depth.message)
        except ConversionError as error:
            raise _Unusable(f'{topic}: {error}') from error

    def _camera(
        self,
        stream: str,
        image_topic: str,
        image: _Stamped,
        pixels: NDArray[Any],
        assumed: list[str],
    ) -> CameraModel:
        """The calibration that was recorded nearest to an image, or at all."""
        topic = getattr(self._topics, stream)
        if topic is None:
            raise _Unusable(
                f'the bag holds no camera_info of {image_topic}: --topics {stream}=... names one'
            )
        found = self._nearest(topic, image) or next(self._messages(topic))
        offset = (found.stamp - image.stamp) / _NS
        if abs(offset) > _NEAR_S:
            assumed.append(
                f"{topic} is stamped {offset:+.1f} s off the image's stamp: its calibration is "
                'taken not to have changed'
            )
        if is_empty(found.message):
            raise _Unusable(f'{topic}: it is all zeros: the camera is not calibrated')
        rectified = self._settings.rectified
        if rectified is None:
            rectified = image_topic.rpartition('/image_')[2].startswith('rect')
            if rectified and np.any(found.message.d):
                assumed.append(f'{image_topic} is taken as rectified, as its name says')
        height, width = pixels.shape[:2]
        try:
            return camera_model(found.message, (width, height), rectified=rectified)
        except ValueError as error:
            raise _Unusable(f'{topic}: {error}') from error

    def _registration(
        self,
        image: _Stamped,
        depth: _Stamped | None,
        color: NDArray[np.uint8],
        metres: NDArray[np.float32],
        assumed: list[str],
    ) -> Registration | None:
        """Where the depth camera stands to the color camera, if it is another."""
        topic = self._topics.depth
        if depth is None or topic is None or image.frame_id == depth.frame_id:
            return None
        if '' in (image.frame_id, depth.frame_id):
            assumed.append(f'{topic} is taken as aligned to the image: one of them names no frame')
            return None
        if self._topics.depth_camera_info is None and metres.shape == color.shape[:2]:
            assumed.append(
                f"{topic} of frame '{depth.frame_id}' is taken as aligned to the image of "
                f"'{image.frame_id}', since it has its size and no calibration of its own: "
                '--topics depth_camera_info=... names one'
            )
            return None
        camera = self._camera('depth_camera_info', topic, depth, metres, assumed)
        try:
            T_color_depth = self._tree().look_up(image.frame_id, depth.frame_id, depth.stamp)
        except NoTransform as error:
            raise _Unusable(f'{topic} cannot be registered: {error}') from error
        return Registration(camera, T_color_depth)

    def _tree(self) -> TransformTree:
        """The transforms that were recorded around the last image, and all that hold always."""
        require('pytransform3d', 'the transforms of a bag')
        tree = TransformTree(4 * _TRANSFORMS_S)
        around = int(_TRANSFORMS_S * _NS)
        for connection in self._reader.connections:
            if connection.msgtype != 'tf2_msgs/msg/TFMessage':
                continue
            static = connection.topic.endswith('tf_static')
            span = (None, None) if static else (self._taken - around, self._taken + around)
            for _, _, data in self._reader.messages([connection], *span):
                message: Any = self._reader.deserialize(data, connection.msgtype)
                for stamped in message.transforms:
                    stamp = stamped.header.stamp
                    tree.add(
                        stamped.header.frame_id,
                        stamped.child_frame_id,
                        int(stamp.sec) * _NS + int(stamp.nanosec),
                        stamped.transform,
                        static=static,
                    )
        return tree


class _Unusable(Exception):
    """A stream brings nothing that 3D could be had from; the text says why."""
