# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels become rays and rays pixels, for every camera_info that ROS knows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from molmo_ros.spatial import (
    CameraModel,
    CameraSizeMismatch,
    UncalibratedCamera,
    UnsupportedDistortion,
)

K = np.array([[612.0, 0, 322.5], [0, 609.0, 236.1], [0, 0, 1]])
LENSES = {
    'none': ('plumb_bob', []),
    'four': ('plumb_bob', [-0.2, 0.05, 0.001, -0.0007]),
    'barrel': ('plumb_bob', [-0.36, 0.2, 0.002, -0.001, -0.05]),
    'pincushion': ('plumb_bob', [0.12, -0.25, -0.0004, 0.0003, 0.11]),
    'rational': ('rational_polynomial', [17.2, 11.7, 1e-4, -1e-4, 0.6, 17.5, 17.6, 2.9]),
    'thin prism': (
        'thin_prism',
        [-0.2, 0.1, 0.001, 0.001, 0.01, 0.01, 0.02, 0.01, 0.003, -0.001, 0.002, 0.001],
    ),
    'tilted': (
        'rational_polynomial',
        [-0.2, 0.1, 0.001, 0.001, 0.01, 0.01, 0.02, 0.01, 0.003, -0.001, 0.002, 0.001, 0.02, -0.01],
    ),
    'fisheye': ('equidistant', [0.01, -0.02, 0.01, -0.001]),
}


def grid(camera: CameraModel) -> tuple[np.ndarray, np.ndarray]:
    """Pixels all over the image, its corners included."""
    return np.meshgrid(
        np.linspace(-0.5, camera.width - 0.5, 13), np.linspace(-0.5, camera.height - 0.5, 11)
    )


@pytest.mark.parametrize('lens', LENSES)
def test_rays_lead_back_to_their_pixels_by_opencv(lens: str) -> None:
    """What OpenCV calibrated is inverted to a millionth all over the image."""
    model, D = LENSES[lens]
    camera = CameraModel(640, 480, K, np.array(D), model)
    u, v = grid(camera)
    points = (camera.ray(u, v) * 0.7).reshape(-1, 1, 3)
    zero = np.zeros(3)
    if model == 'equidistant':
        back, _ = cv2.fisheye.projectPoints(points, zero, zero, K, np.array(D))
    else:
        back, _ = cv2.projectPoints(points, zero, zero, K, np.array(D or [0.0] * 4))
    off = np.abs(back.reshape(-1, 2) - np.column_stack([u.ravel(), v.ravel()]))
    assert off.max() < 1e-6 * 640
    np.testing.assert_allclose(camera.project(points[:, 0]), back[:, 0], atol=1e-9)


def test_a_fisheye_beyond_ninety_degrees_has_no_ray_there() -> None:
    """Pixels behind the camera do not come back as something in front of it."""
    camera = CameraModel(
        640,
        480,
        np.array([[150.0, 0, 320], [0, 150, 240], [0, 0, 1]]),
        np.array([0.001, 0, 0, 0]),
        'equidistant',
    )
    assert np.isfinite(camera.ray(330, 240)).all()
    assert np.isnan(camera.ray(2, 240)[:2]).all()


def test_nothing_behind_the_camera_has_a_pixel() -> None:
    """A point with z <= 0 is not in the picture."""
    camera = CameraModel(640, 480, K)
    assert np.isnan(camera.project([[0.1, 0.1, -1.0], [0.1, 0.1, 0.0]])).all()


def info(**changes: object) -> dict:
    """The fields of a camera_info with a lens and a different rectified matrix."""
    P = [500.0, 0, 310, 0, 0, 505.0, 245, 0, 0, 0, 1, 0]
    return {
        'width': 640, 'height': 480, 'K': K.ravel(), 'D': LENSES['barrel'][1],
        'distortion_model': 'plumb_bob', 'P': P, **changes,
    }  # fmt: skip


def test_rectified_images_go_by_P_and_raw_ones_by_K_and_D() -> None:
    """The commonest mistake with camera_info."""
    rectified = CameraModel.from_camera_info_fields(**info(rectified=True))
    np.testing.assert_allclose(rectified.ray(310, 750), [0, 1, 1])
    raw = CameraModel.from_camera_info_fields(**info())
    np.testing.assert_allclose(raw.ray(K[0, 2], K[1, 2]), [0, 0, 1], atol=1e-9)
    assert not np.allclose(raw.ray(600, 450), rectified.ray(600, 450), atol=0.01)


def test_raw_rays_of_a_stereo_camera_are_in_the_rectified_frame() -> None:
    """ROS means one optical frame by the raw and the rectified image: R leads from one to other."""
    R = cv2.Rodrigues(np.array([0.01, -0.03, 0.02]))[0]
    camera = CameraModel.from_camera_info_fields(**info(R=R.ravel()))
    plain = CameraModel.from_camera_info_fields(**info())
    expected = R @ plain.ray(100, 400)
    np.testing.assert_allclose(camera.ray(100, 400), expected / expected[2], rtol=1e-12)
    np.testing.assert_allclose(camera.project(camera.ray(100, 400)), [100, 400], atol=1e-6)


def test_a_cropped_image_keeps_its_rays() -> None:
    """ROI: pixel (0, 0) of the crop is pixel (x_offset, y_offset) of the whole."""
    whole = CameraModel.from_camera_info_fields(**info())
    crop = CameraModel.from_camera_info_fields(**info(roi=(200, 100, 320, 240)))
    assert (crop.width, crop.height) == (320, 240)
    np.testing.assert_allclose(crop.ray(50, 60), whole.ray(250, 160), rtol=1e-9)


def test_a_binned_image_keeps_its_rays() -> None:
    """Binning joins pixels: the middle of two is where their rays' middle is."""
    whole = CameraModel.from_camera_info_fields(**info())
    binned = CameraModel.from_camera_info_fields(**info(binning_x=2, binning_y=2))
    assert (binned.width, binned.height) == (320, 240)
    np.testing.assert_allclose(binned.ray(50, 60), whole.ray(100.5, 120.5), rtol=1e-9)


def test_an_image_of_another_size_of_the_same_view_is_scaled() -> None:
    """A driver that publishes one camera_info for all sizes."""
    whole = CameraModel.from_camera_info_fields(**info())
    for size in ((1280, 960), (320, 240), (344, 258)):
        other = CameraModel.from_camera_info_fields(**info(image_size=size))
        assert (other.width, other.height) == size
        u, v = (np.array(size) - 1) / 2
        np.testing.assert_allclose(other.ray(u, v), whole.ray(319.5, 239.5), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(other.ray(-0.5, -0.5), whole.ray(-0.5, -0.5), rtol=1e-6)


@pytest.mark.parametrize('size', [(1280, 720), (480, 640), (640, 400)])
def test_an_image_of_another_shape_is_refused(size: tuple[int, int]) -> None:
    """A wide image with the camera_info of a narrow one is another view."""
    with pytest.raises(CameraSizeMismatch, match='remap'):
        CameraModel.from_camera_info_fields(**info(image_size=size))


@pytest.mark.parametrize(
    'changes',
    [
        {'K': np.zeros(9)},
        {'K': np.full(9, np.nan)},
        {'D': [np.nan] * 5},
        {'width': 0},
        {'K': np.zeros(9), 'P': np.zeros(12), 'rectified': True},
    ],
)
def test_an_uncalibrated_camera_is_refused_with_advice(changes: dict) -> None:
    """K[0] = 0 means uncalibrated: no division by it, no point at the origin."""
    with pytest.raises(UncalibratedCamera, match=r'calibrat|driver'):
        CameraModel.from_camera_info_fields(**info(**changes))


@pytest.mark.parametrize(
    ('model', 'count'), [('omnidirectional', 4), ('plumb_bob', 8), ('equidistant', 5)]
)
def test_lenses_that_are_not_known_are_refused_with_advice(model: str, count: int) -> None:
    """Coefficients are not silently left out."""
    with pytest.raises(UnsupportedDistortion, match='rectif'):
        CameraModel(640, 480, K, np.full(count, 0.01), model)


def test_an_unknown_lens_without_coefficients_is_a_pinhole() -> None:
    """Simulators leave the model empty, or name one with zeros."""
    for model in ('', 'none', 'something', 'equidistant'):
        camera = CameraModel(640, 480, K, np.zeros(5), model)
        if model != 'equidistant':
            np.testing.assert_allclose(camera.ray(K[0, 2] + 612, K[1, 2]), [1, 0, 1])
