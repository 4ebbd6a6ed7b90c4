# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Transforms from /tf must be those that tf2 would give: at the stamp, and never made up."""

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from molmo_ros.ros.spinning import Spinner
from molmo_ros.ros.transforms import (
    NoTransform,
    Tf2Transforms,
    TopicTransforms,
    TransformTree,
    pose_matrix,
    wait_for_transform,
)

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND + 123_456_789


def turned(x=0.0, y=0.0, z=0.0, *, yaw=0.0):
    return Transform(
        translation=Vector3(x=float(x), y=float(y), z=float(z)),
        rotation=Quaternion(z=np.sin(yaw / 2), w=np.cos(yaw / 2)),
    )


@pytest.fixture
def tree():
    """map -> base (moving) -> mast (fixed) -> camera (fixed); base -> arm (moving)."""
    tree = TransformTree(cache_time=10.0)
    tree.add('base', 'mast', 0, turned(0, 0, 1), static=True)
    tree.add('mast', 'camera', 0, turned(0.5, 0, 0, yaw=np.pi / 2), static=True)
    for second in range(5):
        pose = turned(second, 0, 0, yaw=0.2 * second)
        tree.add('map', 'base', T0 + second * SECOND, pose, static=False)
    tree.add('base', 'arm', T0 + SECOND, turned(0, 1, 0), static=False)
    tree.add('base', 'arm', T0 + 2 * SECOND, turned(0, 3, 0), static=False)
    return tree


def test_fixed_frames_hold_at_any_time(tree):
    T = tree.look_up('base', 'camera', 17)
    np.testing.assert_allclose(T[:3, 3], [0.5, 0, 1])
    np.testing.assert_allclose(T[:3, 0], [0, 1, 0], atol=1e-12)


def test_a_moving_frame_is_where_it_was_at_the_stamp(tree):
    T = tree.look_up('map', 'base', T0 + SECOND * 5 // 2)
    np.testing.assert_allclose(T[:3, 3], [2.5, 0, 0])
    np.testing.assert_allclose(np.arctan2(T[1, 0], T[0, 0]), 0.5)
    exactly = tree.look_up('map', 'base', T0 + 3 * SECOND)
    np.testing.assert_allclose(exactly[:3, 3], [3, 0, 0])


def test_position_goes_straight_and_rotation_by_slerp_as_tf2_has_it():
    tree = TransformTree(cache_time=10.0)
    tree.add('a', 'b', T0, turned(1, 0, 0), static=False)
    tree.add('a', 'b', T0 + SECOND, turned(0, 1, 0, yaw=np.pi / 2), static=False)
    T = tree.look_up('a', 'b', T0 + SECOND // 4)
    np.testing.assert_allclose(T[:3, 3], [0.75, 0.25, 0], atol=1e-9)
    np.testing.assert_allclose(np.arctan2(T[1, 0], T[0, 0]), np.pi / 8, atol=1e-9)


def test_both_signs_of_a_quaternion_are_one_rotation():
    tree = TransformTree(cache_time=10.0)
    tree.add('a', 'b', T0, turned(yaw=0.1), static=False)
    flipped = turned(yaw=0.3)
    flipped.rotation = Quaternion(z=-flipped.rotation.z, w=-flipped.rotation.w)
    tree.add('a', 'b', T0 + SECOND, flipped, static=False)
    T = tree.look_up('a', 'b', T0 + SECOND // 2)
    np.testing.assert_allclose(np.arctan2(T[1, 0], T[0, 0]), 0.2, atol=1e-9)


def test_there_and_back_through_the_whole_tree_is_nowhere(tree):
    stamp = T0 + SECOND * 3 // 2
    there, back = tree.look_up('arm', 'camera', stamp), tree.look_up('camera', 'arm', stamp)
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(there[:3, 3], [0.5, -2, 1])


@pytest.mark.parametrize(
    ('stamp', 'says'), [(T0 - 1, '0.000 s after'), (T0 + 7 * SECOND, '3.000 s before')]
)
def test_nothing_is_made_up_beyond_the_samples(tree, stamp, says):
    with pytest.raises(NoTransform, match=says):
        tree.look_up('map', 'camera', stamp)


def test_stamp_zero_is_the_latest_that_all_know(tree):
    np.testing.assert_allclose(tree.look_up('map', 'camera', 0)[0, 3], 4 + 0.5 * np.cos(0.8))
    # The arm was last heard of at two seconds, so that is the time for both.
    np.testing.assert_allclose(
        tree.look_up('map', 'arm', 0), tree.look_up('map', 'arm', T0 + 2 * SECOND)
    )


def test_a_single_sample_holds_at_its_own_stamp_only():
    tree = TransformTree(cache_time=10.0)
    tree.add('a', 'b', T0, turned(1), static=False)
    assert tree.look_up('a', 'b', T0)[0, 3] == 1
    with pytest.raises(NoTransform):
        tree.look_up('a', 'b', T0 + 1)


def test_unknown_and_unconnected_frames_are_named(tree):
    tree.add('island', 'palm', 0, turned(), static=True)
    with pytest.raises(NoTransform, match=r"'nowhere'.*arm, base, camera"):
        tree.look_up('nowhere', 'camera', 0)
    with pytest.raises(NoTransform, match=r"'palm' and 'camera' are not connected.*island"):
        tree.look_up('camera', 'palm', 0)


def test_samples_are_kept_as_long_as_is_said_and_in_order(tree):
    tree.add('map', 'base', T0 + 13 * SECOND, turned(13), static=False)
    with pytest.raises(NoTransform, match='oldest sample'):
        tree.look_up('map', 'base', T0 + 2 * SECOND)
    tree.add('map', 'base', T0 + 8 * SECOND, turned(8), static=False)
    np.testing.assert_allclose(tree.look_up('map', 'base', T0 + 9 * SECOND)[0, 3], 9)


def test_when_time_starts_again_only_fixed_frames_stay(tree):
    tree.clear()
    assert tree.look_up('base', 'camera', T0)[2, 3] == 1
    with pytest.raises(NoTransform, match='jumped'):
        tree.look_up('map', 'camera', T0)
    tree.add('map', 'base', 5 * SECOND, turned(7), static=False)
    assert tree.look_up('map', 'base', 5 * SECOND)[0, 3] == 7


def test_a_frame_may_be_hung_elsewhere(tree):
    tree.add('map', 'mast', 0, turned(9), static=True)
    np.testing.assert_allclose(tree.look_up('map', 'mast', 0)[:3, 3], [9, 0, 0])
    np.testing.assert_allclose(tree.look_up('base', 'camera', T0)[:3, 3], [9.5, 0, 0])


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        ({'rotation': Quaternion(w=0.0)}, 'quaternion is zero'),
        ({'rotation': Quaternion(x=np.nan)}, 'NaN'),
        ({'translation': Vector3(y=np.inf)}, 'position is NaN or Inf'),
    ],
)
def test_a_sample_that_is_no_pose_is_left_out_and_said_once(spoil, reason):
    """Whoever sends it goes on sending it, a hundred times a second."""
    said = []
    tree = TransformTree(cache_time=10.0, log=said.append)
    tree.add('base', 'whole', 0, turned(), static=True)
    for _ in range(3):
        tree.add('base', '/broken', T0, Transform(**spoil), static=False)
    with pytest.raises(NoTransform, match='broken'):
        tree.look_up('base', 'broken', 0)
    (line,) = said
    assert "'broken'" in line and reason in line
    tree.add('base', 'base', 0, turned(), static=True)
    assert "'base'" in said[1] and 'its own parent' in said[1]
    assert tree.look_up('base', 'whole', 0)[0, 3] == 0


@pytest.mark.parametrize('scale', [0.4, 3.0, -2.0, 1e-170, 1e200])
def test_a_quaternion_of_any_length_is_a_rotation(scale):
    """Drivers that round, or count in degrees, have their frames all the same."""
    tree = TransformTree(cache_time=10.0)
    pose = turned(1, yaw=0.7)
    pose.rotation = Quaternion(z=scale * pose.rotation.z, w=scale * pose.rotation.w)
    tree.add('a', 'b', 0, pose, static=True)
    np.testing.assert_allclose(tree.look_up('a', 'b', 0), pose_matrix(turned(1, yaw=0.7)))
    np.testing.assert_allclose(pose_matrix(pose), pose_matrix(turned(1, yaw=0.7)))


def test_waiting_ends_when_the_transform_is_there_or_the_time_is_up(tree):
    transform = wait_for_transform(tree, 'base', 'camera', 0, 20.0)
    np.testing.assert_allclose(transform, tree.look_up('base', 'camera', 0))
    with pytest.raises(NoTransform):
        wait_for_transform(tree, 'nowhere', 'camera', 0, 0.05)


def test_a_transform_message_is_read_as_it_stands():
    T = pose_matrix(turned(1, 2, 3, yaw=np.pi / 2))
    np.testing.assert_allclose(T @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)


def test_samples_of_one_stamp_and_of_both_topics_count_as_in_tf2():
    """The figures are those that tf2 0.36.4 gave for the same samples."""
    tree = TransformTree(cache_time=10.0)
    for second, x in ((0, 1), (1, 2), (1, 3), (2, 4), (2, 5)):
        tree.add('/a', '/b', T0 + second * SECOND, turned(x), static=False)
    for halves, x in enumerate((1, 1.5, 3, 3.5, 5)):
        assert tree.look_up('a', 'b', T0 + halves * SECOND // 2)[0, 3] == x
    tree.add('a', 'c', T0, turned(1), static=True)
    tree.add('a', 'c', T0 + SECOND, turned(2), static=False)
    assert tree.look_up('a', 'c', 0)[0, 3] == 2
    with pytest.raises(NoTransform):
        tree.look_up('a', 'c', T0 + SECOND // 2)


def test_frames_may_be_asked_for_with_their_slash(tree):
    np.testing.assert_allclose(
        tree.look_up('/base', '/camera', 0), tree.look_up('base', 'camera', 0)
    )


class TerseBuffer:
    """tf2's buffer as far as we use it; what it raises has often no text."""

    def __init__(self, cache_time):
        self.moving = True

    def lookup_transform(self, target, source, stamp):
        assert not target.startswith('/') and not source.startswith('/')
        if 'far' in source or 'moon' in target:
            raise TerseError
        return TransformStamped(transform=turned(2, yaw=0.3))

    def all_frames_as_yaml(self):
        return "hand: \n  parent: 'arm'\n  rate: 10.000\nfar: \n  parent: 'island'\n"


class TerseError(Exception):
    pass


@pytest.fixture
def tf2(monkeypatch):
    module = SimpleNamespace(
        Buffer=TerseBuffer,
        TransformListener=lambda buffer, node, spin_thread: None,
        TransformException=TerseError,
    )
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    node = SimpleNamespace(get_clock=lambda: None, get_logger=lambda: None)
    return Tf2Transforms(node, 30.0)


def test_where_tf2_says_little_the_frames_that_exist_are_named(tf2):
    assert tf2.look_up('/arm', 'hand', 0)[0, 3] == 2
    with pytest.raises(
        NoTransform, match=r"from 'far' to 'arm': TerseError.*arm, far, hand, island"
    ):
        tf2.look_up('arm', 'far', T0)
    with pytest.raises(NoTransform, match=r"'moon' is not on /tf .*arm, far"):
        tf2.look_up('moon', 'hand', T0)
    with pytest.raises(NoTransform, match='before 1970'):
        tf2.look_up('arm', 'hand', -SECOND)
    assert tf2.parents() == {'hand': 'arm', 'far': 'island'}


def test_of_two_poses_of_a_fixed_frame_the_last_that_was_said_counts():
    """A camera that was calibrated anew would stay where it was, with every position in it."""
    context = Context()
    rclpy.init(context=context)
    node = Node('two_poses', context=context)
    transforms = TopicTransforms(node, 10.0)
    add, added = transforms.tree.add, []
    second, both = threading.Event(), threading.Event()

    def slow(parent, child, stamp, transform, *, static):
        if child != 'eye':  # of another test's camera
            return
        x = transform.translation.x
        (second.set if x == 2 else lambda: second.wait(0.3))()  # the first takes its time
        add(parent, child, stamp, transform, static=static)
        added.append(x)
        if len(added) == 2:
            both.set()

    transforms.tree.add = slow
    executor = MultiThreadedExecutor(4, context=context)
    executor.add_node(node)
    spinner = Spinner(executor)
    try:
        profile = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publisher = node.create_publisher(TFMessage, '/tf_static', profile)
        for x in 1, 2:
            pose = TransformStamped(child_frame_id='eye', transform=turned(x))
            pose.header.frame_id = 'hand'
            publisher.publish(TFMessage(transforms=[pose]))
        assert both.wait(30)
        assert transforms.look_up('hand', 'eye', 0)[0, 3] == 2
    finally:
        spinner.close()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
