# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros check-camera --ros`: what it says of what cameras publish."""

import json
import re

from molmo_ros.cli import main


def checked(capsys, *arguments):
    status = main(['check-camera', '--ros', '--seconds', '2', '--json', *arguments])
    return status, json.loads(capsys.readouterr().out)['findings']


def texts(findings, what, good):
    return [f['text'] for f in findings if f['what'] == what and f['good'] is good]


def test_topics_that_fit_are_told_with_their_rates_sizes_and_frames(wall_camera, capsys):
    with wall_camera('seen'):
        status, findings = checked(capsys, '--ros-args', '-r', '__ns:=/seen')
    assert status == 0, findings
    (image,) = texts(findings, 'image', True)
    assert re.match(r"/seen/image: \d+\.\d Hz, 160x120 rgb8, frame 'wrist_optical_frame'", image)
    (depth,) = texts(findings, 'depth', True)
    assert '160x120 16UC1' in depth and "+0.000 s from an image's" in depth
    assert 'too few edges' in texts(findings, 'alignment', None)[0]
    assert '160x120' in texts(findings, 'calibration', None)[0]


def test_what_is_missing_or_of_another_frame_is_wrong(wall_camera, capsys):
    camera = wall_camera('half', ['image', 'depth'])
    camera.messages['depth'].header.frame_id = 'camera_depth_frame'
    with camera:
        topics = ('--image', '/half/image', '--depth', '/half/depth')
        status, findings = checked(capsys, *topics, '--camera-info', '/nowhere/camera_info')
    assert status == 1
    assert 'nobody publishes /nowhere/camera_info' in texts(findings, 'camera_info', False)[0]
    assert "'camera_depth_frame'" in texts(findings, 'frames', None)[0]


def test_without_a_camera_it_says_who_is_missing(capsys):
    status, findings = checked(capsys, '--image', '/nobody/image')
    assert status == 1
    assert 'nobody publishes /nobody/image' in texts(findings, 'frame', False)[0]


def test_a_wrong_parameter_is_told_in_a_sentence(capsys):
    words = ['--ros', '--ros-args', '-p', 'depth_pose:=sideways']
    assert main(['check-camera', *words]) == 2
    assert 'depth_pose' in capsys.readouterr().err
