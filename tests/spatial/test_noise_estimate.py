# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a wall says of a depth camera, where the camera's noise is known."""

import cv2
import numpy as np
import pytest

from molmo_ros.spatial import CameraModel, StereoNoise, TofNoise
from molmo_ros.spatial.noise_estimate import NoWall, estimate_noise

FOCAL, WIDTH, HEIGHT = 580.0, 640, 480
CAMERA = CameraModel(WIDTH, HEIGHT, np.array([[FOCAL, 0, 315.0], [0, FOCAL, 236.0], [0, 0, 1]]))


def wall(distance, turned=0.0):
    """Exact depth of a wall, turned by degrees about the vertical."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    normal = np.array([np.sin(np.radians(turned)), 0.0, np.cos(np.radians(turned))])
    return distance * normal[2] / (CAMERA.ray(columns, rows) @ normal)


def smooth(correlation, seed):
    """Noise of unit variance."""
    noise = np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH))
    if correlation:
        noise = cv2.GaussianBlur(noise, (0, 0), correlation)
    return noise / noise.std()


def stereo(depth, noise, seed, offset=0.0):
    scale = FOCAL * noise.baseline
    disparity = scale / (depth + offset) + noise.disparity_sigma * smooth(noise.correlation, seed)
    if noise.disparity_step:
        disparity = np.round(disparity / noise.disparity_step) * noise.disparity_step
    return (scale / disparity).astype(np.float32)


@pytest.mark.parametrize('turned', [0.0, 25.0])
@pytest.mark.parametrize(
    'noise',
    [
        StereoNoise(0.07, 0.11, 0.0, 0.0),
        StereoNoise(0.05, 0.07, 1 / 16, 1.3),
        StereoNoise(0.055, 0.22, 1 / 32, 3.2),
        StereoNoise(0.095, 0.15, 0.0, 5.5),
    ],
)
def test_a_wall_tells_the_noise_that_it_was_seen_with(noise, turned):
    """Else the parameters that the command prints are another camera's."""
    depths = [stereo(wall(0.9, turned), noise, seed) for seed in (1, 2)]
    found = estimate_noise(depths, CAMERA, baseline=noise.baseline).noise
    assert isinstance(found, StereoNoise)
    assert found.disparity_sigma == pytest.approx(noise.disparity_sigma, rel=0.12)
    # White noise counts each reading for one, which a correlation of 0.28 says too.
    assert found.correlation == pytest.approx(max(noise.correlation, 0.28), rel=0.15)
    if noise.disparity_step and not turned:
        assert found.disparity_step == pytest.approx(noise.disparity_step, rel=0.1)


def test_walls_at_several_distances_tell_how_time_of_flight_fades():
    depths = [
        (wall(z) + np.hypot(0.002, 0.0015 * z**2) * smooth(2.0, seed)).astype(np.float32)
        for seed, z in enumerate((0.6, 1.2, 2.4))
    ]
    found = estimate_noise(depths, CAMERA, 'tof').noise
    assert isinstance(found, TofNoise)
    assert found.constant == pytest.approx(0.002, rel=0.15)
    assert found.quadratic == pytest.approx(0.0015, rel=0.15)
    assert found.correlation == pytest.approx(2.0, rel=0.15)


def test_things_before_the_wall_and_holes_are_left_out():
    noise = StereoNoise(0.05, 0.1, 1 / 32, 2.0)
    depth = stereo(wall(1.3), noise, 4)
    depth[150:260, 300:420] -= 0.2
    depth[300:420, 40:130] = np.nan
    found = estimate_noise([depth], CAMERA).noise
    assert isinstance(found, StereoNoise)
    assert found.disparity_sigma == pytest.approx(0.1, rel=0.12)
    assert found.correlation == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize('bias', [-0.013, 0.02])
def test_the_true_distance_tells_the_bias(bias):
    noise = StereoNoise(0.05, 0.08, 1 / 32, 1.0)
    depth = stereo(wall(1.1), noise, 5, offset=bias)
    estimate = estimate_noise([depth], CAMERA, distance=1.1)
    assert estimate.bias == pytest.approx(bias, abs=0.002)


@pytest.mark.parametrize('name', ['nothing', 'waves', 'rubble'])
def test_what_is_no_wall_is_refused(name):
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    depth = {
        'nothing': np.full((HEIGHT, WIDTH), np.nan),
        'waves': 1 + 0.04 * np.sin(columns / 9) * np.sin(rows / 7),
        'rubble': np.random.default_rng(0).uniform(0.5, 2, (HEIGHT, WIDTH)),
    }[name]
    with pytest.raises(NoWall, match='wall'):
        estimate_noise([depth.astype(np.float32)], CAMERA)


def test_the_calibration_of_another_camera_is_refused():
    with pytest.raises(ValueError, match='320x240'):
        estimate_noise([np.ones((240, 320), np.float32)], CAMERA)
