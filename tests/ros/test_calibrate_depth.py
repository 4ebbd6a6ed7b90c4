# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros calibrate depth --ros`: the noise of a camera that publishes a wall."""

import json

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from molmo_ros.cli import main
from molmo_ros.ros import qos
from molmo_ros.ros.conversions import camera_info_message, depth_message
from molmo_ros.spatial import CameraModel

WIDTH, HEIGHT, FOCAL, BASELINE, SIGMA = 424, 240, 305.0, 0.07, 0.15
CAMERA = CameraModel(WIDTH, HEIGHT, np.array([[FOCAL, 0, 214.0], [0, FOCAL, 118.0], [0, 0, 1]]))
WORDS = ['--ros', '--seconds', '1.5', '--baseline', str(BASELINE), '--json']


def noisy_wall(camera, encoding, unit=1.0):
    """The camera before a wall at 0.7 m, of which it publishes another noise each time."""
    header = Header(frame_id='imager')
    random, publish = np.random.default_rng(3), camera.publish
    camera.messages['camera_info'] = camera_info_message(CAMERA, header)

    def next_view(stamp_ns=None):
        disparity = FOCAL * BASELINE / 0.7 + SIGMA * random.standard_normal((HEIGHT, WIDTH))
        metres = (FOCAL * BASELINE / disparity).astype(np.float32)
        camera.messages['depth'] = depth_message(metres / unit, encoding, header)
        publish(stamp_ns)

    camera.publish = next_view
    return camera


@pytest.mark.parametrize(('encoding', 'unit'), [('32FC1', None), ('16UC1', 0.0002)])
def test_the_noise_is_that_of_what_is_published(wall_camera, capsys, encoding, unit):
    """Its camera_info goes with it, and so does the unit that the option says."""
    said = ['--depth-unit', str(unit)] if unit else []
    topics = ['--depth', '/noisy/depth', '--camera-info', '/noisy/camera_info', *said]
    steps_of = unit * 1000 if unit else 1.0
    with noisy_wall(wall_camera('noisy', ['depth', 'camera_info']), encoding, steps_of):
        assert main(['calibrate', 'depth', *WORDS, *topics]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['noise']['disparity_sigma'] == pytest.approx(SIGMA, rel=0.05)
    assert found['distance'] == pytest.approx(0.7, rel=0.01)
    assert found['patches'] > 2 * 8, 'several views, not one'


def test_what_does_not_come_is_named(wall_camera, capsys):
    topics = ['--depth', '/bare/depth', '--camera-info', '/bare/nowhere']
    assert main(['calibrate', 'depth', *WORDS, *topics]) == 2
    assert 'nobody publishes /bare/depth' in capsys.readouterr().err
    with noisy_wall(wall_camera('bare', ['depth']), '32FC1'):
        assert main(['calibrate', 'depth', *WORDS, *topics]) == 2
    assert 'nobody publishes /bare/nowhere' in capsys.readouterr().err


def test_a_calibration_that_was_published_once_before_is_heard(wall_camera, capsys):
    """Some drivers latch their camera_info; that it bears no time is said."""
    camera = noisy_wall(wall_camera('once', ['depth']), '32FC1')
    latched = camera.node.create_publisher(CameraInfo, 'camera_info', qos.LATCHED)
    latched.publish(camera.messages['camera_info'])
    with camera:
        assert main(['calibrate', 'depth', *WORDS, '--ros-args', '-r', '__ns:=/once']) == 0
    (assumed,) = json.loads(capsys.readouterr().out)['assumed']
    assert 'stamped 0' in assumed


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['wall.png', '--ros'], '--camera-info'),
        (['--depth', '/depth'], '--ros'),
        (['--ros', '--seconds', '0'], '--seconds'),
        (['--ros', '--ros-args', '-p', 'rectified:=maybe'], 'rectified'),
    ],
)
def test_words_that_do_not_go_together_are_refused(capsys, words, said):
    assert main(['calibrate', 'depth', *words]) == 2
    assert said in capsys.readouterr().err
