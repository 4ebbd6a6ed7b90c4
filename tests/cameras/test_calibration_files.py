# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration files of whoever wrote them: the same camera comes out, or a sentence."""

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from molmo_ros.cameras.calibration_files import read_calibration
from molmo_ros.errors import UserError

SIZE = (800, 600)
FX, FY, CX, CY = 612.5, 614.25, 402.75, 297.5
K = [FX, 0.0, CX, 0.0, FY, CY, 0.0, 0.0, 1.0]
D5 = [-0.21, 0.08, 0.0007, -0.0004, -0.013]
D4 = D5[:4]


def opencv_storage(suffix, fields):
    """What cv2 itself writes, as text."""
    storage = cv2.FileStorage(suffix, cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    for name, value in fields.items():
        storage.write(name, np.array(value) if isinstance(value, list) else value)
    return storage.releaseAndGetString()


OPENCV = {
    'image_width': SIZE[0],
    'image_height': SIZE[1],
    'camera_matrix': [K[:3], K[3:6], K[6:]],
    'distortion_coefficients': [[d] for d in D5],
}
KALIBR = {
    'cam0': {
        'cam_overlaps': [1],
        'camera_model': 'pinhole',
        'distortion_coeffs': D4,
        'distortion_model': 'radtan',
        'intrinsics': [FX, FY, CX, CY],
        'resolution': list(SIZE),
        'rostopic': '/left/image_raw',
    },
    'cam1': {
        'T_cn_cnm1': np.eye(4).tolist(),
        'camera_model': 'pinhole',
        'distortion_coeffs': [0.01, -0.002, 0.0003, -0.0001],
        'distortion_model': 'equidistant',
        'intrinsics': [500.0, 501.0, 390.0, 310.0],
        'resolution': list(SIZE),
    },
}
REALSENSE = {
    'width': SIZE[0],
    'height': SIZE[1],
    'fx': FX,
    'fy': FY,
    'ppx': CX,
    'ppy': CY,
    'model': 'distortion.brown_conrady',
    'coeffs': D5,
}
OPEN3D = {
    'width': SIZE[0],
    'height': SIZE[1],
    'intrinsic_matrix': [FX, 0.0, 0.0, 0.0, FY, 0.0, CX, CY, 1.0],
}
MESSAGE = {
    'header': {'stamp': {'sec': 5, 'nanosec': 7}, 'frame_id': 'eye'},
    'height': SIZE[1],
    'width': SIZE[0],
    'distortion_model': 'plumb_bob',
    'd': D5,
    'k': K,
}
LOST = 'A message was lost!!!\n\ttotal count change:3\n\ttotal count: 12---\n'
ECHO = yaml.safe_dump(MESSAGE, sort_keys=False)
ORB = '%YAML:1.0\nCamera.type: "PinHole"\n' + ''.join(
    f'Camera.{name}: {value}\n'
    for name, value in {
        'fx': FX,
        'fy': FY,
        'cx': CX,
        'cy': CY,
        'k1': D5[0],
        'k2': D5[1],
        'p1': D5[2],
        'p2': D5[3],
        'k3': D5[4],
        'width': SIZE[0],
        'height': SIZE[1],
    }.items()
)
ENUMERATED = (
    f'  Width:      \t{SIZE[0]}\n  Height:     \t{SIZE[1]}\n  PPX:        \t{CX}\n'
    f'  PPY:        \t{CY}\n  Fx:         \t{FX}\n  Fy:         \t{FY}\n'
    f'  Distortion: \tBrown Conrady\n  Coeffs:     \t{"  ".join(map(str, D5))}\n'
)


def read(text, camera_name='', encoding='utf-8'):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'camera'
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_calibration(path, SIZE, camera_name)


@pytest.mark.parametrize(
    'text, D',
    [
        pytest.param(opencv_storage('.yml', OPENCV), D5, id='OpenCV YAML'),
        pytest.param(opencv_storage('.xml', OPENCV), D5, id='OpenCV XML'),
        pytest.param(opencv_storage('.json', OPENCV), D5, id='OpenCV JSON'),
        pytest.param(yaml.safe_dump({'cam0': KALIBR['cam0']}), D4, id='Kalibr'),
        pytest.param(json.dumps(REALSENSE), D5, id='RealSense'),
        pytest.param(ENUMERATED, D5, id='rs-enumerate-devices'),
        pytest.param(json.dumps(OPEN3D, indent='\t'), [], id='Open3D'),
        pytest.param(json.dumps({'intrinsic': OPEN3D, 'extrinsic': []}), [], id='Open3D, nested'),
        pytest.param(ORB, D5, id='ORB-SLAM'),
        pytest.param(LOST + ECHO + '---\n' + LOST + ECHO, D5, id='messages were lost'),
        pytest.param(ECHO + '---\n' + ECHO[:60], D5, id='the last message breaks off'),
        pytest.param(ECHO.replace('\n', '\r\n'), D5, id='Windows line ends'),
        pytest.param('\ufeff' + ECHO, D5, id='byte order mark'),
        pytest.param(('\ufeff' + ECHO).encode('utf-16-le'), D5, id='UTF-16 of a Windows shell'),
        pytest.param(ECHO.replace(': ', ':\t'), D5, id='tabs'),
        pytest.param(yaml.safe_dump([MESSAGE]), D5, id='a list of messages'),
    ],
)
def test_every_format_gives_the_same_camera(text, D):
    calibration = read(text)
    assert calibration.camera.K.ravel() == pytest.approx(K)
    assert pytest.approx(D) == calibration.camera.D
    assert calibration.camera.distortion_model == 'plumb_bob'
    assert (calibration.camera.width, calibration.camera.height) == SIZE
    assert calibration.assumed == ()


@pytest.mark.parametrize(
    'text',
    [
        json.dumps({**OPEN3D, 'intrinsic_matrix': [K[:3], K[3:6], K[6:]]}),
        json.dumps({**OPEN3D, 'intrinsic_matrix': K}),
    ],
)
def test_a_matrix_in_rows_is_told_from_one_in_columns(text):
    assert read(text).camera.K.ravel() == pytest.approx(K)


@pytest.mark.parametrize(
    'text',
    [
        yaml.safe_dump({'cam0': {**KALIBR['cam0'], 'distortion_model': 'equidistant'}}),
        json.dumps({**REALSENSE, 'model': 'Kannala Brandt4', 'coeffs': D4}),
        opencv_storage('.yml', {**OPENCV, 'distortion_coefficients': D4, 'fisheye_model': 1}),
        yaml.safe_dump({**MESSAGE, 'distortion_model': 'fisheye', 'd': D4}),
    ],
)
def test_a_fisheye_stays_one(text):
    assert read(text).camera.distortion_model == 'equidistant'


def test_one_of_several_cameras_is_named_and_the_first_is_said():
    text = yaml.safe_dump(KALIBR)
    first, second = read(text), read(text, 'cam1')
    assert first.camera.K[0, 0] == FX
    assert 'cam0' in first.assumed[0] and 'cam1' in first.assumed[0]
    assert '--camera-name' in first.assumed[0]
    assert second.camera.K[0, 0] == 500.0 and second.assumed == ()
    with pytest.raises(UserError, match='cam0, cam1'):
        read(text, 'cam2')


def test_a_stereo_calibration_has_two_cameras_and_the_size_of_the_picture():
    text = opencv_storage(
        '.yml',
        {
            'M1': [K[:3], K[3:6], K[6:]],
            'D1': D5,
            'M2': [[700.0, 0.0, 380.0], [0.0, 701.0, 310.0], [0.0, 0.0, 1.0]],
            'D2': D5,
        },
    )
    calibration = read(text, 'M2')
    assert calibration.camera.K[0, 0] == 700.0
    assert [sentence for sentence in calibration.assumed if '800x600' in sentence]


def test_what_a_file_does_not_say_of_its_lens_is_said():
    said = {**MESSAGE, 'd': D4}
    unsaid = {name: value for name, value in said.items() if name != 'distortion_model'}
    assert read(yaml.safe_dump(said)).assumed == ()
    assert 'distortion_model' in read(yaml.safe_dump(unsaid)).assumed[0]
    straight = {**unsaid, 'd': [0.0] * 4}
    assert read(yaml.safe_dump(straight)).assumed == ()
    inverse = {**REALSENSE, 'model': 'distortion.inverse_brown_conrady'}
    assert 'inverse_brown_conrady' in read(json.dumps(inverse)).assumed[0]
    assert read(json.dumps({**inverse, 'coeffs': [0.0] * 5})).assumed == ()


@pytest.mark.parametrize(
    'text, complaint',
    [
        (yaml.safe_dump({**MESSAGE, 'k': ['612,5', *K[1:]]}), "k should be a number, not '612,5'"),
        (yaml.safe_dump({**MESSAGE, 'k': K[:6]}), 'k should have 9 numbers, it has 6'),
        (yaml.safe_dump({**MESSAGE, 'k': {'rows': 3}}), 'k should be a list of numbers'),
        (json.dumps({**MESSAGE, 'k': True}), 'k should be a number'),
        (json.dumps({**MESSAGE, 'd': [{}]}), 'd should be a number, not fields of its own'),
        (json.dumps({**MESSAGE, 'd': [0.0] * 500}), 'too many numbers'),
        (yaml.safe_dump({**MESSAGE, 'width': 'wide'}), "width should be a number, not 'wide'"),
        (yaml.safe_dump({**MESSAGE, 'width': 800.5}), 'whole number of pixels'),
        (yaml.safe_dump({**MESSAGE, 'width': 10**30}), 'whole number of pixels'),
        (yaml.safe_dump({**MESSAGE, 'height': -600}), 'whole number of pixels'),
        (yaml.safe_dump({'k': K, 'width': 800}), 'height is missing'),
        (yaml.safe_dump({**MESSAGE, 'roi': 'all of it'}), 'roi should have'),
        (yaml.safe_dump({**MESSAGE, 'binning_x': -2}), 'binning_x'),
        (json.dumps({'fx': FX, 'fy': FY, 'width': 800, 'height': 600}), 'matrix is missing'),
        (json.dumps({**REALSENSE, 'model': 'ftheta'}), 'ftheta'),
        (yaml.safe_dump({'cam0': {**KALIBR['cam0'], 'camera_model': 'omni'}}), 'omni'),
        ('<opencv_storage><camera_matrix>', 'no XML that can be read'),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', 'definitions of its own'),
        ('<opencv_storage><images>a.png</images></opencv_storage>', 'no other calibration'),
        ('k: &a [*a]', 'recursive'),
        ('k: ' + '[' * 5000, 'nested too deeply'),
        ('{"k": ' * 5000, 'nested too deeply'),
        ('k: 1\n' * 300_000, 'too large'),
        (b'\xff\xfe\xfd', 'as text'),
        ('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n', 'git lfs pull'),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text, complaint):
    with pytest.raises(UserError, match=complaint):
        read(text)


NASTY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, '1e999', '.nan', '-.inf', '0x10', '1_000', '~', '!!int x']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
FORMATS = st.sampled_from([MESSAGE, OPENCV, KALIBR['cam0'], REALSENSE, OPEN3D])


@given(FORMATS, st.data())
def test_wrong_values_never_raise_anything_but_sentences(fields, data):
    keys = st.sampled_from([*fields, 'roi', 'r', 'p', 'binning_x', 'fisheye_model', 'camera_name'])
    changed = {**fields, **data.draw(st.dictionaries(keys, NASTY, min_size=1, max_size=3))}
    text = json.dumps(data.draw(st.sampled_from([changed, {'cam0': changed, 'cam1': fields}])))
    _assert_read_or_refused(text.encode())


@given(st.binary(max_size=200), st.sampled_from([ECHO, ORB, opencv_storage('.xml', OPENCV)]))
@example(b'k: !!bool x', '')
@example(b'? [a]\n: b', '')
@example(b'<<: 1\n=: 2', '')
def test_wrong_bytes_never_raise_anything_but_sentences(noise, text):
    data = text.encode()
    middle = len(data) // 2
    _assert_read_or_refused(data[:middle] + noise + data[middle:])
    _assert_read_or_refused(noise)


def _assert_read_or_refused(data):
    try:
        camera = read(data).camera
    except UserError as error:
        assert str(error) and '\n' not in str(error)
    else:
        assert camera.K.shape == (3, 3)
