# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures, depth and calibration as people have them on disk."""

import json

import cv2
import numpy as np
import pytest
import yaml

from molmo_ros.cameras.files import (
    read_camera,
    read_color,
    read_depth,
    write_camera,
    write_color,
    write_depth,
)
from molmo_ros.errors import UserError

K = [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
D = [0.1, -0.05, 0.001, 0.002, 0.01]
P = [480.0, 0.0, 320.0, 0.0, 0.0, 480.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
MESSAGE = {
    'header': {'stamp': {'sec': 1, 'nanosec': 2}, 'frame_id': 'optical'},
    'height': 480,
    'width': 640,
    'distortion_model': 'plumb_bob',
    'd': D,
    'k': K,
    'r': [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    'p': P,
    'binning_x': 0,
    'binning_y': 0,
    'roi': {'x_offset': 0, 'y_offset': 0, 'height': 0, 'width': 0, 'do_rectify': False},
}
CALIBRATION = {
    'image_width': 640,
    'image_height': 480,
    'camera_name': 'wrist',
    'camera_matrix': {'rows': 3, 'cols': 3, 'data': K},
    'distortion_model': 'plumb_bob',
    'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': D},
    'rectification_matrix': {'rows': 3, 'cols': 3, 'data': MESSAGE['r']},
    'projection_matrix': {'rows': 3, 'cols': 4, 'data': P},
}
BRIEF = {'width': 640, 'height': 480, 'K': [K[:3], K[3:6], K[6:]], 'D': D}


@pytest.mark.parametrize(
    'text',
    [
        pytest.param(yaml.safe_dump(MESSAGE) + '---\n', id='ros2 topic echo'),
        pytest.param(yaml.safe_dump(CALIBRATION), id='camera_calibration'),
        pytest.param(json.dumps(BRIEF), id='JSON by hand'),
    ],
)
def test_a_calibration_is_read_as_it_comes(text, tmp_path):
    path = tmp_path / 'camera'
    path.write_text(text)
    camera = read_camera(path, (640, 480))
    assert camera.K.ravel().tolist() == K
    assert camera.D.tolist() == D
    assert (camera.width, camera.height) == (640, 480)


def test_a_rectified_image_goes_by_P(tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(MESSAGE))
    camera = read_camera(path, (640, 480), rectified=True)
    assert camera.K[0, 0] == 480 and not camera.D.any()
    path.write_text(json.dumps(BRIEF))
    with pytest.raises(UserError, match='it should have P'):
        read_camera(path, (640, 480), rectified=True)


def test_a_calibration_for_another_size_of_the_same_view_is_scaled(tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(MESSAGE))
    assert read_camera(path, (320, 240)).K[0, 0] == 250.0


@pytest.mark.parametrize(
    'text, complaint',
    [
        ('', 'no camera_info'),
        ('just words', 'no camera_info'),
        ('{', 'neither YAML nor JSON'),
        ('width: 640', 'no camera_info'),
        (yaml.safe_dump({**MESSAGE, 'k': [1.0, 2.0]}), 'k should have 9 numbers, it has 2'),
        (yaml.safe_dump({**MESSAGE, 'k': [0.0] * 9}), 'not calibrated'),
        (yaml.safe_dump({**MESSAGE, 'k': [1.0, 0, 0, 0, 1, 0, 0, 0, 1]}), 'set rectified'),
        (yaml.safe_dump({**BRIEF, 'K': np.reshape(K, (3, 3)).T.tolist()}), 'column order'),
        (yaml.safe_dump({**CALIBRATION, 'rectification_matrix': [3.0] * 9}), 'no rotation'),
        (yaml.safe_dump({**MESSAGE, 'distortion_model': 'mirror'}), 'mirror'),
        (yaml.safe_dump({**MESSAGE, 'width': 480}), 'not the same view'),
    ],
)
def test_a_calibration_that_is_none_is_refused_by_name(text, complaint, tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=complaint) as refused:
        read_camera(path, (640, 480))
    assert str(path) in str(refused.value)


def test_depth_has_the_unit_of_its_kind(tmp_path):
    metres = np.array([[0.5, np.nan], [1.234, 2.0]], np.float32)
    write_depth(tmp_path / 'depth.png', metres)
    np.save(tmp_path / 'depth.npy', metres)
    np.save(tmp_path / 'millimetres.npy', np.nan_to_num(metres * 1000).astype(np.uint16))
    cv2.imwrite(str(tmp_path / 'depth.tiff'), metres)
    for name in ('depth.png', 'depth.npy', 'millimetres.npy', 'depth.tiff'):
        assert read_depth(tmp_path / name) == pytest.approx(metres, abs=1e-6, nan_ok=True), name


def test_depth_of_another_unit_is_read_as_is_said(tmp_path):
    """As in TUM's pictures, and as a NumPy array of floats in millimetres."""
    metres = np.array([[0.5, 1.0], [1.2, 2.0]], np.float32)
    cv2.imwrite(str(tmp_path / 'fifths.png'), np.rint(metres * 5000).astype(np.uint16))
    np.save(tmp_path / 'floats.npy', metres.astype(np.float64) * 1000)
    assert read_depth(tmp_path / 'fifths.png', 1 / 5000) == pytest.approx(metres)
    assert read_depth(tmp_path / 'floats.npy', 0.001) == pytest.approx(metres)


@pytest.mark.parametrize(
    'array, complaint',
    [
        (np.zeros((4, 4), np.uint8), 'uint8'),
        (np.zeros((4, 4, 3), np.uint16), 'one channel'),
        (np.array(['a']), 'no depth'),
    ],
)
def test_what_is_no_depth_is_refused(array, complaint, tmp_path):
    path = tmp_path / 'depth.npy'
    np.save(path, array)
    with pytest.raises(UserError, match=complaint):
        read_depth(path)


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / 'depth.npy'
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match='NumPy'):
        read_depth(path)


@pytest.mark.parametrize('read', [read_color, read_depth])
@pytest.mark.parametrize('content', [b'', b'no image', b'\x89PNG\r\n\x1a\n\x00'])
def test_broken_images_are_refused(read, content, tmp_path):
    path = tmp_path / 'broken.png'
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'broken\.png'):
        read(path)


def test_what_is_written_can_be_read_again(tmp_path):
    color = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    write_color(tmp_path / 'color.png', color)
    assert np.array_equal(read_color(tmp_path / 'color.png'), color)
    (tmp_path / 'first.yaml').write_text(yaml.safe_dump(MESSAGE))
    camera = read_camera(tmp_path / 'first.yaml', (640, 480))
    write_camera(tmp_path / 'again.yaml', camera)
    again = read_camera(tmp_path / 'again.yaml', (640, 480))
    assert np.array_equal(again.K, camera.K) and np.array_equal(again.D, camera.D)


@pytest.mark.parametrize('name', ['picture', 'picture.nothing', 'missing/picture.png'])
def test_a_picture_that_cannot_be_written_is_told(name, tmp_path):
    with pytest.raises(UserError, match='picture'):
        write_color(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
