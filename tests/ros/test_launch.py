# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The launch file, with the nodes it starts: a driver and RViz stand in for the real ones.

Where launch is installed it runs the file; on the wheels, which have none, a stand-in does.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.domain import free_domain
from molmo_ros.spatial import LiftStatus

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / 'launched'
OURS = ROOT / 'launch/perception.launch.py'
PROGRAMS = {
    'molmo_ros/point_query_node': f'{Path(__file__).parent / "scripted_node.py"}',
    'molmo_ros/tabletop_camera': f'{ROOT / "molmo_ros/tabletop/camera_node.py"}',
    'realsense2_camera/realsense2_camera_node': f'{HERE / "realsense.py"}',
}


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A prefix with molmo_ros, a RealSense's driver and an RViz that writes down its arguments.

    In a domain of its own: other tests have a node at the root, too.
    """
    monkeypatch.setenv('ROS_DOMAIN_ID', str(free_domain()))
    prefix = tmp_path / 'ws'
    for package in ('molmo_ros', 'realsense2_camera', 'rviz2'):
        marker = prefix / 'share/ament_index/resource_index/packages' / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    (prefix / 'share/molmo_ros').mkdir()
    (prefix / 'share/molmo_ros/config').symlink_to(ROOT / 'config')
    (prefix / 'share/realsense2_camera/launch').mkdir(parents=True)
    driver = prefix / 'share/realsense2_camera/launch/rs_launch.py'
    driver.write_text((HERE / 'rs_launch.py').read_text())
    for name, script in PROGRAMS.items():
        program(prefix / 'lib' / name, f'exec "{sys.executable}" "{script}" "$@"')
    program(
        prefix / 'lib/rviz2/rviz2',
        f'printf "%s\\n" "$@" > {tmp_path}/part && mv {tmp_path}/part {tmp_path}/rviz\n'
        'exec sleep 600',
    )
    inherited = os.environ.get('AMENT_PREFIX_PATH', sys.prefix)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{prefix}:{inherited}')
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}:{os.environ.get("PYTHONPATH", "")}')
    monkeypatch.setenv('SEEN_BY_THE_DRIVER', str(tmp_path))
    return tmp_path


@pytest.fixture
def launched(workspace, run):
    """Launches with arguments, until the test is over."""
    with ExitStack() as stack:

        def start(**arguments):
            words = [f'{name}:={value}' for name, value in arguments.items()]
            stack.enter_context(run(str(HERE / 'run.py'), str(OURS), *words))

        yield start


@pytest.fixture
def client():
    with ExitStack() as stack:

        def make(namespace=''):
            client = stack.enter_context(PointQueryClient(namespace))
            assert client.wait_until_ready(120)
            return client

        yield make


def answer(client, **asked):
    """Of a node that sees its camera, depth and all."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        answered = client.ask('at 70 50', **asked)
        if answered.status is Status.SUCCESS:
            surface = answered.points[0].surface
            if surface.status is LiftStatus.OK:
                return answered.frame_id, surface.position
    pytest.fail(f'no position: {answered.status.name}, {answered.message}')


def read_when_there(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f'{path.name} was never written'
        time.sleep(0.02)
    return path.read_text()


def test_cameras_in_two_namespaces_are_seen_and_have_frames_of_their_own(
    workspace, launched, client
):
    launched(camera='realsense', namespace='left', serial_no='0123')
    launched(camera='realsense', namespace='/arm/right', camera_name='wrist')
    frame, position = answer(client('left'))
    assert frame == 'left_camera_color_optical_frame'
    assert position[2] == pytest.approx(0.9, abs=2e-3)
    frame, position = answer(client('arm/right'), target_frame='arm_right_wrist_link')
    assert frame == 'arm_right_wrist_link'
    assert position[0] == pytest.approx(0.9, abs=2e-3)
    seen = json.loads((workspace / 'left_.json').read_text())
    assert seen['serial_no'].lstrip('_') == '0123'


def test_the_driver_sees_its_own_arguments_and_none_of_ours(workspace, launched, client):
    launched(
        **{'camera': 'realsense', 'rviz': 'true', 'depth_module.depth_profile': '424x240x30'},
        **{'tf_prefix': 'robot/', 'image_transport': 'raw', 'use_sim_time': 'false'},
    )
    assert answer(client())[0] == 'robot/camera_color_optical_frame'
    seen = json.loads((workspace / 'robot_.json').read_text())
    assert seen['depth_module.depth_profile'] == '424x240x30'
    assert seen['align_depth.enable'] == 'true' and seen['serial_no'] == "''"
    ours = 'camera checkpoint adapter params_file namespace rviz fixed_frame use_sim_time image '
    ours += 'depth camera_info depth_camera_info image_transport depth_transport '
    ours += 'autostart exit_when_dead respawn respawn_delay'
    assert not seen.keys() & set(ours.split())


def test_compressed_streams_come_from_below_the_topics_of_the_camera(
    workspace, launched, client, monkeypatch
):
    monkeypatch.setenv('ONLY_COMPRESSED', '1')
    transports = {'image_transport': 'compressed', 'depth_transport': 'compressedDepth'}
    launched(camera='realsense', camera_name='head', rviz='true', **transports)
    frame, position = answer(client())
    assert frame == 'head_color_optical_frame' and position[2] == pytest.approx(0.9, abs=2e-3)
    words = read_when_there(workspace / 'rviz').splitlines()
    assert 'image/compressed:=head/color/image_raw/compressed' in words
    depth = 'head/aligned_depth_to_color/image_raw'
    assert f'depth/compressedDepth:={depth}/compressedDepth' in words
    displays = read_displays(words)
    assert displays['Camera']['Topic']['Value'] == 'image/compressed'
    assert displays['Cloud']['Color Transport Hint'] == 'compressed'
    assert displays['Cloud']['Depth Map Transport Hint'] == 'compressedDepth'


def read_displays(words):
    """RViz's displays, by name."""
    config = yaml.safe_load(Path(words[words.index('-d') + 1]).read_text())
    return {d['Name']: d for d in config['Visualization Manager']['Displays']}


def test_streams_by_their_names_and_rviz_in_the_frame_that_is_asked_for(
    workspace, launched, client
):
    launched(
        rviz='true',
        fixed_frame='base_link',
        image='/kinect/rgb/image_raw',
        depth='/kinect/depth/image_raw',
        camera_info='/kinect/rgb/camera_info',
        depth_camera_info='/kinect/depth/camera_info',
    )
    answered = client().ask('at 70 50')
    assert 'nobody publishes /kinect/rgb/image_raw' in answered.message
    words = read_when_there(workspace / 'rviz').splitlines()
    assert words[words.index('-f') + 1] == 'base_link'
    # The cloud is made of the depth, so by the depth's own calibration.
    for remapping in (
        'image:=/kinect/rgb/image_raw',
        'depth:=/kinect/depth/image_raw',
        'camera_info:=/kinect/rgb/camera_info',
        'depth_camera_info:=/kinect/depth/camera_info',
        '/camera_info:=/kinect/depth/camera_info',
    ):
        assert remapping in words
    cloud = read_displays(words)['Cloud']
    assert cloud['Depth Map Topic'] == 'depth' and cloud['Color Image Topic'] == 'image'


def test_rendered_cameras_in_two_namespaces_have_frames_of_their_own(launched, client, tmp_path):
    small = tmp_path / 'small.yaml'
    small.write_text('/**/tabletop_camera: {ros__parameters: {width: 160, height: 120, rate: 5}}\n')
    launched(camera='demo', namespace='near', params_file=small)
    launched(camera='demo', namespace='far', params_file=small, camera_name='top')
    assert answer(client('near'))[0] == 'near_camera_color_optical_frame'
    assert answer(client('far'))[0] == 'far_top_color_optical_frame'
    for namespace in ('near', 'far'):
        assert abs(answer(client(namespace), target_frame='table')[1][2]) < 0.5


def process_with(*words):
    """The id of a process of ours with these words in its command line."""
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            command = (folder / 'cmdline').read_text().split('\0')
        except OSError:
            continue
        if set(words) <= set(command):
            return int(folder.name)
    return None


def test_a_node_that_was_killed_is_started_again_and_answers(launched, client, tmp_path):
    launched(camera='demo', namespace='again', respawn_delay='0.1')
    answer(client('again'))
    words = PROGRAMS['molmo_ros/point_query_node'], '__ns:=/again'
    killed = process_with(*words)
    os.kill(killed, signal.SIGKILL)
    end = time.monotonic() + 60
    while (another := process_with(*words)) in (None, killed):
        assert time.monotonic() < end, 'it was not started again'
        time.sleep(0.05)
    answer(client('again'))
    assert process_with(*words) == another


def test_a_node_that_is_left_to_a_manager_waits_for_it(launched):
    launched(namespace='still', autostart='false')
    with PointQueryClient('still') as client:
        answered = client.ask('at 70 50')
    assert answered.status is Status.NOT_READY
    assert 'ros2 lifecycle set /still/molmo_point_query configure' in answered.message


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ({'respawn_delay': 'soon'}, "respawn_delay is 'soon'"),
        ({'params_file': '/no/such/mine.yaml'}, 'there is no params_file /no/such/mine.yaml'),
        ({'camera': 'realsense'}, 'camera:=realsense needs the package realsense2_camera'),
    ],
)
def test_what_is_not_there_stops_the_launch_with_a_sentence(workspace, arguments, sentence):
    (workspace / 'ws/share/ament_index/resource_index/packages/realsense2_camera').unlink()
    words = [f'{name}:={value}' for name, value in arguments.items()]
    ended = subprocess.run(
        [sys.executable, str(HERE / 'run.py'), str(OURS), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode != 0 and sentence in told and 'Traceback' not in told
