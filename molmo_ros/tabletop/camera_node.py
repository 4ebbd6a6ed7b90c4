# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera node over the rendered tabletop, which publishes as the driver of a real one would.

python -m molmo_ros.tabletop.camera_node --ros-args -p seed:=5003
"""

from __future__ import annotations

if __name__ == '__main__':  # before all that takes time to import
    from molmo_ros.starting import begin, end

    begin()

from collections.abc import Mapping
from typing import Any

from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from molmo_ros.grounding.frame import Frame
from molmo_ros.ros import conversions, parameters, qos
from molmo_ros.ros.camera_nodes import frame_in, transform_message, use_large_shared_memory
from molmo_ros.ros.responses import publish
from molmo_ros.ros.spinning import run_node
from molmo_ros.tabletop.camera_parameters import TABLETOP_CAMERA
from molmo_ros.tabletop.world import TABLES, TabletopCamera

_FRAME = 'camera_color_optical_frame'


class TabletopCameraNode(Node):
    """Publishes `image`, `depth` and `camera_info` at a steady rate, and its pose on /tf_static.

    The parameters `seed` and `table` may be changed while it runs: another table is then before
    the camera.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__('tabletop_camera', **node_arguments)
        parameters.declare(self, TABLETOP_CAMERA)
        settings = parameters.values(self, TABLETOP_CAMERA)
        self._parent_frame = settings['parent_frame']
        self._frame_id = settings['frame_id'] or frame_in(self.get_namespace(), _FRAME)
        self._camera = _camera(settings, self._frame_id)
        self._shown = _wanted(settings)
        profile = qos.PROFILES[settings['qos']]
        self._image = self.create_publisher(Image, 'image', profile)
        self._depth = self.create_publisher(Image, 'depth', profile)
        self._info = self.create_publisher(CameraInfo, 'camera_info', profile)
        self._tf_static = self.create_publisher(TFMessage, '/tf_static', qos.LATCHED)
        self._made: tuple[Frame, str] | None = None
        self._messages: tuple[Image, Image, CameraInfo] | None = None
        self._told = self._publish_pose()
        self.create_timer(1 / settings['rate'], self._on_timer)

    def close(self) -> bool:
        """Give the camera back."""
        self._camera.close()
        return True

    def _on_timer(self) -> None:
        settings = parameters.values(self, TABLETOP_CAMERA)
        if _wanted(settings) != self._shown:
            self._camera = _camera(settings, self._frame_id)
            self._shown, self._told = _wanted(settings), False
        self._told = self._told or self._publish_pose()
        if not self._told:  # seen from elsewhere, its positions would be wrong
            return
        image, depth, info = self._newest(settings['depth_encoding'])
        stamp = self.get_clock().now().to_msg()
        for message in (image, depth, info):
            message.header.stamp = stamp
        publish(self._image, image, self.get_logger())
        publish(self._depth, depth, self.get_logger())
        publish(self._info, info, self.get_logger())

    def _newest(self, encoding: str) -> tuple[Image, Image, CameraInfo]:
        """The messages of the newest frame; made once for as long as the picture is the same."""
        frame = self._camera.read()
        made = self._made
        if (
            self._messages is None
            or made is None
            or frame.color is not made[0].color
            or encoding != made[1]
        ):
            self._messages = _messages(frame, encoding)
            self._made = (frame, encoding)
        return self._messages

    def _publish_pose(self) -> bool:
        """False: it could not be sent, and is tried again with the next frame."""
        pose = transform_message(
            self._camera.T_world_optical, self._parent_frame, self._camera.frame_id
        )
        pose.header.stamp = self.get_clock().now().to_msg()
        return publish(self._tf_static, TFMessage(transforms=[pose]), self.get_logger())


def _camera(settings: Mapping[str, Any], frame_id: str) -> TabletopCamera:
    return TabletopCamera(
        settings['seed'],
        width=settings['width'],
        height=settings['height'],
        rate_hz=settings['rate'],
        frame_id=frame_id,
        spec=TABLES[settings['table']],
    )


def _wanted(settings: Mapping[str, Any]) -> tuple[str, int]:
    """Which table."""
    return settings['table'], settings['seed']


def _messages(frame: Frame, encoding: str) -> tuple[Image, Image, CameraInfo]:
    assert frame.depth is not None and frame.camera is not None
    header = Header(frame_id=frame.frame_id)
    return (
        conversions.color_message(frame.color, header),
        conversions.depth_message(frame.depth, encoding, header),
        conversions.camera_info_message(frame.camera, header),
    )


def make_executor(node: TabletopCameraNode) -> Executor:
    """One thread is enough."""
    return SingleThreadedExecutor(context=node.context)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    use_large_shared_memory()
    return run_node(TabletopCameraNode, make_executor, TabletopCameraNode.close, args)


if __name__ == '__main__':
    end(main())
