# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the camera's topics make of wild and of looping recordings; no DDS in between."""

from copy import deepcopy

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, Vector3
from std_msgs.msg import Header

from benchmarks.fuzz_requests import FedNode, Fuzzer
from molmo_ros.ros import parameters
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
