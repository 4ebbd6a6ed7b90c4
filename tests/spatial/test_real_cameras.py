# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth as real cameras give it: noise that reaches over many pixels, outlines that do not hold."""

import tracemalloc

import cv2
import numpy as np
import pytest

from molmo_ros.spatial import (
    PRESETS,
    CameraModel,
    LiftSettings,
    LiftStatus,
    StereoNoise,
    TofNoise,
    lift,
    lift_points,
    visible_extent,
)

FOCAL, WIDTH, HEIGHT = 600.0, 640, 480
CAMERA = CameraModel(WIDTH, HEIGHT, np.array([[FOCAL, 0, 319.5], [0, FOCAL, 239.5], [0, 0, 1]]))
LEAN = 35.0  # degrees that the camera looks down on a table


def table(distance, *boxes):
    """Exact depth of a table at a distance along the axis; boxes: u, v, side in px, height in m."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rays = CAMERA.ray(columns, rows)
    normal = np.array([0, -np.sin(np.radians(LEAN)), -np.cos(np.radians(LEAN))])
    depth = distance * normal[2] / (rays @ normal)
    for u, v, side, height in boxes:
        on = (abs(columns - u) <= side / 2) & (abs(rows - v) <= side / 2)
        raised = (distance * normal[2] + height) / (rays @ normal)
        depth = np.where(on, raised, depth)
    return depth, normal


def seen(depth, sigma, correlation, seed, baseline=0.05, scale=1.0):
    """Depth with smooth noise in disparity, as a stereo camera has it."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(depth.shape)
    if correlation:
        noise = cv2.GaussianBlur(noise, (0, 0), correlation)
    disparity = FOCAL * baseline / depth + scale * sigma * noise / noise.std()
    return (FOCAL * baseline / disparity).astype(np.float32)


def grid(step=40, border=60):
    u, v = np.meshgrid(
        np.arange(border, WIDTH - border, step), np.arange(border, HEIGHT - border, step)
    )
    return np.column_stack([u.ravel(), v.ravel()]).astype(float)


def squared_errors(depth, exact, normal, settings):
    """Squared errors along the table's normal, over what the covariances say of them."""
    pixels = grid()
    found = []
    for (u, v), point in zip(pixels, lift_points(pixels, depth, CAMERA, settings), strict=True):
        off = normal @ (point.position - CAMERA.ray(u, v) * exact[int(v), int(u)])
        found.append(off**2 / (normal @ point.covariance @ normal))
    return np.array(found)


@pytest.mark.parametrize('distance', [0.45, 0.9])
def test_a_realsense_errs_as_its_preset_says(distance):
    """Else a planner that trusts the covariance grasps beside the thing."""
    exact, normal = table(distance)
    preset = PRESETS['d435'][0].noise
    settings = LiftSettings(preset='d435', pixel_sigma=0.0)
    nees = [
        squared_errors(
            seen(exact, preset.disparity_sigma, preset.correlation, seed), exact, normal, settings
        ).mean()
        for seed in range(4)
    ]
    assert 0.7 < np.mean(nees) < 1.5


def test_a_camera_noisier_than_its_model_is_noticed_by_its_residuals():
    """By its residuals alone; what the fit itself loses by the wrong model is not undone."""
    exact, normal = table(0.6)
    settings = LiftSettings(pixel_sigma=0.0)
    at = grid()
    quiet = lift_points(at, seen(exact, 0.08, 1.0, seed=5), CAMERA, settings)
    noisy = lift_points(at, seen(exact, 0.08, 1.0, seed=5, scale=2.5), CAMERA, settings)

    def told(points):
        return np.median([np.sqrt(normal @ point.covariance @ normal) for point in points])

    assert 1.6 < told(noisy) / told(quiet) < 3.0


def test_a_camera_as_noisy_as_its_model_is_not_taken_for_a_noisier_one():
    exact, normal = table(0.6)
    depth = seen(exact, 0.08, 1.0, seed=6)
    told = squared_errors(depth, exact, normal, LiftSettings(pixel_sigma=0.0))
    assert 0.6 < told.mean() < 1.5


@pytest.mark.parametrize('noise', [TofNoise(0.0, 0.0, 0.0), StereoNoise(0.05, 0.0, 0.0, 0.0)])
def test_depth_without_noise_is_lifted_exactly(noise):
    exact, normal = table(0.7)
    settings = LiftSettings(noise=noise)
    point = lift(200, 300, exact.astype(np.float32), CAMERA, settings)
    assert point.status is LiftStatus.OK
    np.testing.assert_allclose(point.position[2], exact[300, 200], rtol=1e-5)
    np.testing.assert_allclose(point.normal, normal, atol=1e-3)
    assert np.linalg.eigvalsh(point.covariance).min() > -1e-12


def test_the_widest_disc_that_may_be_asked_for_costs_megabytes_not_gigabytes():
    exact, _ = table(0.7)
    depth = exact.astype(np.float32)
    settings = LiftSettings(radius=50.0, noise=StereoNoise(correlation=4.0))
    tracemalloc.start()
    try:
        assert lift(300, 200, depth, CAMERA, settings).status is LiftStatus.OK
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200e6


@pytest.mark.parametrize(('preset', 'sigma', 'reach'), [('d435', 0.12, 5.0), ('xtion', 0.085, 2.6)])
def test_a_bare_table_is_no_object(preset, sigma, reach):
    """Else the gripper closes on the table."""
    exact, _ = table(0.8)
    settings = LiftSettings(preset=preset)
    baseline = PRESETS[preset][0].noise.baseline
    for seed in range(3):
        depth = seen(exact, sigma, reach, seed, baseline)
        points = lift_points(grid(80), depth, CAMERA, settings)
        extents = [visible_extent(point, depth, CAMERA, settings) for point in points]
        assert extents == [None] * len(extents)


@pytest.mark.parametrize('height', [0.008, 0.012, 0.02, 0.06])
def test_a_thing_on_a_table_is_still_one(height):
    """Scissors and markers are a centimetre high."""
    exact, _ = table(0.5, (300, 240, 60, height))
    preset = PRESETS['d435'][0].noise
    settings = LiftSettings(preset='d435')
    depth = seen(exact, preset.disparity_sigma, preset.correlation, 3)
    point = lift(300, 240, depth, CAMERA, settings)
    extent = visible_extent(point, depth, CAMERA, settings)
    assert extent is not None and extent.plane is not None
    assert extent.size[0] == pytest.approx(60 / FOCAL * 0.5, abs=0.02)


def swallowed(settings):
    """Share of low things, two metres away on a table, that read nearer to the table behind."""
    height, at = 0.032, [(u, v) for u in range(100, 600, 100) for v in (140, 240, 340)]
    bare, _ = table(1.9)
    exact, _ = table(1.9, *((u, v, 14, height) for u, v in at))
    noise = PRESETS['d435'][0].noise
    found = [
        bare[v, u] - point.position[2] < (bare[v, u] - exact[v, u]) / 2
        for seed in range(3)
        for (u, v), point in zip(
            at,
            lift_points(
                at,
                seen(exact, noise.disparity_sigma, noise.correlation, seed),
                CAMERA,
                settings,
            ),
            strict=True,
        )
    ]
    return np.mean(found)


def test_far_away_the_table_does_not_swallow_a_low_thing():
    """A disc of 16 pixels is 5 cm there, and the noise a third of the thing's height."""
    assert swallowed(LiftSettings(preset='d435')) < 0.15
    assert swallowed(LiftSettings(preset='d435', radius_metres=1.0)) > 0.25


def test_a_floor_at_half_a_metre_has_its_normal():
    """By what four sets of RealSense frames have for noise: else grasps along it come aslant."""
    exact, normal = table(0.5)
    for preset in ('d435', 'd415'):
        noise, baseline = PRESETS[preset][0].noise, PRESETS[preset][0].noise.baseline
        depth = seen(exact, noise.disparity_sigma, noise.correlation, 11, baseline)
        points = lift_points(grid(), depth, CAMERA, LiftSettings(preset=preset))
        angles = [np.degrees(np.arccos(min(point.normal @ normal, 1))) for point in points]
        assert np.median(angles) < 3


def test_near_an_outline_the_covariance_holds_the_jump_and_a_flag_says_so():
    exact, _ = table(0.8, (300, 240, 80, 0.1))
    depth = exact.astype(np.float32)
    settings = LiftSettings(preset='d435')
    inside, edge, table_near = lift_points(
        [(300, 240), (339, 240), (342, 240)], depth, CAMERA, settings
    )
    jump = exact[240, 342] - exact[240, 339]
    assert not inside.near_edge and edge.near_edge and table_near.near_edge
    for point in (edge, table_near):
        assert jump / 6 < np.sqrt(point.covariance[2, 2]) < jump
    assert np.sqrt(inside.covariance[2, 2]) < jump / 20


def test_rendered_depth_has_no_outlines_that_do_not_hold():
    exact, _ = table(0.8, (300, 240, 80, 0.1))
    point = lift(339, 240, exact.astype(np.float32), CAMERA, LiftSettings(preset='ideal'))
    assert not point.near_edge and np.sqrt(point.covariance[2, 2]) < 0.005


@pytest.mark.parametrize('name', PRESETS)
def test_presets_fit_every_width_of_a_depth_image(name):
    """A narrow image averages over fewer pixels, a wide one over more; none fails."""
    radii = [LiftSettings(preset=name).for_width(width).radius for width in (160, 640, 1280, 3840)]
    assert radii == sorted(radii) and radii[0] >= 3
    assert all(preset.source for preset in PRESETS[name])


def test_a_preset_that_there_is_none_of_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match='d435'):
        LiftSettings(preset='d436')
