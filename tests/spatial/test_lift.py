# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A pixel is lifted to the surface it is on, or the status says why not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from molmo_ros.spatial import (
    CameraModel,
    LiftSettings,
    LiftStatus,
    StereoNoise,
    SurfacePoint,
    TofNoise,
    lift,
    lift_points,
    transform_surface_point,
)

SCALE = 600 * 0.05


def slope(camera: CameraModel, bodies, tilt: float = 40.0):
    """A plane 0.8 m away, tilted about x, and its normal towards the camera."""
    normal = np.array([0.0, -np.sin(np.radians(tilt)), -np.cos(np.radians(tilt))])
    return bodies.World((bodies.plane(tuple(normal), (0, 0, 0.8)),)), normal


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees."""
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def test_a_plane_without_noise_is_met_exactly(camera, bodies) -> None:
    """Between pixels, too: the point is where the pixel's ray meets the plane."""
    world, normal = slope(camera, bodies)
    depth = world.depth(camera)
    for u, v in ((320.0, 240.0), (100.3, 400.7), (600.4, 35.5)):
        point = lift(u, v, depth, camera)
        exact, _ = world.trace(np.zeros(3), camera.ray(u, v)[None])
        np.testing.assert_allclose(point.position, camera.ray(u, v) * exact[0], rtol=1e-5)
        assert point.status == LiftStatus.OK
        assert angle(point.normal, normal) < 0.3
        assert not point.bridged
        assert point.reason == ''


@pytest.mark.parametrize('pixel', [(0.0, 0.0), (639.4, 479.4), (-0.4, 240.0), (320.0, 0.0)])
def test_at_the_border_the_error_is_within_what_it_says(camera, bodies, pixel) -> None:
    """A quarter of a disc tells less, and the covariance says so."""
    world, _ = slope(camera, bodies)
    point = lift(*pixel, world.depth(camera), camera, LiftSettings(pixel_sigma=0.0))
    exact, _ = world.trace(np.zeros(3), camera.ray(*pixel)[None])
    error = point.position - camera.ray(*pixel) * exact[0]
    assert np.linalg.norm(error) < np.sqrt(np.trace(point.covariance))


def test_through_a_lens_with_distortion(bodies) -> None:
    """The neighbourhood is that of the distorted image."""
    K = np.array([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]])
    lens = CameraModel(320, 240, K, np.array([-0.3, 0.1, 0.001, -0.001, 0.02]))
    world, normal = slope(lens, bodies)
    depth = world.depth(lens)
    for u, v in ((30, 30), (160, 120), (300, 210)):
        point = lift(u, v, depth, lens)
        exact, _ = world.trace(np.zeros(3), lens.ray(u, v)[None])
        np.testing.assert_allclose(point.position, lens.ray(u, v) * exact[0], rtol=1e-4)
        assert angle(point.normal, normal) < 0.5


def test_normals_of_a_ball(camera, bodies) -> None:
    """Curved surfaces have their own normal at every point."""
    world = bodies.World((bodies.ball((0, 0, 0.7), 0.06), bodies.plane((0, 0, -1), (0, 0, 1))))
    depth = world.depth(camera)
    for u, v in ((320, 240), (300, 250), (345, 225)):
        point = lift(u, v, depth, camera)
        outward = (point.position - (0, 0, 0.7)) / 0.06
        assert abs(np.linalg.norm(outward) - 1) < 0.01
        assert angle(point.normal, outward / np.linalg.norm(outward)) < 1.5


class TestEdges:
    """A near board before a wall, with flying pixels on its edge."""

    @pytest.fixture(scope='class')
    @staticmethod
    def depth() -> np.ndarray:
        image = np.full((480, 640), 1.2, np.float32)
        image[:, 300:] = 0.7
        image[:, 299:301] = np.random.default_rng(0).uniform(0.75, 1.15, (480, 2))
        return image

    @pytest.mark.parametrize('v', range(100, 400, 37))
    @pytest.mark.parametrize(('u', 'z'), [(296, 1.2), (297, 1.2), (302, 0.7), (303, 0.7)])
    def test_two_pixels_inside_neither_side_is_pulled(self, camera, depth, u, v, z) -> None:
        """No mixture of near and far, whatever the flying pixels say."""
        point = lift(u, v, depth, camera)
        assert point.position[2] == pytest.approx(z, abs=0.002)
        # One side of an edge may be too little to tell a normal by, but then none is told.
        assert not angle(point.normal, np.array([0.0, 0, -1])) > 3

    @pytest.mark.parametrize('v', range(100, 400, 37))
    @pytest.mark.parametrize('u', [299, 300])
    def test_on_a_flying_pixel_it_is_one_side_or_no_answer(self, camera, depth, u, v) -> None:
        """Never a point in the air between the two."""
        point = lift(u, v, depth, camera)
        if point.status == LiftStatus.OK:
            assert min(abs(point.position[2] - 0.7), abs(point.position[2] - 1.2)) < 0.02


@pytest.mark.parametrize('width', [5, 6, 8])
def test_thin_things_do_not_fall_through_to_the_table(camera, bodies, width) -> None:
    """A handle a few pixels wide, 12 mm over a slanting table, with noise."""
    world, _ = slope(camera, bodies)
    table = world.depth(camera).astype(np.float64)
    thing = table.copy()
    thing[100:380, 320 - width // 2 : 320 - width // 2 + width] -= 0.012
    rng = np.random.default_rng(width)
    disparity = SCALE / thing + rng.normal(0, 0.05, thing.shape)
    depth = (SCALE / disparity).astype(np.float32)
    settings = LiftSettings(noise=StereoNoise(disparity_sigma=0.05, correlation=0.0))
    rows = np.arange(110, 370, 10)
    middle = 320 - width // 2 + (width - 1) / 2
    points = lift_points([(middle, v) for v in rows], depth, camera, settings)
    errors = [p.position[2] - thing[v, 320] for p, v in zip(points, rows, strict=True)]
    assert np.abs(errors).max() < 0.006
    assert np.abs(np.median(errors)) < 0.002


class TestHoles:
    """A hole in one surface is bridged and marked, between two it is not."""

    def test_within_one_surface(self, camera, bodies) -> None:
        """Shine on a plane: what surrounds the hole carries the point."""
        world, _ = slope(camera, bodies)
        depth = world.depth(camera)
        exact = depth[240, 320]
        depth[236:245, 316:325] = np.nan
        point = lift(320, 240, depth, camera)
        assert point.status == LiftStatus.OK
        assert point.bridged
        assert point.position[2] == pytest.approx(exact, abs=1e-4)
        whole = lift(320, 240, world.depth(camera), camera)
        assert np.trace(point.covariance) > np.trace(whole.covariance)

    @pytest.mark.parametrize(('tilt', 'bridged'), [(56.0, True), (68.0, False)])
    def test_in_a_steep_surface(self, camera, bodies, tilt, bridged) -> None:
        """Its two sides are far from each other, and one surface as far as it may be tilted."""
        world, _ = slope(camera, bodies, tilt)
        depth = world.depth(camera)
        exact = depth[240, 320]
        depth[235:246, 315:326] = np.nan
        settings = LiftSettings(noise=StereoNoise(disparity_sigma=0.004, disparity_step=0.001))
        point = lift(320, 240, depth, camera, settings)
        assert (point.status == LiftStatus.OK) == bridged
        if bridged:
            assert point.position[2] == pytest.approx(exact, rel=0.01)

    @pytest.mark.parametrize('beside', [0, 1, 2])
    def test_beside_another_surface(self, camera, beside) -> None:
        """One of eight directions may end elsewhere, as at a corner; two may not."""
        depth = np.full((480, 640), 0.9, np.float32)
        depth[237:244, 317:324] = np.nan
        for column in (324, 316)[:beside]:
            depth[235:246, column - 1 : column + 2] = np.where(
                np.abs(np.arange(235, 246) - 240)[:, None] < 3, 1.3, np.nan
            )
        point = lift(320, 240, depth, camera)
        assert (point.status == LiftStatus.OK) == (beside < 2)

    @pytest.mark.parametrize('gap', range(3, 9))
    def test_between_two_surfaces(self, camera, gap: int) -> None:
        """The shadow beside a near thing belongs to nobody knows whom."""
        depth = np.full((480, 640), 1.2, np.float32)
        depth[:, 320:] = 0.7
        depth[:, 320 - gap : 320] = np.nan
        point = lift(320 - (gap + 1) // 2, 240, depth, camera)
        assert point.status == LiftStatus.DEPTH_INVALID
        assert 'more than one surface' in point.reason

    def test_too_large(self, camera) -> None:
        """Nothing near enough to carry the point."""
        depth = np.full((480, 640), 0.9, np.float32)
        depth[220:260, 300:340] = np.nan
        point = lift(320, 240, depth, camera)
        assert point.status == LiftStatus.DEPTH_INVALID
        assert 'no reading' in point.reason
        assert np.isnan(point.position).all()


class TestStatuses:
    """Every situation has its own status and a reason, and nothing is raised."""

    DEPTH = np.full((480, 640), 0.8, np.float32)

    def test_no_depth_image(self, camera) -> None:
        """Color alone."""
        assert lift(1, 1, None, camera).status == LiftStatus.NO_DEPTH

    def test_no_camera_info(self) -> None:
        """Depth without intrinsics says nothing of x and y."""
        assert lift(1, 1, self.DEPTH, None).status == LiftStatus.NO_CAMERA_INFO

    def test_depth_of_another_view(self, camera) -> None:
        """The camera fits its picture: what does not fit is a wide depth image."""
        point = lift(1, 1, np.full((360, 640), 0.8, np.float32), camera)
        assert point.status == LiftStatus.NO_DEPTH
        assert '640x360' in point.reason and 'aligned' in point.reason

    @pytest.mark.parametrize('pixel', [(-0.6, 5), (639.6, 5), (5, 479.6), (5, -3), (np.nan, 5)])
    def test_outside_of_the_image(self, camera, pixel) -> None:
        """Molmo may point beyond the border."""
        assert lift(*pixel, self.DEPTH, camera).status == LiftStatus.OUTSIDE_DEPTH

    @pytest.mark.parametrize('value', [np.nan, 0.0, -1.0])
    def test_no_reading(self, camera, value) -> None:
        """Not a point at the camera's origin."""
        depth = np.full((480, 640), value, np.float32)
        assert lift(320, 240, depth, camera).status == LiftStatus.DEPTH_INVALID

    @pytest.mark.parametrize('value', [0.05, 12.0, np.inf, -np.inf])
    def test_out_of_range(self, camera, value) -> None:
        """Too near and too far, also as REP-117 writes them."""
        depth = np.full((480, 640), value, np.float32)
        assert lift(320, 240, depth, camera).status == LiftStatus.OUT_OF_RANGE

    def test_background_beyond_the_range_is_not_the_thing_before_it(self, camera) -> None:
        """A pixel beside a thing, on a far wall: not the thing."""
        depth = np.full((480, 640), 0.8, np.float32)
        depth[:, :320] = np.inf
        assert lift(318, 240, depth, camera).status == LiftStatus.OUT_OF_RANGE
        assert lift(321, 240, depth, camera).status == LiftStatus.OK

    def test_numbers_are_those_of_the_message(self) -> None:
        """GroundedPoint.msg counts them in this order."""
        names = 'OK NO_DEPTH DEPTH_INVALID OUT_OF_RANGE NO_CAMERA_INFO NO_TRANSFORM OUTSIDE_DEPTH'
        assert [status.name for status in LiftStatus] == names.split()
        assert [int(status) for status in LiftStatus] == list(range(7))

    def test_raw_millimetres_are_a_programming_error(self, camera) -> None:
        """Integers are not metres."""
        with pytest.raises(TypeError, match='depth_to_metres'):
            lift(1, 1, np.full((480, 640), 800, np.uint16), camera)

    def test_no_points(self, camera) -> None:
        """An empty answer."""
        assert lift_points([], self.DEPTH, camera) == ()


def test_depth_of_another_size_of_the_same_view(camera, bodies) -> None:
    """A depth image at half the size of the color image, in the same optical frame."""
    world, normal = slope(camera, bodies)
    depth = world.depth(camera.resized(320, 240))
    point = lift(400.3, 100.6, depth, camera)
    exact, _ = world.trace(np.zeros(3), camera.ray(400.3, 100.6)[None])
    np.testing.assert_allclose(point.position, camera.ray(400.3, 100.6) * exact[0], rtol=1e-4)
    assert angle(point.normal, normal) < 1


def test_together_and_one_by_one_are_the_same(camera, bodies) -> None:
    """Points do not depend on what else was asked."""
    world, _ = slope(camera, bodies)
    depth = world.depth(camera)
    depth[200:210, 300:310] = np.nan
    pixels = [(320.2, 240.1), (303.0, 204.0), (900.0, 2.0), (10.5, 470.2)]
    for pixel, together in zip(pixels, lift_points(pixels, depth, camera), strict=True):
        alone = lift(*pixel, depth, camera)
        assert alone.status == together.status
        np.testing.assert_allclose(alone.position, together.position)
        np.testing.assert_allclose(alone.covariance, together.covariance)


@pytest.mark.parametrize(('tilt', 'z'), [(0.0, 0.5), (40.0, 0.8), (55.0, 1.4)])
def test_covariance_means_what_it_says(camera, bodies, stereo_noise, tilt, z) -> None:
    """Normalised errors on planes under the modelled noise: mean within the band of chi square.

    Pixels are off by what pixel_sigma says; the errors of points far apart are independent.
    """
    normal = (0.0, -np.sin(np.radians(tilt)), -np.cos(np.radians(tilt)))
    world = bodies.World((bodies.plane(normal, (0, 0, z)),))
    settings = LiftSettings(pixel_sigma=0.5)
    rng = np.random.default_rng(int(100 * z))
    nees = []
    for seed in range(5):
        depth = stereo_noise(world.depth(camera), SCALE, seed)
        u, v = (
            axis.ravel() for axis in np.meshgrid(np.arange(20, 620, 24), np.arange(20, 460, 24))
        )
        exact, _ = world.trace(np.zeros(3), camera.ray(u, v))
        asked = np.column_stack([u, v]) + rng.normal(0, 0.5, (len(u), 2))
        points = lift_points(asked, depth, camera, settings)
        for point, ray, distance in zip(points, camera.ray(u, v), exact, strict=True):
            error = point.position - ray * distance
            nees.append(error @ np.linalg.solve(point.covariance, error))
    band = 1.96 * np.sqrt(2 * 3 / len(nees))
    assert 3 - band < np.mean(nees) < 3 + band


def test_covariance_grows_with_distance_as_the_sensor_does(camera) -> None:
    """Stereo with z^2, time of flight more slowly; a whole number of parameters, not a guess."""
    deviations = {}
    for name, noise in (('stereo', StereoNoise()), ('tof', TofNoise())):
        for z in (0.5, 2.0):
            depth = np.full((480, 640), z, np.float32)
            point = lift(319.5, 239.5, depth, camera, LiftSettings(noise=noise))
            deviations[name, z] = np.sqrt(point.covariance[2, 2])
    assert deviations['stereo', 2.0] / deviations['stereo', 0.5] == pytest.approx(16, rel=0.2)
    assert deviations['tof', 2.0] / deviations['tof', 0.5] < 4


def test_a_surface_of_few_pixels_has_a_position_but_no_normal(camera) -> None:
    """No invention: four pixels do not show which way a surface faces."""
    depth = np.full((480, 640), np.nan, np.float32)
    depth[238:241, 318:321] = 1.5
    point = lift(319, 239, depth, camera)
    assert point.status == LiftStatus.OK
    assert np.isnan(point.normal).all()
    assert point.valid_pixels == 9


def test_a_reading_needs_four_neighbours_that_agree(camera) -> None:
    """With fewer it is a flying pixel, and nothing is known there."""
    depth = np.full((480, 640), np.nan, np.float32)
    for row, column in ((240, 320), (239, 320), (241, 320), (240, 319), (240, 321)):
        depth[row, column] = 0.85
    point = lift(320, 240, depth, camera)
    assert point.status == LiftStatus.OK and point.position[2] == pytest.approx(0.85, abs=1e-3)
    depth[240, 321] = np.nan
    assert lift(320, 240, depth, camera).status == LiftStatus.DEPTH_INVALID


def test_spread_is_that_of_the_noise(camera, stereo_noise) -> None:
    """What it stood on was as noisy as it was."""
    depth = stereo_noise(np.full((480, 640), 1.0, np.float32), SCALE, 5)
    points = lift_points([(u, 240) for u in range(40, 600, 20)], depth, camera)
    assert np.median([p.spread for p in points]) == pytest.approx(0.08 / SCALE, rel=0.3)


def test_a_point_in_another_frame(camera) -> None:
    """Position moves, normal and covariance turn, the rest stays."""
    point = lift(100, 100, np.full((480, 640), 0.8, np.float32), camera)
    T = np.array([[0.0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1]])
    moved = transform_surface_point(point, T)
    x, y, z = point.position
    np.testing.assert_allclose(moved.position, [z + 1, -x + 2, -y + 3])
    np.testing.assert_allclose(moved.normal, [-1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(np.trace(moved.covariance), np.trace(point.covariance))
    assert (moved.status, moved.valid_pixels) == (point.status, point.valid_pixels)
    failed = transform_surface_point(SurfacePoint(LiftStatus.NO_DEPTH), T)
    assert failed.status == LiftStatus.NO_DEPTH
    assert np.isnan(failed.position).all()
    with pytest.raises(ValueError, match='rigid'):
        transform_surface_point(point, 2 * T)


def test_settings_that_make_no_sense_are_refused() -> None:
    """A range in millimetres, an empty window."""
    for changes in ({'min_range': 2.0, 'max_range': 1.0}, {'radius': 1.0}, {'min_range': 0.0}):
        with pytest.raises(ValueError, match='must be'):
            dataclasses.replace(LiftSettings(), **changes)
