# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of librealsense's recorder, through the camera node, to answers of /point_query."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.software_realsense import record
from molmo_ros.ros.answering import Status
from molmo_ros.spatial import CameraModel, LiftStatus

UNIT = 0.00025
COLOR = CameraModel(160, 120, np.array([[120.0, 0, 81.2], [0, 121.0, 58.4], [0, 0, 1]]))
DEPTH = CameraModel(160, 120, np.array([[101.0, 0, 78.8], [0, 100.0, 60.9], [0, 0, 1]]))
BASELINE = np.array([0.0147, 0.0003, 0.0])
DISTANCE = 0.62155


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """A board that stands straight before the camera, for half a second."""
    path = tmp_path_factory.mktemp('realsense') / 'board.db3'
    color = np.random.default_rng(3).integers(0, 255, (120, 160, 3), np.uint8)
    counts = np.full((120, 160), round(DISTANCE / UNIT), np.uint16)
    T = np.eye(4)
    T[:3, 3] = BASELINE
    record(path, [(color, counts)] * 15, COLOR, DEPTH, T, UNIT)
    return path


@pytest.mark.parametrize('namespace, aligned', [('depthcam', 'false'), ('aligned', 'true')])
def test_points_of_a_recording_are_right_to_the_quantum(
    namespace, aligned, recording, run, client_of
):
    settings = [f'recording:={recording}', f'align_depth:={aligned}']
    arguments = [word for setting in settings for word in ('-p', setting)]
    module = 'molmo_ros.ros.realsense_camera'
    link = f'{namespace}_camera_link'
    with run('-m', module, '--ros-args', '-r', f'__ns:=/{namespace}', *arguments):
        client = client_of(namespace)
        for _ in range(600):
            answered = client.ask('at 70.5 40.5 at 100.5 90.5', target_frame=link)
            if answered.status is Status.SUCCESS and answered.message == '':
                break
    assert answered.message == '' and answered.frame_id == link
    for (u, v), point in zip([(70, 40), (100, 90)], answered.points, strict=True):
        assert point.surface.status is LiftStatus.OK
        x, y, z = COLOR.ray(u, v) * round(DISTANCE / UNIT) * UNIT
        # camera_link is where the depth camera is, x forward and z up.
        expected = np.array([z, -(x - BASELINE[0]), -(y - BASELINE[1])])
        assert np.abs(point.surface.position - expected).max() < UNIT


def test_a_recording_that_is_not_there_is_told():
    command = [sys.executable, '-m', 'molmo_ros.ros.realsense_camera', '--ros-args']
    arguments = ['-p', 'recording:=/nowhere/at/all.db3']
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1 and 'Traceback' not in result.stderr
    assert '/nowhere/at/all.db3 is no file' in result.stderr


def test_without_a_camera_the_node_says_so_and_waits(run):
    with run('-m', 'molmo_ros.ros.realsense_camera') as process:
        for line in process.stderr:
            if 'no RealSense is connected' in line:
                break
    assert 'trying again' in line
