# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What cameras publish now, as the node would take it: for `molmo-ros check-camera --ros`."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from molmo_ros.errors import UserError, shortened
from molmo_ros.grounding.camera_check import Finding
from molmo_ros.grounding.capture import Capture
from molmo_ros.ros import parameters, qos
from molmo_ros.ros.answering import Refused
from molmo_ros.ros.node_settings import NodeSettings, read_settings
from molmo_ros.ros.spinning import Spinner
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.sync import DEPTH_CAMERA_INFO, IMAGE, STREAMS, stamp_ns
from molmo_ros.ros.transforms import make_transforms

_TYPES = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
    'sensor_msgs/msg/CameraInfo': CameraInfo,
}
_LOOK_S = 0.2
_DISCOVERY_S = 5.0
_KEPT = 10

# The last messages of each stream that somebody publishes.
_Kept = dict[str, deque[Any]]


def listen(
    topics: Mapping[str, str], ros_arguments: Sequence[str], seconds: float
) -> tuple[list[Finding], Capture | None]:
    """Listen for so long; what came, and the frame that a question would be about.

    topics: names for the node's streams. ros_arguments: as on the command line of a node. Raises
    UserError where these cannot be read.
    """
    words = [*ros_arguments] if ros_arguments else ['--ros-args']
    for name, topic in topics.items():
        words += ['-r', f'{name}:={topic}']
    context = Context()
    try:
        rclpy.init(args=words, context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = Node('check_camera', context=context)
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
        try:
            return _heard(node, streams, settings, seconds)
        finally:
            spinner.close()
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _heard(
    node: Node, streams: CameraStreams, settings: NodeSettings, seconds: float
) -> tuple[list[Finding], Capture | None]:
    kept: _Kept = {}
    # The seconds count from the first image on: finding each other takes nodes some time.
    first: float | None = None
    end = time.monotonic() + seconds + _DISCOVERY_S
    while time.monotonic() < end:
        _subscribe(node, streams, kept)
        time.sleep(_LOOK_S)
        if first is None and kept.get(IMAGE):
            first = time.monotonic()
            end = first + seconds
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
        kind = next(
            (_TYPES[t] for t in published.get(streams.topic(name), ()) if t in _TYPES), None
        )
        if kind is not None and name not in kept:
            kept[name] = deque(maxlen=_KEPT)
            keep = partial(_keep, kept[name])
            node.create_subscription(kind, streams.topic(name), keep, qos.PROFILES['sensor_data'])


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
