# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cameras that an agent may ask about: a list fixed at the start, asked through the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from molmo_ros.errors import UserError, shortened
from molmo_ros.pointing.prompts import Mode
from molmo_ros.ros import qos
from molmo_ros.ros.client import Answered, AnsweredPoint, PointQueryClient, ServiceUnavailable
from molmo_ros.ros.conversions import ConversionError, color_array
from molmo_ros.ros.spinning import Spinner

# An agent pays for each pixel, and sees no more than this.
_MOST_PIXELS_A_SIDE = 1024
_JPEG_QUALITY = 85
_PICTURE_S = 10.0  # for discovery and the next picture
_LOOK_S = 6.0  # until a node that is there was found and has said how it is
# A question that takes longer than this has no reader any more.
_MOST_SECONDS = 120.0
_MOST_CHARACTERS = 500


@dataclass(frozen=True)
class RobotCamera:
    """name: for agents. namespace: of the node that answers. image: topic of its pictures."""

    name: str
    namespace: str = ''
    image: str = 'image'


def read_camera(text: str) -> RobotCamera:
    """Of NAME=NAMESPACE or NAME=NAMESPACE,IMAGE_TOPIC. Raises UserError."""
    name, equals, rest = text.partition('=')
    namespace, _, image = rest.partition(',')
    if not name or not equals or ' ' in text:
        raise UserError(f"'{text}' should be NAME=NAMESPACE or NAME=NAMESPACE,IMAGE_TOPIC")
    return RobotCamera(name, namespace.strip('/') and f'/{namespace.strip("/")}', image or 'image')


class RobotCameras:
    """Asks the nodes of some cameras, and shows their pictures. It changes nothing.

    Raises UserError, in words for the agent, where something cannot be had.
    """

    def __init__(self, cameras: Sequence[RobotCamera]) -> None:
        self._cameras = {camera.name: camera for camera in cameras}
        if len(self._cameras) != len(cameras):
            raise UserError('two cameras have the same name')
        self._clients = {
            name: PointQueryClient(camera.namespace, f'agent_tools_{i}')
            for i, (name, camera) in enumerate(self._cameras.items())
        }

    def close(self) -> None:
        """Leave the graph."""
        for client in self._clients.values():
            client.close()

    def listed(self) -> list[dict[str, Any]]:
        """Name of each camera, and what its node says of its model ('' where there is no node)."""
        return [
            {
                'camera': name,
                'ready': client.wait_until_ready(_LOOK_S),
                'model': client.engine_state,
            }
            for name, client in self._clients.items()
        ]

    def ask(
        self, query: str, camera: str, mode: str, target_frame: str, timeout: float
    ) -> dict[str, Any]:
        """The answer about the camera's newest frame, as plain data."""
        if not query.strip() or len(query) > _MOST_CHARACTERS:
            raise UserError(f'query must have 1 to {_MOST_CHARACTERS} characters')
        modes = {known.name.lower(): known for known in Mode}
        if mode not in modes:
            raise UserError(f"mode '{shortened(mode, 40)}' is none of {', '.join(modes)}")
        seconds = min(max(timeout, 1.0), _MOST_SECONDS)
        client = self._clients[self._known(camera)]
        try:
            answered = client.ask(
                query, mode=modes[mode], target_frame=target_frame, timeout=seconds
            )
        except ServiceUnavailable as error:
            raise UserError(str(error)) from error
        return _plain(answered)

    def picture(self, camera: str) -> bytes:
        """The newest picture as JPEG, at most 1,024 pixels wide and high."""
        allowed = self._cameras[self._known(camera)]
        rgb = _newest(allowed)
        scale = min(1.0, _MOST_PIXELS_A_SIDE / max(rgb.shape[:2]))
        if scale < 1:
            size = [round(side * scale) for side in rgb.shape[1::-1]]
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        _, jpeg = cv2.imencode('.jpg', rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return jpeg.tobytes()

    def _known(self, name: str) -> str:
        if not name and len(self._cameras) == 1:
            return next(iter(self._cameras))
        if name not in self._cameras:
            raise UserError(
                f"there is no camera '{shortened(name, 40)}'; there are: {', '.join(self._cameras)}"
            )
        return name


def _newest(camera: RobotCamera) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of the next message on the camera's image topic. Raises UserError."""
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node('agent_picture', namespace=camera.namespace, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    arrived = Event()
    messages: list[Image | CompressedImage] = []

    def keep(message: Image | CompressedImage) -> None:
        messages.append(message)
        arrived.set()

    try:
        # Which of the two it carries takes discovery to know; hearing both takes none.
        heard: tuple[tuple[type, str], ...] = (
            (Image, camera.image),
            (CompressedImage, f'{camera.image}/compressed'),
        )
        if camera.image.endswith('/compressed'):
            heard = ((CompressedImage, camera.image),)
        for kind, topic in heard:
            node.create_subscription(kind, topic, keep, qos.PROFILES['sensor_data'])
        spinner = Spinner(executor)
        try:
            if not arrived.wait(_PICTURE_S):
                topic = node.resolve_topic_name(camera.image)
                raise UserError(f'no picture came on {topic}: is the camera running?')
        finally:
            spinner.close()
        return color_array(messages[0])
    except ConversionError as error:
        raise UserError(str(error)) from error
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _plain(answered: Answered) -> dict[str, Any]:
    return {
        'status': answered.status.name,
        'message': answered.message,
        'answer': answered.answer,
        'count': answered.count if answered.count >= 0 else None,
        'frame': answered.frame_id,
        'stamp_ns': answered.stamp_ns,
        'points': [_plain_point(point) for point in answered.points],
        'assumed': list(answered.assumed),
    }


def _plain_point(point: AnsweredPoint) -> dict[str, Any]:
    return {
        'label': point.image.label,
        'u': point.image.u,
        'v': point.image.v,
        'confidence': point.image.confidence,
        'status_3d': point.surface.status.name,
        'reason': point.surface.reason,
        'position': point.surface.position,
        'normal': point.surface.normal,
    }
