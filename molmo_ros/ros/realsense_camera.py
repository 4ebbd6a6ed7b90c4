# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node in place of realsense-ros, where that is not installed.

python -m molmo_ros.ros.realsense_camera --ros-args -p serial:=831612073525
"""

from __future__ import annotations

if __name__ == '__main__':  # before all that takes time to import
    from molmo_ros.starting import begin, end

    begin()

import threading
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from molmo_ros.cameras.realsense import RealSense, RealSenseSettings
from molmo_ros.errors import UserError
from molmo_ros.grounding.capture import Capture
from molmo_ros.ros import conversions, parameters, qos
from molmo_ros.ros.camera_nodes import frame_in, transform_message, use_large_shared_memory
from molmo_ros.ros.messages import stamp_message
from molmo_ros.ros.realsense_parameters import REALSENSE_CAMERA
from molmo_ros.ros.responses import publish
from molmo_ros.ros.spinning import run_node

# Pose of an optical frame in the body frame at the same place, x forward and z up.
_T_LINK_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
_RETRY_S = 2.0
_CLOCKS_AGREE_NS = 1_000_000_000


class RealSenseCameraNode(Node):
    """Publishes `image`, `depth`, `camera_info` and `depth_camera_info` as frames come, under one
    stamp, and where the cameras stand on /tf_static.

    A camera that is not there, or goes away, is waited for. Raises UserError where pyrealsense2 is
    missing, or the recording cannot be played.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__('realsense_camera', **node_arguments)
        parameters.declare(self, REALSENSE_CAMERA)
        values = parameters.values(self, REALSENSE_CAMERA)
        self._settings = _settings(values)
        self._depth_encoding = values['depth_encoding']
        prefix = values['frame_prefix'] or frame_in(self.get_namespace(), '')
        self._link, self._color_frame, self._depth_frame = (
            f'{prefix}{name}'
            for name in ('camera_link', 'camera_color_optical_frame', 'camera_depth_optical_frame')
        )
        profile = qos.PROFILES[values['qos']]
        self._image = self.create_publisher(Image, 'image', profile)
        self._depth = self.create_publisher(Image, 'depth', profile)
        self._info = self.create_publisher(CameraInfo, 'camera_info', profile)
        self._depth_info = self.create_publisher(CameraInfo, 'depth_camera_info', profile)
        self._tf_static = self.create_publisher(TFMessage, '/tf_static', qos.LATCHED)
        self._closing = threading.Event()
        # What is wrong for good is told before the node is up.
        camera = self._opened() if self._settings.recording else None
        self._placed: RealSense | None = None  # the one whose poses have been published
        self._thread = threading.Thread(target=self._run, args=[camera])
        self._thread.start()

    def close(self) -> bool:
        """Give the camera back."""
        self._closing.set()
        self._thread.join()
        return True

    def _opened(self) -> RealSense:
        camera = RealSense(self._settings, self._closing.is_set, self.get_logger().warning)
        self.get_logger().info(f'frames come from {camera.name}')
        return camera

    def _run(self, camera: RealSense | None) -> None:
        told = ''
        while not self._closing.is_set():
            try:
                camera = camera or self._opened()
                self._publish_next(camera)
                told = ''
            except Exception as error:  # whatever it is: nobody else would start the camera again
                cause = str(error) if isinstance(error, UserError) else repr(error)
                if cause != told:
                    told = cause
                    self.get_logger().error(f'{told}; trying again every {_RETRY_S:g} s')
                if camera is not None:
                    camera.close()
                    camera = None
                self._closing.wait(_RETRY_S)
        if camera is not None:
            camera.close()

    def _publish_next(self, camera: RealSense) -> None:
        if self._placed is not camera and self._publish_poses(camera):
            self._placed = camera
        capture = camera.read()
        if capture is not None:
            self._publish(camera, capture)

    def _publish(self, camera: RealSense, capture: Capture) -> None:
        frame, registration = capture.frame, capture.registration
        assert frame.depth is not None and frame.camera is not None
        stamp = self._stamp(frame.stamp)
        color = Header(stamp=stamp, frame_id=self._color_frame)
        depth, depth_camera = color, frame.camera
        if registration is not None:
            depth = Header(stamp=stamp, frame_id=self._depth_frame)
            depth_camera = registration.depth_camera
        encoding = self._depth_encoding
        if encoding == 'auto':
            encoding = '16UC1' if abs(camera.depth_unit - 0.001) < 1e-6 else '32FC1'
        log = self.get_logger()
        publish(self._image, conversions.color_message(frame.color, color), log)
        publish(self._depth, conversions.depth_message(frame.depth, encoding, depth), log)
        publish(self._info, conversions.camera_info_message(frame.camera, color), log)
        publish(self._depth_info, conversions.camera_info_message(depth_camera, depth), log)

    def _stamp(self, taken_ns: int) -> Time:
        """The camera's own time if its clock agrees with ROS's, else now."""
        now = self.get_clock().now().nanoseconds
        return stamp_message(taken_ns if abs(now - taken_ns) < _CLOCKS_AGREE_NS else now)

    def _publish_poses(self, camera: RealSense) -> bool:
        """The depth camera stands in camera_link, as it does with realsense-ros.

        False: they could not be sent, and are tried again with the next frame.
        """
        T_depth_color = np.linalg.inv(camera.T_color_depth)
        poses = [
            transform_message(_T_LINK_OPTICAL, self._link, self._depth_frame),
            transform_message(_T_LINK_OPTICAL @ T_depth_color, self._link, self._color_frame),
        ]
        for pose in poses:
            pose.header.stamp = self.get_clock().now().to_msg()
        return publish(self._tf_static, TFMessage(transforms=poses), self.get_logger())


def _settings(values: dict[str, Any]) -> RealSenseSettings:
    return RealSenseSettings(
        serial=values['serial'],
        recording=Path(values['recording']).expanduser() if values['recording'] else None,
        repeat=True,
        width=values['width'],
        height=values['height'],
        rate=values['rate'],
        preset=values['preset'],
        align=values['align_depth'],
        patience=values['patience'],
    )


def make_executor(node: RealSenseCameraNode) -> Executor:
    """One thread is enough: frames come on one of their own."""
    return SingleThreadedExecutor(context=node.context)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    use_large_shared_memory()
    return run_node(RealSenseCameraNode, make_executor, RealSenseCameraNode.close, args)


if __name__ == '__main__':
    end(main())
