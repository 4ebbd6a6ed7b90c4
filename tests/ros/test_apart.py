# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The thread that hears a camera sleeps where there is nothing to hear."""

import threading

import rclpy
from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from molmo_ros.ros.apart import ApartGroup, ApartSpinner


def test_a_publisher_whose_qos_does_not_fit_is_told_of():
    """As long as nobody takes the event, each wait ends at once, and the thread takes a core."""
    context, group, told = Context(), ApartGroup(), threading.Event()
    rclpy.init(context=context)
    node = Node('listener', namespace='event', context=context)
    node.create_subscription(
        Image,
        'image',
        lambda message: None,
        QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
        callback_group=group,
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda info: told.set()),
    )
    spinner = ApartSpinner(node, group)
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_publisher(Image, 'image', qos)
    assert told.wait(60)
    spinner.close()
    node.destroy_node()
    rclpy.try_shutdown(context=context)
