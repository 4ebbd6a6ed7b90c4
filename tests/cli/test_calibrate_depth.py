# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros calibrate depth` prints parameters that the node takes."""

import json

import numpy as np
import pytest
import yaml

from molmo_ros.cameras.files import write_camera, write_depth
from molmo_ros.cli import main
from molmo_ros.ros.parameters import POINT_QUERY
from molmo_ros.spatial import CameraModel

WIDTH, HEIGHT, FOCAL, BASELINE = 424, 240, 300.0, 0.06
CAMERA = CameraModel(WIDTH, HEIGHT, np.array([[FOCAL, 0, 210.0], [0, FOCAL, 121.0], [0, 0, 1]]))


@pytest.fixture
def files(tmp_path):
    """Two views of a wall at 0.8 m with a disparity noise of 0.12 pixels, and the calibration."""
    for number in range(2):
        noise = np.random.default_rng(number).standard_normal((HEIGHT, WIDTH))
        disparity = FOCAL * BASELINE / 0.8 + 0.12 * noise
        depth = (FOCAL * BASELINE / disparity).astype(np.float32)
        write_depth(tmp_path / f'wall{number}.png', depth)
    write_camera(tmp_path / 'camera.yaml', CAMERA)
    return [str(tmp_path / name) for name in ('wall0.png', 'wall1.png', 'camera.yaml')]


def test_the_parameters_are_the_nodes_and_the_cameras(files, capsys):
    first, second, camera = files
    assert (
        main(['calibrate', 'depth', first, second, '--camera', camera, '--baseline', '0.06']) == 0
    )
    printed = yaml.safe_load(capsys.readouterr().out)['/**']['ros__parameters']['noise']
    assert printed['kind'] == 'stereo' and printed['preset'] == 'custom'
    assert printed['stereo']['disparity_sigma'] == pytest.approx(0.12, rel=0.05)
    assert printed['stereo']['baseline'] == 0.06
    known = {parameter.name: parameter for parameter in POINT_QUERY}
    for name, value in printed['stereo'].items():
        low, high = known[f'noise.stereo.{name}'].range
        assert isinstance(value, float) and low <= value <= high


def test_time_of_flight_has_its_own(files, capsys):
    assert main(['calibrate', 'depth', files[0], '--camera', files[2], '--kind', 'tof']) == 0
    printed = yaml.safe_load(capsys.readouterr().out)['/**']['ros__parameters']['noise']
    assert set(printed['tof']) == {'constant', 'quadratic', 'correlation'}


def test_the_distance_gives_the_bias(files, capsys):
    arguments = ['calibrate', 'depth', files[0], '--camera', files[2], '--distance', '0.77']
    assert main([*arguments, '--json']) == 0
    assert json.loads(capsys.readouterr().out)['bias'] == pytest.approx(0.03, abs=0.003)


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda files: files[:2], '--camera'),
        (lambda files: [*files[:2], '--camera', files[2], '--distance', '-1'], '--distance'),
        (
            lambda files: [files[0], '--camera', files[2], '--kind', 'tof', '--baseline', '0.1'],
            '--baseline',
        ),
        (lambda files: [files[0], 'bag.mcap', '--camera', files[2]], 'one recording'),
        (lambda files: [files[0], '--camera', files[2], '--depth-unit', '1/5000000'], 'no wall'),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(files, change, said, capsys):
    assert main(['calibrate', 'depth', *change(files)]) == 2
    assert said in capsys.readouterr().err
