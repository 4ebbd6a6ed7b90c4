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
from molmo_ros.cameras.calibrations import NoCalibration, best_calibration
from molmo_ros.cameras.image_messages import ConversionError, color_array, depth_array
from molmo_ros.cameras.message_fields import stamp_ns
from molmo_ros.cameras.source import Source, first_line
from molmo_ros.errors import UserError
from molmo_ros.extras import require
from molmo_ros.grounding.assumptions import (
    ALIGNED_BY_SIZE,
    ALIGNED_WITHOUT_FRAME,
    RECTIFIED_BY_NAME,
)
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.optical import body_warning, taken_as_optical, why_body
from molmo_ros.spatial import CameraModel, LiftStatus, Registration, depth_warning
from molmo_ros.spatial.frames import frame_name, frame_of
from molmo_ros.spatial.transform_tree import NoTransform, TransformTree, poses_in

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
    None: as the topic's name says. optical_frame: of the image, where its header names another.
    """

    topics: Mapping[str, str] = field(default_factory=dict)
    sync_slop: float = 0.02
    rectified: bool | None = None
    optical_frame: str = ''


@dataclass(frozen=True, eq=False)
class _Stamped:
    """A message, when it was taken and when it was recorded, in nanoseconds."""

    message: Any
    recorded: int

    @property
    def stamp(self) -> int:
        """The header's; where that has none, when it was recorded."""
        return stamp_ns(self.message) or self.recorded

    @property
    def frame_id(self) -> str:
        return frame_of(self.message)


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
        self.lasts = (self._reader.end_time - self._reader.start_time) / _NS

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
        source, target = capture.frame.frame_id, frame_name(frame)
        if target in ('', source):
            return OPTICAL
        with self._reading():
            tree = self._tree()
            notes, assumed = self._said_of(source, 'image', '--optical-frame', tree)
            try:
                T = tree.look_up(target, source, capture.frame.stamp)
            except NoTransform as error:
                return TargetFrame(None, str(error), notes=notes)
        return TargetFrame(T, notes=notes, assumed=assumed)

    def frames(self, frame: str, capture: Capture) -> Mapping[str, NDArray[np.float64]]:
        """See Source."""
        with self._reading():
            target = frame_name(frame) or capture.frame.frame_id
            return poses_in(self._tree(), target, capture.frame.stamp)

    def _said_of(
        self, frame: str, what: str, settled_by: str, tree: TransformTree
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Warnings of a frame that looks like no optical one, and what is assumed of others."""
        if frame == self._settings.optical_frame:
            return (), ()
        why = why_body(frame, tree)
        if why:
            return (body_warning(frame, what, why, f'set {settled_by} to the one that is'),), ()
        taken = taken_as_optical(frame, what, settled_by)
        return (), (taken,) if taken else ()

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
        if at is not None and not 0 <= at <= self.lasts:
            raise UserError(f'{at:g} s is not within the {self.lasts:.3f} s that it lasts')
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
        missing: dict[LiftStatus, str] = {}
        assumed, warnings = list(topics.assumed), list[str]()
        metres = registration = camera = None
        try:
            metres = self._metres(image, depth)
            registration = self._registration(image, depth, color, metres, assumed, warnings)
            warnings += filter(None, [depth_warning(metres)])
        except _Unusable as error:
            metres, missing[LiftStatus.NO_DEPTH] = None, str(error)
        try:
            camera = self._camera('camera_info', topics.image, image, color, assumed)
        except _Unusable as error:
            missing[LiftStatus.NO_CAMERA_INFO] = str(error)
        return Capture(
            Frame(color, metres, camera, image.stamp, self._optical(image)),
            registration,
            missing,
            '; '.join(warnings) if metres is not None else '',
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
        rectified = self._settings.rectified
        if rectified is None:
            rectified = image_topic.rpartition('/image_')[2].startswith('rect')
            if rectified and np.any(found.message.d):
                assumed.append(RECTIFIED_BY_NAME.told(topic=image_topic))
        try:
            calibration = best_calibration([found.message], image.message, pixels, rectified, topic)
        except NoCalibration as error:
            raise _Unusable(str(error)) from error
        assumed += calibration.assumed
        return calibration.camera

    def _registration(
        self,
        image: _Stamped,
        depth: _Stamped | None,
        color: NDArray[np.uint8],
        metres: NDArray[np.float32],
        assumed: list[str],
        warnings: list[str],
    ) -> Registration | None:
        """Where the depth camera stands to the color camera, if it is another."""
        topic, color_frame = self._topics.depth, self._optical(image)
        if depth is None or topic is None or depth.frame_id in (image.frame_id, color_frame):
            return None
        if '' in (image.frame_id, depth.frame_id):
            assumed.append(ALIGNED_WITHOUT_FRAME.told(topic=topic))
            return None
        if self._topics.depth_camera_info is None and metres.shape == color.shape[:2]:
            assumed.append(
                ALIGNED_BY_SIZE.told(topic=topic, frame=depth.frame_id, image_frame=image.frame_id)
            )
            return None
        camera = self._camera('depth_camera_info', topic, depth, metres, assumed)
        tree = self._tree()
        try:
            T_color_depth = tree.look_up(color_frame, depth.frame_id, depth.stamp)
        except NoTransform as error:
            raise _Unusable(f'{topic} cannot be registered: {error}') from error
        for frame, what, settled_by in (
            (depth.frame_id, 'depth', "the header's frame_id"),
            (color_frame, 'image', '--optical-frame'),
        ):
            told, taken = self._said_of(frame, what, settled_by, tree)
            warnings += told
            assumed += taken
        return Registration(camera, T_color_depth)

    def _optical(self, image: _Stamped) -> str:
        """The frame of an image."""
        return self._settings.optical_frame or image.frame_id

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
                    tree.add(
                        stamped.header.frame_id,
                        stamped.child_frame_id,
                        stamp_ns(stamped),
                        stamped.transform,
                        static=static,
                    )
        return tree


class _Unusable(Exception):
    """A stream brings nothing that 3D could be had from; the text says why."""
