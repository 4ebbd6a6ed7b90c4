# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How arm.mcap was made: one process publishes a moving arm, another records what reaches it.

    record.py FOLDER

The arm drives about and moves its joints at 50 Hz for five seconds, as nodes do it: the joints in
one message, the pose of the base 60 ms late and unsteadily, one in twelve of these after its
successor, some twice, some of one stamp with another pose; fixed frames at the start, one again
later, one for the first time in the middle. Stamps and times of arrival are those of the clock.
"""

import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tf2_msgs.msg import TFMessage

LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SECONDS, HZ = 5.0, 50.0
FIXED = (
    ('base', 'mast', (0.1, 0.0, 1.2), (0.0, 0.0, 0.3)),
    ('mast', 'camera_link', (0.05, 0.02, 0.1), (0.0, 0.6, 0.0)),
    ('camera_link', 'camera_optical', (0.0, 0.0, 0.0), (-math.pi / 2, 0.0, -math.pi / 2)),
    ('wrist', 'wrist_optical', (0.0, -0.05, 0.04), (0.1, 0.2, 1.5)),
)


def pose(parent, child, stamp_ns, xyz, rpy):
    """A TransformStamped of roll, pitch and yaw."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a / 2), math.sin(a / 2)) for a in rpy)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = (float(c) for c in xyz)
    q.x, q.y = sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy
    q.z, q.w = cr * cp * sy - sr * sp * cy, cr * cp * cy + sr * sp * sy
    return message


def joints(now, t):
    """The joints at time t in seconds, stamped with now."""
    return [
        pose('base', 'shoulder', now, (0, 0, 0.4), (0, 0, 1.5 * math.sin(1.1 * t))),
        pose('shoulder', 'elbow', now, (0.3, 0, 0), (0, 0.8 + 0.7 * math.sin(2.3 * t), 0)),
        pose('elbow', 'wrist', now, (0.25, 0, 0), (2.8 * math.sin(1.7 * t), 0, 0.5 * t)),
    ]


def base(stamp, t):
    """Where the base has driven."""
    return pose('map', 'base', stamp, (0.5 * t, 0.3 * math.sin(t), 0), (0, 0, 0.7 * t))


def publish():
    """The arm."""
    rclpy.init()
    node = Node('arm')
    moving = node.create_publisher(TFMessage, '/tf', 100)
    fixed = node.create_publisher(TFMessage, '/tf_static', LATCHED)
    rng = random.Random(6)
    while not moving.get_subscription_count():
        time.sleep(0.05)
    start = time.time_ns()
    fixed.publish(TFMessage(transforms=[pose(a, b, start, xyz, rpy) for a, b, xyz, rpy in FIXED]))
    held, step = [], 0
    while (t := (time.time_ns() - start) * 1e-9) < SECONDS:
        moving.publish(TFMessage(transforms=joints(time.time_ns(), t)))
        stamp = time.time_ns() - 60_000_000 - rng.randrange(5_000_000)
        late = TFMessage(transforms=[base(stamp, (stamp - start) * 1e-9)])
        if rng.random() < 1 / 12 and not held:
            held.append(late)
        else:
            moving.publish(late)
            while held:
                moving.publish(held.pop())
        if rng.random() < 1 / 20:
            moving.publish(late)
        if rng.random() < 1 / 20:
            moving.publish(TFMessage(transforms=[base(stamp, (stamp - start) * 1e-9 + 0.01)]))
        step += 1
        if step == 120:
            tool = pose('wrist', 'tool', time.time_ns(), (0, 0, 0.12), (0, 0, 0.4))
            fixed.publish(TFMessage(transforms=[tool]))
            a, b, xyz, rpy = FIXED[0]
            fixed.publish(TFMessage(transforms=[pose(a, b, time.time_ns(), xyz, rpy)]))
        time.sleep(max(0.0, step / HZ - (time.time_ns() - start) * 1e-9) + rng.uniform(0, 0.004))
    time.sleep(0.5)
    node.destroy_node()
    rclpy.shutdown()


def record(folder):
    """Everything on /tf and /tf_static, as it came, until the arm is done."""
    rclpy.init()
    node = Node('recorder')
    types = get_typestore(Stores.ROS2_JAZZY)
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, qos in (('/tf', QoSProfile(depth=100)), ('/tf_static', LATCHED)):
            kept = writer.add_connection(topic, 'tf2_msgs/msg/TFMessage', typestore=types)
            node.create_subscription(
                TFMessage,
                topic,
                lambda data, kept=kept: writer.write(kept, time.time_ns(), data),
                qos,
                raw=True,
            )
        arm = subprocess.Popen([sys.executable, __file__])
        while arm.poll() is None:
            rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    record(Path(sys.argv[1])) if sys.argv[1:] else publish()
