# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of librealsense's own recorder, played back through its own pipeline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.software_realsense import SERIAL, record
from molmo_ros.cameras.files import write_camera, write_color, write_depth
from molmo_ros.cameras.librealsense import (
    camera_of,
    is_realsense_recording,
    load_librealsense,
    set_preset,
)
from molmo_ros.cameras.opening import open_source
from molmo_ros.cameras.realsense import RealSense, RealSenseSettings
from molmo_ros.cli import main
from molmo_ros.errors import UserError
from molmo_ros.grounding.ground import ground
from molmo_ros.pointing import ImagePoint
from molmo_ros.spatial import CameraModel, LiftStatus
from molmo_ros.tabletop.samples.table_views import view_of

rs = load_librealsense()
UNIT = 0.0005
COLOR = CameraModel(
    160,
    120,
    np.array([[131.0, 0, 78.2], [0, 130.0, 61.1], [0, 0, 1]]),
    np.array([0.08, -0.1, 0.001]),
)
DEPTH = CameraModel(160, 120, np.array([[104.0, 0, 80.9], [0, 104.5, 58.7], [0, 0, 1]]))
ANGLE = 0.03
T_COLOR_DEPTH = np.array(
    [
        [np.cos(ANGLE), 0, np.sin(ANGLE), 0.0151],
        [0, 1, 0, -0.0007],
        [-np.sin(ANGLE), 0, np.cos(ANGLE), 0.0021],
        [0, 0, 0, 1],
    ]
)
NORMAL, OFFSET = np.array([0.1, -0.45, -0.9]), -0.7  # of a wall, in the color camera's frame


def counts_of_wall():
    """What the depth camera sees of the wall."""
    v, u = np.mgrid[:120, :160]
    rays = DEPTH.ray(u.ravel(), v.ravel()) @ T_COLOR_DEPTH[:3, :3].T
    depth = (OFFSET - NORMAL @ T_COLOR_DEPTH[:3, 3]) / (rays @ NORMAL)
    return np.rint(depth.reshape(120, 160) / UNIT).astype(np.uint16)


def on_wall(u, v):
    ray = COLOR.ray(u, v)
    return ray * OFFSET / (ray @ NORMAL)


@pytest.fixture(scope='module')
def wall(tmp_path_factory):
    """A wall, in pictures that are as bright as their number."""
    path = tmp_path_factory.mktemp('realsense') / 'wall.db3'
    counts = counts_of_wall()
    frames = [(np.full((120, 160, 3), 9 * n, np.uint8), counts) for n in range(20)]
    record(path, frames, COLOR, DEPTH, T_COLOR_DEPTH, UNIT)
    return path


@pytest.fixture
def connected(wall):
    """A context with a camera in it, as if it were connected, and the serial number; it gives
    some frames and then none until it is reset."""
    context = rs.context()
    device = context.load_device(str(wall))
    yield context
    del device


def test_points_are_right_to_the_quantum_of_the_depth(wall):
    with open_source(str(wall)) as source:
        capture = source.capture()
    pixels = [(u, v) for u in (30.5, 80.5, 120.5) for v in (30.5, 60.5, 90.5)]
    found = ground([ImagePoint(u, v, '') for u, v in pixels], capture)
    for (u, v), point in zip(pixels, found.points, strict=True):
        assert point.surface.status is LiftStatus.OK
        # Molmo's pixels have their corner at whole numbers, cameras their centre.
        expected = on_wall(u - 0.5, v - 0.5)
        assert np.abs(point.surface.position - expected).max() < UNIT
    assert not found.assumed
    assert SERIAL in source.about and 'wall.db3' in source.about


def test_aligned_depth_is_of_the_color_picture(wall):
    with RealSense(RealSenseSettings(recording=wall, align=True)) as source:
        capture = source.capture()
    assert capture.registration is None
    # librealsense copies depths as they are; the cameras are turned and moved against each other.
    v, u = np.mgrid[30:90:10, 30:120:10]
    expected = [on_wall(*pixel)[2] for pixel in zip(u.ravel(), v.ravel(), strict=True)]
    np.testing.assert_allclose(capture.frame.depth[v, u].ravel(), expected, atol=0.03)


def test_a_later_time_shows_a_later_picture(wall):
    with open_source(str(wall)) as source:
        first, later, again = (source.capture(at) for at in (0.0, 0.35, 0.0))
        with pytest.raises(UserError, match='not within it'):
            source.capture(60.0)
    assert later.frame.color.mean() > max(first.frame.color.mean(), again.frame.color.mean())
    assert later.frame.stamp > max(first.frame.stamp, again.frame.stamp)


def test_a_recording_has_an_end_and_can_be_repeated(wall):
    with (
        RealSense(RealSenseSettings(recording=wall)) as source,
        pytest.raises(UserError, match='no more frames'),
    ):
        for _ in range(40):
            source.read()
    with RealSense(RealSenseSettings(recording=wall, repeat=True)) as source:
        assert all(source.read() is not None for _ in range(40))


def test_a_camera_is_found_by_its_serial_number(connected):
    for serial in (SERIAL, ''):
        with RealSense(RealSenseSettings(serial=serial), context=connected) as source:
            assert source.serial == SERIAL
            assert source.read().frame.depth is not None
    with pytest.raises(UserError, match=f'RealSense 17 is not.*there are: {SERIAL}'):
        RealSense(RealSenseSettings(serial='17'), context=connected)


def test_a_camera_that_stalls_is_reset_and_goes_on(connected):
    said = []
    settings = RealSenseSettings(patience=0.6)
    with RealSense(settings, log=said.append, context=connected) as source:
        assert all(source.read() is not None for _ in range(30))
    assert said and all(f'{SERIAL} gave no frame for 0.6 s' in text for text in said)


def test_whoever_waits_for_a_camera_can_stop(connected):
    stop = []
    settings = RealSenseSettings(patience=600)
    with RealSense(settings, lambda: bool(stop), context=connected) as source:
        assert source.read() is not None
        stop.append(True)
        assert source.read() is None


def test_recordings_of_librealsense_are_told_from_those_of_ros(wall, tmp_path):
    assert is_realsense_recording(wall)
    old = tmp_path / 'old.bag'
    old.write_bytes(b'#ROSBAG V2.0\n' + bytes(3 << 20) + b'topic=/device_0/sensor_0/Depth_0/info')
    assert is_realsense_recording(old)
    for name in ('ros.bag', 'ros.db3'):
        (tmp_path / name).write_bytes(b'#ROSBAG V2.0\n topic=/camera/color/image_raw')
        assert not is_realsense_recording(tmp_path / name)


def test_a_file_that_is_no_recording_is_told(tmp_path):
    path = tmp_path / 'broken.db3'
    path.write_bytes(b'nothing')
    with pytest.raises(UserError, match=r'broken\.db3 is no recording of librealsense'):
        RealSense(RealSenseSettings(recording=path))


@pytest.mark.parametrize('model', ['inverse_brown_conrady', 'modified_brown_conrady'])
def test_every_lens_model_is_followed_to_a_quarter_of_a_pixel(model):
    own = rs.intrinsics()
    own.width, own.height, own.fx, own.fy, own.ppx, own.ppy = 848, 480, 610, 612, 420, 236
    own.model, own.coeffs = getattr(rs.distortion, model), [0.06, -0.12, 0.0008, -0.0005, 0.03]
    camera, assumed = camera_of(own)
    assert not assumed
    for point in np.random.default_rng(5).uniform((-0.5, -0.3, 1), (0.5, 0.3, 1), (50, 3)):
        theirs = rs.rs2_project_point_to_pixel(own, point.tolist())
        np.testing.assert_allclose(camera.project(point), theirs, atol=0.25)


def test_a_lens_that_no_model_of_ours_follows_is_told():
    own = rs.intrinsics()
    own.width, own.height, own.fx, own.fy, own.ppx, own.ppy = 1280, 720, 640, 640, 640, 360
    own.model, own.coeffs = rs.distortion.ftheta, [0.9, 0, 0, 0, 0]
    assert 'ftheta' in camera_of(own)[1]


def test_a_preset_that_there_is_none_of_is_refused_with_those_that_there_are():
    sensor = rs.software_device().add_sensor('Depth')
    with pytest.raises(UserError, match="no preset 'High Accuracy', it has: none"):
        set_preset(sensor, 'High Accuracy')
    span = rs.option_range()
    span.min, span.max, span.step, span.default = 0, 5, 1, 0
    sensor.add_option(rs.option.visual_preset, span, True)
    set_preset(sensor, '3')
    assert sensor.get_option(rs.option.visual_preset) == 3


def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path):
    """As where only the base is installed."""
    (tmp_path / 'sitecustomize.py').write_text(
        'import importlib.util as u\n'
        'found = u.find_spec\n'
        "u.find_spec = lambda n, *a: None if n in ('pyrealsense2', 'rosbags') else found(n, *a)\n"
    )
    (tmp_path / 'x.mcap').write_bytes(b'')
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    for arguments, extra in ((['--camera', 'realsense'], 'realsense'), (['x.mcap'], 'bags')):
        command = [sys.executable, '-m', 'molmo_ros.cli', 'ask', *arguments, 'mug']
        environment = {**os.environ, 'PYTHONPATH': path}
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 2
        assert f"pip install 'molmo-ros[{extra}]'" in result.stderr


def test_ask_answers_about_a_recording_as_about_its_files(tmp_path, capsys):
    view = view_of(5001)
    color, depth, camera = view.picture.color, view.picture.depth, view.picture.camera
    counts = np.rint(np.nan_to_num(depth) / 0.001).astype(np.uint16)
    path = tmp_path / 'table.db3'
    record(path, [(color, counts)] * 3, camera, camera, np.eye(4), 0.001)
    write_color(tmp_path / 'color.png', color)
    write_depth(tmp_path / 'depth.png', depth)
    write_camera(tmp_path / 'camera.yaml', camera)
    item = view.scene.objects[0]
    query = f'the {item.colour} {item.kind}'
    files = ['--depth', str(tmp_path / 'depth.png'), '--camera', str(tmp_path / 'camera.yaml')]
    assert main(['ask', str(tmp_path / 'color.png'), query, *files, '--json']) == 0
    expected = json.loads(capsys.readouterr().out)['points']
    assert main(['ask', str(path), query, '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert main(['ask', '--camera', str(path), query, '--json']) == 0
    as_camera = json.loads(capsys.readouterr().out)
    assert as_camera['points'][0]['position'] == report['points'][0]['position']
    # Played in real time, a recording may begin with its second frame; these are alike.
    played, played_again = (told['source'].partition(', stamp')[0] for told in (report, as_camera))
    assert played == played_again and 'table.db3' in played
    assert len(report['points']) == len(expected) == 1
    (point,), (as_file,) = report['points'], expected
    assert (point['u'], point['v']) == (as_file['u'], as_file['v'])
    assert point['status_3d'] == as_file['status_3d'] == 'OK'
    np.testing.assert_allclose(point['position'], as_file['position'], atol=0.001)
