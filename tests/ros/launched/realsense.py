# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node with the topics and frames of realsense-ros, before a wall.

With ONLY_COMPRESSED in the environment, as over a network: no raw images.
"""

import os
import struct
import sys
from array import array

import cv2
import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from molmo_ros.ros.conversions import camera_info_message, color_message, depth_message
from molmo_ros.ros.spinning import run_node
from molmo_ros.spatial import CameraModel

WIDTH, HEIGHT, DISTANCE_MM = 160, 120, 900


class RealSense(Node):
    def __init__(self):
        super().__init__('realsense', automatically_declare_parameters_from_overrides=True)
        given = {n: self.get_parameter(n).value for n in ('tf_prefix', 'camera_name', 'serial_no')}
        assert self.get_parameter('align_depth.enable').value is True
        assert isinstance(given['serial_no'], str), given
        name = f'{given["tf_prefix"]}{given["camera_name"]}'
        header = Header(frame_id=f'{name}_color_optical_frame')
        color = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        depth = np.full((HEIGHT, WIDTH), DISTANCE_MM, np.uint16)
        K = np.array([[110.0, 0, 79.5], [0, 110.0, 59.5], [0, 0, 1]])
        camera = CameraModel(WIDTH, HEIGHT, K)
        topics = {'~/color/camera_info': camera_info_message(camera, header)}
        color_topic, depth_topic = '~/color/image_raw', '~/aligned_depth_to_color/image_raw'
        if 'ONLY_COMPRESSED' in os.environ:
            topics[f'{color_topic}/compressed'] = compressed(color, 'rgb8; png compressed', header)
            topics[f'{depth_topic}/compressedDepth'] = compressed(
                depth, '16UC1; compressedDepth png', header, struct.pack('<iff', 0, 0, 0)
            )
        else:
            topics[color_topic] = color_message(color, header)
            topics[depth_topic] = depth_message(depth / np.float32(1000), '16UC1', header)
        self._streams = [
            (self.create_publisher(type(message), topic, qos_profile_sensor_data), message)
            for topic, message in topics.items()
        ]
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        pose = TransformStamped(child_frame_id=header.frame_id)
        pose.header.frame_id = f'{name}_link'
        # x right, y down, z forward, seen from x forward, y left, z up.
        pose.transform.rotation.x, pose.transform.rotation.y = -0.5, 0.5
        pose.transform.rotation.z, pose.transform.rotation.w = -0.5, 0.5
        self._tf_static = self.create_publisher(TFMessage, '/tf_static', latched)
        self._tf_static.publish(TFMessage(transforms=[pose]))
        self.create_timer(0.1, self._publish)

    def _publish(self):
        stamp = self.get_clock().now().to_msg()
        for publisher, message in self._streams:
            message.header.stamp = stamp
            publisher.publish(message)


def compressed(image, written_as, header, before=b''):
    bgr = image if image.ndim == 2 else image[..., ::-1]
    data = before + cv2.imencode('.png', bgr)[1].tobytes()
    return CompressedImage(
        header=Header(frame_id=header.frame_id), format=written_as, data=array('B', data)
    )


def make_executor(node):
    return SingleThreadedExecutor(context=node.context)


if __name__ == '__main__':
    sys.exit(run_node(RealSense, make_executor, lambda node: True, sys.argv))
