# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed streams: their topics follow those of the images, as with image_transport in C++."""

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from molmo_ros.ros.node_settings import StreamSettings
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.transforms import make_transforms


def topics(*remappings, image='compressed', depth='compressedDepth'):
    """Where color and depth are listened for."""
    context = Context()
    rclpy.init(context=context)
    arguments = ['--ros-args', '-r', '__ns:=/arm']
    arguments += [word for remapping in remappings for word in ('-r', remapping)]
    node = Node('listening', context=context, cli_args=arguments, use_global_arguments=False)
    settings = StreamSettings(image, depth, *['sensor_data'] * 3, keep=2.0, memory=1 << 20)
    try:
        streams = CameraStreams(node, settings, make_transforms(node, 1.0))
        return streams.topic('image'), streams.topic('depth')
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


@pytest.mark.parametrize(
    ('remappings', 'expected'),
    [
        ([], ('/arm/image/compressed', '/arm/depth/compressedDepth')),
        (
            ['image:=/oak/rgb/image_raw', 'depth:=stereo/image_raw'],
            ('/oak/rgb/image_raw/compressed', '/arm/stereo/image_raw/compressedDepth'),
        ),
        # As the transport's topic is called on the wire: what `ros2 topic list` shows.
        (
            ['image:=/oak/rgb/image_raw/compressed', 'depth:=/d/compressedDepth'],
            ('/oak/rgb/image_raw/compressed', '/d/compressedDepth'),
        ),
        # Both are said, and the one that says more counts.
        (
            ['image:=/oak/image', 'image/compressed:=/jpeg', 'depth/compressedDepth:=png'],
            ('/jpeg', '/arm/png'),
        ),
    ],
)
def test_a_transport_is_below_the_topic_that_the_image_was_remapped_to(remappings, expected):
    assert topics(*remappings) == expected


def test_what_is_not_compressed_is_where_it_was_remapped_to():
    assert topics('image:=/a', 'depth:=/b', image='raw') == ('/a', '/b/compressedDepth')
    assert topics('image:=/a', 'depth:=/b', depth='raw') == ('/a/compressed', '/b')
