# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that cannot be a picture's calibration are refused by name; what cameras have is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from molmo_ros.spatial import CalibrationError, CameraModel, UncalibratedCamera

FOCAL, CX, CY = 437.0, 411.0, 307.0
GOOD = [FOCAL, 0, CX, 0, FOCAL, CY, 0, 0, 1]
P_OF_GOOD = [FOCAL, 0, CX, 0, 0, FOCAL, CY, 0, 0, 0, 1, 0]


def camera(K=GOOD, **fields):
    return CameraModel.from_camera_info_fields(848, 640, K, **fields)


def K(fx=FOCAL, fy=FOCAL, cx=CX, cy=CY, skew=0.0, tilt=0.0, last=(0, 0, 1)):
    return [fx, skew, cx, tilt, fy, cy, *last]


@pytest.mark.parametrize(
    ('numbers', 'says'),
    [
        pytest.param(np.eye(3).ravel(), 'identity', id='identity'),
        pytest.param(K(0.52, 0.68, 0.49, 0.5), 'normalised', id='normalised by the size'),
        pytest.param(K(1.2, 1.2, 0.0, 0.0), 'normalised', id='normalised about the middle'),
        pytest.param(K(fx=31.0, fy=31.0), 'too short', id='focal length in another unit'),
        pytest.param(K(fx=30.0, fy=80.0), 'too short', id='one too short'),
        pytest.param(K(fx=4e5, fy=4e5), 'absurdly long', id='too long'),
        pytest.param(K(fx=1e300, fy=1e300), 'absurdly long', id='near overflow'),
        pytest.param(K(fy=1900.0), 'no pixel explains', id='pixels like hairs'),
        pytest.param(K(cx=900.0), 'principal point', id='beyond the right edge'),
        pytest.param(K(cy=-12.0), 'principal point', id='above the top edge'),
        pytest.param(K(cx=0.0, cy=0.0), 'principal point', id='forgotten'),
        pytest.param(K(cx=1e308), 'principal point', id='far away'),
        pytest.param(np.reshape(GOOD, (3, 3)).T.ravel(), 'column order', id='transposed'),
        pytest.param(K(last=(0, 0, 0)), '0 0 1', id='no last row'),
        pytest.param(K(last=(0, 0, 1.5)), '0 0 1', id='scaled last row'),
        pytest.param(K(skew=40.0), 'skewed', id='skewed'),
        pytest.param(K(tilt=3.0), 'skewed', id='no upper triangle'),
        pytest.param(K(fx=-FOCAL), 'negative', id='mirrored'),
        pytest.param(K(fy=np.nan), 'NaN', id='NaN'),
        pytest.param(K(skew=np.inf), 'NaN or Inf', id='infinite'),
        pytest.param(np.zeros(9), 'not calibrated', id='zeros'),
    ],
)
def test_a_matrix_that_is_none_is_refused_by_name_as_K_and_as_P(numbers, says):
    """Each of them would otherwise put the thing somewhere else, and say OK."""
    with pytest.raises(UncalibratedCamera, match=says) as refused:
        camera(numbers)
    assert 'rectified' not in str(refused.value)
    rows = np.column_stack([np.reshape(numbers, (3, 3)), np.zeros(3)])
    if rows.any():
        with pytest.raises(UncalibratedCamera, match=says):
            camera(P=rows.ravel(), rectified=True)


@pytest.mark.parametrize('numbers', [np.zeros(9), np.eye(3).ravel()])
def test_where_only_P_has_numbers_the_parameter_is_named(numbers):
    """Drivers of rectified images leave K as it was."""
    with pytest.raises(UncalibratedCamera, match='set rectified'):
        camera(numbers, P=P_OF_GOOD)
    np.testing.assert_allclose(
        camera(numbers, P=P_OF_GOOD, rectified=True).ray(CX, CY + FOCAL), [0, 1, 1]
    )


@pytest.mark.parametrize(
    ('fields', 'says'),
    [
        ({'R': np.diag([1.0, 1.0, -1.0]).ravel()}, 'no rotation'),
        ({'R': (1.3 * np.eye(3)).ravel()}, 'no rotation'),
        ({'R': [np.nan] * 9}, 'no rotation'),
        ({'R': [1e200] * 9}, 'no rotation'),
        ({'R': [0.0, 0, 1, -1, 0, 0, 0, -1, 0]}, '120 degrees'),
        ({'D': [0.1, 1e250, 0, 0, 0]}, 'absurdly large'),
        ({'D': [np.inf]}, 'absurdly large'),
        ({'D': [0, 0, 4e5, 4e5]}, 'middle of the picture'),
        ({'roi': (600, 100, 400, 300)}, 'ROI'),
        ({'roi': (4_000_000_000, 0, 0, 0)}, 'ROI'),
        ({'binning_x': 5000, 'binning_y': 2}, 'binning'),
    ],
)
def test_what_else_cannot_be_is_refused(fields, says):
    """No exception of another kind, no ray to anywhere."""
    with pytest.raises(CalibrationError, match=says):
        camera(**fields)


@pytest.mark.parametrize(
    ('width', 'height', 'numbers', 'fields'),
    [
        pytest.param(1280, 720, [201.0, 0, 640, 0, 201, 360, 0, 0, 1],
                     {'D': [0.0] * 4, 'distortion_model': 'equidistant'}, id='360 degree fisheye'),
        pytest.param(640, 480, [24000.0, 0, 300, 0, 24010, 222, 0, 0, 1], {}, id='telescope'),
        pytest.param(720, 288, [800.0, 0, 361, 0, 400, 140, 0, 0, 1], {}, id='one field of video'),
        pytest.param(320, 180, [206.0, 0.02, 121, 0, 205, 99, 0, 0, 1], {}, id='a trace of skew'),
        pytest.param(160, 120, [143.0, 0, 155, 0, 143, 3, 0, 0, 1], {}, id='centre at the edge'),
        pytest.param(848, 640, GOOD, {'R': [0.0] * 9, 'P': [0.0] * 12}, id='no R and no P'),
        pytest.param(848, 640, GOOD, {'roi': (500, 400, 200, 200)}, id='crop off the centre'),
    ],
)  # fmt: skip
def test_unusual_cameras_are_cameras(width, height, numbers, fields):
    """Refusing them would leave their owners without 3D."""
    model = CameraModel.from_camera_info_fields(width, height, numbers, **fields)
    middle = (model.width / 2, model.height / 2)
    np.testing.assert_allclose(model.project(model.ray(*middle)), middle, atol=1e-6)


def test_a_fisheye_without_coefficients_is_a_fisheye_both_ways():
    """Its radius in pixels is the angle times the focal length: theta = r / f."""
    for name in ('equidistant', 'fisheye'):
        model = camera(D=[0.0] * 4, distortion_model=name)
        ray = model.ray(CX + FOCAL * 0.8, CY)
        np.testing.assert_allclose(ray, [np.tan(0.8), 0, 1], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(model.project(ray), [CX + FOCAL * 0.8, CY], atol=1e-7)


def test_what_is_seen_beyond_the_reach_of_a_lens_has_no_pixel():
    """A barrel whose model folds back: things at the side would be shown in the middle."""
    model = camera(D=[-0.4, 0.02])
    seen = model.project([[0.5, 0, 1], [1.5, 0, 1], [3.0, 0.1, 1]])
    np.testing.assert_allclose(model.ray(*seen[0]), [0.5, 0, 1], atol=1e-9)
    assert np.isnan(seen[1:]).all()


radial = st.floats(-0.4, 0.4)
tangential = st.floats(-0.01, 0.01)
lenses = st.one_of(
    st.tuples(st.just('plumb_bob'), st.tuples(radial, radial, tangential, tangential, radial)),
    st.tuples(
        st.sampled_from(['rational_polynomial', 'thin_prism']),
        st.tuples(*[radial] * 2, *[tangential] * 2, *[radial] * 4, *[tangential] * 6),
    ),
    st.tuples(st.just('equidistant'), st.tuples(*[radial] * 4)),
)


# A prism that folds the picture twice, once where the rest of the lens still grows.
twice_folded = (0.0,) * 4 + (0.015625, 0.25, 0.125, 0.0078125) + (0.0,) * 3 + (0.0078125, 0.0, 0.0)
narrowly_folded = (0.0, -0.225, 0.00234, 0.0, 0.0, 0.0, 0.344, -0.2875, -0.00642, 0.0, 0.0)


@example(('rational_polynomial', twice_folded), 12, 140.0, (0, 0, 0, 0), 0, 0)
@example(('thin_prism', (*narrowly_folded, 0.00761, -0.00162, 0.0)), 14, 1200.0, (0,) * 4, 0, 0)
@given(
    lenses,
    st.integers(0, 14),
    st.sampled_from([140.0, 437.0, 1200.0]),
    st.sampled_from([(0, 0, 0, 0), (101, 57, 640, 480)]),
    st.sampled_from([0, 2]),
    st.integers(0, 1000),
)
def test_rays_and_pixels_agree_for_every_lens(lens, kept, focal, roi, binning, seed):
    """One direction has one pixel and one pixel one direction, or none."""
    name, D = lens
    try:
        model = CameraModel.from_camera_info_fields(
            848, 640, K(focal, focal), D[:kept], name, roi=roi, binning_x=binning, binning_y=binning
        )
    except CalibrationError:
        return
    random = np.random.default_rng(seed)
    pixels = random.uniform(-0.5, (model.width - 0.5, model.height - 0.5), (40, 2))
    rays = model.ray(*pixels.T)
    known = np.isfinite(rays).all(1)
    np.testing.assert_allclose(model.project(rays[known] * 3), pixels[known], atol=1e-5)
    points = np.column_stack([random.normal(0, 2, (40, 2)), np.ones(40)])
    back = model.ray(*model.project(points).T)
    known = np.isfinite(back).all(1)
    lengths = np.linalg.norm(points[known], axis=1)
    cosines = (points[known] * back[known]).sum(1) / lengths / np.linalg.norm(back[known], axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-8)
