# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""On a recorded arm, transforms must be those that tf2 gave, and missing where tf2 had none.

recorded_arm/record.py says how the recording was made, recorded_arm/tf2.json what tf2 answered.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

from molmo_ros.ros.sync import stamp_ns
from molmo_ros.ros.transforms import NoTransform, TransformTree

RECORDED = Path(__file__).parent / 'recorded_arm'
SAYS = {
    'unknown': 'not on /tf',
    'disconnected': 'not connected',
    'future': 'newest sample',
    'past': 'oldest sample',
    # tf2 on a frame with a single sample; here that is before or after it.
    'extrapolation': 'sample',
}


def messages():
    with Reader(RECORDED) as recording:
        for connection, _, data in recording.messages():
            yield connection.topic, deserialize_message(bytes(data), TFMessage)


@pytest.fixture(scope='module')
def answers():
    """What tf2 said and what we say, in pairs: each asked when as many messages had arrived."""
    expected = json.loads((RECORDED / 'tf2.json').read_text())
    tree = TransformTree(expected['cache_time'])
    waiting, pairs = iter(expected['lookups']), []
    lookup = next(waiting, None)
    for arrived, (topic, message) in enumerate(messages(), 1):
        for sample in message.transforms:
            parent, child = sample.header.frame_id, sample.child_frame_id
            static = topic == '/tf_static'
            tree.add(parent, child, stamp_ns(sample), sample.transform, static=static)
        while lookup is not None and lookup['after'] == arrived:
            try:
                ours = tree.look_up(lookup['target'], lookup['source'], lookup['stamp'])
            except NoTransform as error:
                ours = str(error)
            pairs.append((lookup, ours))
            lookup = next(waiting, None)
    assert lookup is None
    return pairs


def test_the_recording_has_what_makes_it_hard(answers):
    newest, behind, again = {}, 0, 0
    for topic, message in messages():
        for sample in message.transforms if topic == '/tf' else ():
            stamp = stamp_ns(sample)
            last = newest.setdefault(sample.child_frame_id, stamp - 1)
            behind, again = behind + (stamp < last), again + (stamp == last)
            newest[sample.child_frame_id] = max(stamp, last)
    assert behind > 10 and again > 10
    kinds = Counter(lookup.get('error', 'pose') for lookup, _ in answers)
    assert kinds['pose'] > 300 and min(kinds[kind] for kind in ('future', 'past', 'unknown')) > 30


def test_poses_are_those_of_tf2(answers):
    for lookup, ours in answers:
        if 'pose' in lookup:
            assert not isinstance(ours, str), (lookup, ours)
            position, quaternion = lookup['pose'][:3], lookup['pose'][3:]
            np.testing.assert_allclose(ours[:3, 3], position, atol=1e-11, err_msg=str(lookup))
            matrix = Rotation.from_quat(quaternion).as_matrix()
            np.testing.assert_allclose(ours[:3, :3], matrix, atol=1e-11, err_msg=str(lookup))


def test_where_tf2_has_none_there_is_none_for_the_same_reason(answers):
    for lookup, ours in answers:
        if 'error' in lookup:
            assert isinstance(ours, str), lookup
            assert SAYS[lookup['error']] in ours, (lookup, ours)
