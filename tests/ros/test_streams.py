# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the camera's topics make of wild and of looping recordings, mostly without DDS."""

import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import Quaternion, Transform, Vector3
from rclpy.context import Context
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from benchmarks.fuzz_requests import FedNode, Fuzzer
from molmo_ros.cameras.image_messages import ColorPixels
from molmo_ros.ros import parameters
from molmo_ros.ros.answering import Refused, Status
from molmo_ros.ros.conversions import color_message, depth_message
from molmo_ros.ros.messages import stamp_message
from molmo_ros.ros.node_settings import read_settings
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.transforms import NoTransform, TransformTree

SECOND = 1_000_000_000


@pytest.fixture
def settings():
    defaults = {p.name: p.default for p in parameters.POINT_QUERY}
    return read_settings(defaults | {'max_frame_age': 0.0, 'frame_wait': 0.0})


@pytest.mark.parametrize('stream', ['image', 'depth'])
def test_a_recording_that_loops_without_sim_time_forgets_moving_transforms_too(settings, stream):
    """Its /tf would lie in the future, and every pose of the second round would be refused."""
    node, tree = FedNode(), TransformTree(cache_time=30.0)
    CameraStreams(node, settings.streams, tree)
    pose = Transform(translation=Vector3(x=2.0), rotation=Quaternion(w=1.0))
    tree.add('base', 'mast', 0, pose, static=True)
    for seconds in (80, 140):
        tree.add('map', 'base', seconds * SECOND, pose, static=False)
        header = Header(stamp=stamp_message(seconds * SECOND), frame_id='eye_optical')
        messages = {
            'image': color_message(np.zeros((6, 8, 3), np.uint8), header),
            'depth': depth_message(np.ones((6, 8), np.float32), '16UC1', header),
        }
        node.feed(stream, messages[stream])
    again = deepcopy(messages[stream])
    again.header.stamp = stamp_message(60 * SECOND)
    node.feed(stream, again)
    with pytest.raises(NoTransform, match='jumped'):
        tree.look_up('map', 'mast', 140 * SECOND)
    tree.add('map', 'base', 61 * SECOND, pose, static=False)
    assert tree.look_up('map', 'mast', 61 * SECOND)[0, 3] == 4


@pytest.mark.parametrize('seed', [20, 21])
def test_whatever_a_camera_sends_no_answer_is_wrong_without_a_word(seed):
    """Wild depth, calibrations and /tf: no failure, no position out of range, no odd covariance."""
    fuzzer = Fuzzer(seed)
    outcome = fuzzer.run(150)
    fuzzer.close()
    assert not outcome.broken
    assert outcome.points['OK'] > 50 and outcome.points['NO_CAMERA_INFO'] > 50


@pytest.fixture
def fed(settings):
    """Streams of a node that is fed by hand, with a color image and depth."""
    node = FedNode()
    streams = CameraStreams(node, settings.streams, TransformTree(cache_time=30.0))

    def feed(seconds, grey=90):
        """An image of one grey, or half a message of none."""
        header = Header(stamp=stamp_message(seconds * SECOND), frame_id='eye_optical')
        node.feed('depth', depth_message(np.full((6, 8), 2.0, np.float32), '16UC1', header))
        image = color_message(np.full((6, 8, 3), grey or 0, np.uint8), header)
        node.callbacks['image'](serialize_message(image)[: None if grey else 40])

    feed(70)
    return feed, streams


def test_bytes_that_are_no_image_are_told_and_the_next_image_is_used(fed, settings):
    feed, streams = fed
    feed(71, grey=None)
    with pytest.raises(Refused, match='/image: it is no Image') as caught:
        streams.capture(settings.frames)
    assert caught.value.status is Status.NO_FRAME
    feed(72, grey=200)
    assert streams.capture(settings.frames).frame.color.max() == 200


def test_who_asks_about_a_frame_again_does_not_wait_for_it_to_be_read_again(fed, settings):
    feed, streams = fed
    first, second = (streams.capture(settings.frames).frame for _ in range(2))
    assert first.color is second.color and first.depth is second.depth
    in_steps = replace(settings.frames, depth_unit=0.0005)
    assert streams.capture(in_steps).frame.depth.max() == pytest.approx(1.0)
    feed(72, grey=200)
    assert streams.capture(settings.frames).frame.color.max() == 200


def test_a_bright_image_that_is_read_meanwhile_sets_the_scale_too(settings, monkeypatch):
    """Else the next dark image of a 16-bit camera is shown, and asked about, as a bright one."""
    node = FedNode()
    streams = CameraStreams(node, settings.streams, TransformTree(cache_time=30.0))
    bits = ColorPixels.bits

    def shown(seconds, number):
        header = Header(stamp=stamp_message(seconds * SECOND), frame_id='eye_optical')
        data = np.full((6, 8), number, '<u2').tobytes()
        image = Image(header=header, height=6, width=8, encoding='mono16', step=16, data=data)
        node.feed('image', image)
        return streams.capture(settings.frames).frame.color.max()

    def bright_meanwhile(pixels):
        found = bits.fget(pixels)
        if found == 12:
            monkeypatch.setattr(ColorPixels, 'bits', bits)
            assert shown(72, 0xF000) == 0xF0
        return found

    assert shown(70, 200) == 200
    monkeypatch.setattr(ColorPixels, 'bits', property(bright_meanwhile))
    shown(71, 0x0800)
    assert shown(73, 0x0800) == 0x08


def test_images_are_heard_whatever_the_executor_of_the_node_does(settings, wall_camera):
    """Here it has none at all."""
    context = Context()
    rclpy.init(context=context)
    node = Node('deaf', namespace='apart_from_all', context=context)
    streams = CameraStreams(node, settings.streams, TransformTree(cache_time=30.0))
    streams.start()
    with wall_camera('apart_from_all'):
        end = time.monotonic() + 60
        while not all(streams.state(name).received for name in ('image', 'depth', 'camera_info')):
            assert time.monotonic() < end, 'nothing was heard'
            time.sleep(0.01)
    streams.close()
    heard = streams.state('image').received
    assert streams.capture(settings.frames).frame.camera is not None
    assert streams.state('image').received == heard
    node.destroy_node()
    rclpy.try_shutdown(context=context)
