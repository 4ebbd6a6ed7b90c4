# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What cameras publish now, as the node would take it: for `molmo-ros check-camera --ros`, and
`molmo-ros calibrate depth --ros`."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from molmo_ros.cameras.calibrations import Calibration, NoCalibration, best_calibration
from molmo_ros.errors import UserError, shortened
from molmo_ros.grounding.camera_check import Finding
from molmo_ros.grounding.capture import Capture
from molmo_ros.ros import conversions, parameters, qos
from molmo_ros.ros.answering import Refused
from molmo_ros.ros.node_settings import NodeSettings, read_settings
from molmo_ros.ros.spinning import Spinner
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.sync import (
    CALIBRATIONS,
    CAMERA_INFO,
    DEPTH,
    DEPTH_CAMERA_INFO,
    IMAGE,
    STREAMS,
    stamp_ns,
)
from molmo_ros.ros.transforms import Transforms, make_transforms

_TYPES = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
    'sensor_msgs/msg/CameraInfo': CameraInfo,
}
_LOOK_S = 0.2
_DISCOVERY_S = 5.0
_KEPT = 10
_VIEWS = 8  # of a wall, spread over the time

# The last messages of each stream that somebody publishes.
_Kept = dict[str, deque[Any]]


def listen(
    topics: Mapping[str, str], ros_arguments: Sequence[str], seconds: float
) -> tuple[list[Finding], Capture | None]:
    """Listen for so long; what came, and the frame that a question would be about.

    topics: names for the node's streams. ros_arguments: as on the command line of a node. Raises
    UserError where these cannot be read.
    """
    with listening('check_camera', topics, ros_arguments) as heard:
        return _heard(heard.node, heard.streams, heard.settings, seconds)


@dataclass(frozen=True, eq=False)
class Views:
    """depths: images (H, W) float32, metres. calibration: of the camera that they are of."""

    depths: list[NDArray[np.float32]]
    calibration: Calibration


def listen_to_depth(
    topics: Mapping[str, str], ros_arguments: Sequence[str], seconds: float
) -> Views:
    """Depth images spread over so long, and their calibration: of `depth_camera_info` or
    `camera_info`, by frame and size.

    topics, ros_arguments: as of `listen`. Raises UserError, also where nothing comes.
    """
    with listening('calibrate_depth', topics, ros_arguments) as heard:
        streams, settings = heard.streams, heard.settings
        kept: _Kept = {}
        views: list[Any] = []
        due = 0.0
        for now in _looks(heard.node, streams, kept, seconds, DEPTH):
            newest = kept[DEPTH][-1] if kept.get(DEPTH) else None
            if newest is not None and now >= due and not any(newest is view for view in views):
                views.append(newest)
                due = now + seconds / _VIEWS
        missing = _missing(streams, views, kept)
    if missing:
        raise UserError(missing)
    frames = settings.frames
    try:
        depths = [conversions.depth_array(view, frames.depth_unit) for view in views]
        infos = [info for name in reversed(CALIBRATIONS) for info in [*kept.get(name, ())][-1:]]
        calibration = best_calibration(
            infos, views[-1], depths[-1], frames.rectified, 'the camera_info of depth'
        )
    except (conversions.ConversionError, NoCalibration) as error:
        raise UserError(str(error)) from error
    return Views([d for d in depths if d.shape == depths[-1].shape], calibration)


def _missing(streams: CameraStreams, views: Sequence[Any], kept: _Kept) -> str:
    """What did not come that a calibration of depth needs; '' if nothing is missing."""
    if not views:
        name = DEPTH
    elif not any(kept.get(name) for name in CALIBRATIONS):
        name = CAMERA_INFO
    else:
        return ''
    return f'{streams.topic(name)}: {streams.hint(name) or "published, but nothing has arrived"}'


@dataclass(frozen=True, eq=False)
class Listening:
    """A node that hears what the one that answers would hear, as its parameters say."""

    node: Node
    streams: CameraStreams
    transforms: Transforms
    settings: NodeSettings


@contextmanager
def listening(
    name: str, topics: Mapping[str, str], ros_arguments: Sequence[str]
) -> Iterator[Listening]:
    """A node of that name with the streams and the settings of the one that answers.

    topics, ros_arguments: as of `listen`. Raises UserError.
    """
    words = [*ros_arguments] if ros_arguments else ['--ros-args']
    for stream, topic in topics.items():
        words += ['-r', f'{stream}:={topic}']
    context = Context()
    try:
        rclpy.init(args=words, context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = Node(name, context=context)
        parameters.declare(node, parameters.POINT_QUERY)
        settings = read_settings(parameters.values(node, parameters.POINT_QUERY))
    except Exception as error:
        rclpy.try_shutdown(context=context)
        raise UserError(f'--ros-args: {error}') from error
    executor = SingleThreadedExecutor(context=context)
    try:
        transforms = make_transforms(node, settings.transform_cache)
        streams = CameraStreams(node, settings.streams, transforms)
        executor.add_node(node)
        spinner = Spinner(executor)
        streams.start()
        try:
            yield Listening(node, streams, transforms, settings)
        finally:
            streams.close()
            spinner.close()
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _looks(
    node: Node, streams: CameraStreams, kept: _Kept, seconds: float, awaited: str
) -> Iterator[float]:
    """Keep what comes for so long, and now and then say what time it is, by the steady clock.

    The seconds count from the first message of the awaited stream on: finding each other takes
    nodes some time.
    """
    first: float | None = None
    now = time.monotonic()
    end = now + seconds + _DISCOVERY_S
    while now < end:
        _subscribe(node, streams, kept)
        time.sleep(_LOOK_S)
        now = time.monotonic()
        if first is None and kept.get(awaited):
            first = now
            end = first + seconds
        yield now


def _heard(
    node: Node, streams: CameraStreams, settings: NodeSettings, seconds: float
) -> tuple[list[Finding], Capture | None]:
    kept: _Kept = {}
    for _ in _looks(node, streams, kept, seconds, IMAGE):
        pass
    findings = [finding for name in STREAMS for finding in _of_stream(node, streams, name, kept)]
    findings += _of_frames({name: messages[-1] for name, messages in kept.items() if messages})
    try:
        return findings, streams.capture(settings.frames)
    except Refused as refusal:
        return [*findings, Finding('frame', False, str(refusal))], None


def _subscribe(node: Node, streams: CameraStreams, kept: _Kept) -> None:
    """Keep what comes on each topic that somebody publishes, whatever its type is."""
    published = dict(node.get_topic_names_and_types())
    for name in STREAMS:
        topic = streams.topic(name)
        publishers = node.get_publishers_info_by_topic(topic)
        kind = next((_TYPES[t] for t in published.get(topic, ()) if t in _TYPES), None)
        # The streams' own subscriptions make a topic known before anybody publishes on it.
        if kind is None or not publishers or name in kept:
            continue
        kept[name] = deque(maxlen=_KEPT)
        latched = name in CALIBRATIONS and any(map(qos.is_latched, publishers))
        profile = qos.LATCHED if latched else qos.PROFILES['sensor_data']
        node.create_subscription(kind, topic, partial(_keep, kept[name]), profile)


def _keep(messages: deque[Any], message: Any) -> None:
    messages.append(message)


def _of_stream(node: Node, streams: CameraStreams, name: str, kept: _Kept) -> Iterator[Finding]:
    topic, state, hint = streams.topic(name), streams.state(name), streams.hint(name)
    messages, images = ([*kept.get(stream, ())] for stream in (name, IMAGE))
    if not messages:
        needed = name != DEPTH_CAMERA_INFO
        if needed or node.count_publishers(topic):
            why = hint or 'published, but nothing has arrived'
            yield Finding(name, False if needed else None, f'{topic}: {why}')
        return
    message = messages[-1]
    words = [_shape(message), f"frame '{shortened(message.header.frame_id)}'"]
    if not math.isnan(state.rate):
        words.insert(0, f'{state.rate:.1f} Hz')
    now = node.get_clock().now().nanoseconds
    words.append(f'stamps {(now - stamp_ns(message)) * 1e-9:.3f} s old')
    if name != IMAGE and images:
        offsets = (stamp_ns(m) - stamp_ns(image) for m in messages for image in images)
        words.append(f"{min(offsets, key=abs) * 1e-9:+.3f} s from an image's")
    yield Finding(name, None if hint else True, f'{topic}: {", ".join(words)}')
    if hint:
        yield Finding(name, False, f'{topic}: {hint}')


def _shape(message: Any) -> str:
    if isinstance(message, CompressedImage):
        return f"compressed as '{shortened(message.format)}'"
    size = f'{message.width}x{message.height}'
    return f'{size} {shortened(message.encoding)}' if isinstance(message, Image) else size


def _of_frames(newest: Mapping[str, Any]) -> Iterator[Finding]:
    frames = {
        name: shortened(message.header.frame_id.lstrip('/')) for name, message in newest.items()
    }
    image = frames.get(IMAGE)
    if image is None:
        return
    if 'optical' not in image:
        yield Finding(
            'frames',
            None,
            f"'{image}' is taken as an optical frame (x right, y down, z forward), and its name "
            'does not say so: look at it in RViz; the parameter optical_frame names the right one',
        )
    for name, frame in frames.items():
        if frame != image:
            yield Finding('frames', None, f"{name} is of '{frame}', the image of '{image}'")
