# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth that is not aligned to color: another camera, another size, another place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from molmo_ros.spatial import CameraModel, LiftSettings, LiftStatus, Registration, lift, lift_points

COLOR = CameraModel(
    1280,
    720,
    np.array([[910.0, 0, 640.3], [0, 908, 355.2], [0, 0, 1]]),
    np.array([0.1, -0.2, 0.001, -0.0005, 0.05]),
)
DEPTH = CameraModel(640, 480, np.array([[610.0, 0, 320.3], [0, 608, 238.2], [0, 0, 1]]))


def pose(x: float, y: float = 0.0, z: float = 0.0, turn: float = 0.02) -> np.ndarray:
    """T_color_depth of a pair that squints a little."""
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([turn / 2, -turn, turn / 4]))[0]
    T[:3, 3] = x, y, z
    return T


@pytest.mark.parametrize('T', [pose(0.015, 0.001, -0.002), pose(-0.05, 0.02), pose(0.0, turn=0.0)])
def test_a_slope_is_met_on_the_color_camera_s_ray(bodies, T) -> None:
    """Position and normal are those in the color camera's frame."""
    normal = np.array([0.3, -0.5, -1.0])
    normal /= np.linalg.norm(normal)
    world = bodies.World((bodies.plane(tuple(normal), (0, 0, 0.8)),))
    depth = world.depth(DEPTH, T)
    pixels = np.random.default_rng(0).uniform((250, 100), (1030, 620), (60, 2))
    rays = COLOR.ray(*pixels.T)
    exact, _ = world.trace(np.zeros(3), rays)
    points = lift_points(pixels, depth, COLOR, registration=Registration(DEPTH, T))
    for point, ray, distance in zip(points, rays, exact, strict=True):
        assert point.status == LiftStatus.OK
        np.testing.assert_allclose(point.position, ray * distance, rtol=2e-5)
        assert point.normal @ normal > np.cos(np.radians(0.5))


def test_things_are_told_from_what_is_behind_them(bodies) -> None:
    """Balls and boxes before a wall: every visible pixel gets the surface it shows."""
    T = pose(0.03)
    turn = cv2.Rodrigues(np.array([0.5, 0.6, 0.1]))[0]
    world = bodies.World(
        (
            bodies.plane((0.0, -0.4, -1.0), (0, 0, 1.1)),
            bodies.ball((-0.1, 0.0, 0.7), 0.05),
            bodies.box((0.12, 0.05, 0.75), (0.1, 0.07, 0.05), turn),
            bodies.box((0.0, -0.1, 0.6), (0.3, 0.012, 0.012), np.eye(3)),
        )
    )
    depth, seen_by_depth = world.see(DEPTH, T)
    color = COLOR.resized(640, 360)
    z, seen = world.see(color)
    rng = np.random.default_rng(1)
    checked = 0
    for body in range(4):
        inside = cv2.erode((seen == body).astype(np.uint8), np.ones((5, 5)), borderValue=0)
        rows, columns = np.nonzero(inside)
        chosen = rng.choice(len(rows), 60, replace=False)
        pixels = np.column_stack([columns[chosen], rows[chosen]]).astype(float)
        points = lift_points(
            pixels, depth.astype(np.float32), color, registration=Registration(DEPTH, T)
        )
        for (u, v), point in zip(pixels.astype(int), points, strict=True):
            position = color.ray(u, v) * z[v, u]
            there = DEPTH.project((position - T[:3, 3]) @ T[:3, :3])
            if not ((there > 8) & (there < (631, 471))).all():
                continue
            column, row = np.rint(there).astype(int)
            around = seen_by_depth[row - 2 : row + 3, column - 2 : column + 3]
            if (around == body).all():
                assert point.status == LiftStatus.OK
                assert np.linalg.norm(point.position - position) < 0.006
                checked += 1
            elif (around != body).all():
                assert point.status != LiftStatus.OK or point.position[2] > 0.9
    assert checked > 150


def test_what_the_depth_camera_cannot_see_is_said_to_be_hidden() -> None:
    """The color camera looks past a board that stands before the depth camera's view of it."""
    T = pose(0.3, turn=0.0)
    depth = np.full((480, 640), 2.0, np.float32)
    depth[:, :400] = 0.5
    # Straight ahead of the color camera, at 2 m: 0.3 m to the left in the depth camera, hidden.
    point = lift(640, 355, depth, COLOR, registration=Registration(DEPTH, T))
    assert point.status in (LiftStatus.DEPTH_INVALID, LiftStatus.OUTSIDE_DEPTH)
    assert 'hidden' in point.reason or 'image' in point.reason


def test_the_nearest_surface_along_the_ray_is_taken() -> None:
    """A ray that passes through two surfaces of the depth image stops at the first."""
    T = pose(0.1, turn=0.0)
    depth = np.full((480, 640), 2.0, np.float32)
    depth[:, 100:] = 0.5
    point = lift(640.3, 355.2, depth, COLOR, registration=Registration(DEPTH, T))
    assert point.position[2] == pytest.approx(0.5, abs=1e-4)


def test_each_failure_has_its_status() -> None:
    """Outside of the depth image, without readings, and beyond the range."""
    registration = Registration(DEPTH, pose(0.015))
    full = np.full((480, 640), 1.0, np.float32)
    assert lift(2, 2, full, COLOR, registration=registration).status == LiftStatus.OUTSIDE_DEPTH
    nothing = np.full((480, 640), np.nan, np.float32)
    point = lift(640, 360, nothing, COLOR, registration=registration)
    assert point.status == LiftStatus.DEPTH_INVALID
    far = LiftSettings(max_range=0.8)
    point = lift(640, 360, full, COLOR, far, registration)
    assert point.status == LiftStatus.OUT_OF_RANGE


def test_where_the_readings_end_before_the_ray_does_nothing_is_known_of_its_rest() -> None:
    """The far wall is seen beside the thing, and the thing, clear or shiny, is not."""
    registration = Registration(DEPTH, pose(0.08, turn=0.0))
    depth = np.full((480, 640), np.inf, np.float32)
    depth[:, 290:] = np.nan
    point = lift(640, 355, depth, COLOR, registration=registration)
    assert point.status == LiftStatus.DEPTH_INVALID and 'no reading' in point.reason
    depth[:] = np.inf
    point = lift(640, 355, depth, COLOR, registration=registration)
    assert point.status == LiftStatus.OUT_OF_RANGE


@pytest.mark.parametrize('value', [0.04, 0.4, 3.5, np.inf, -np.inf, np.nan, 0.0, -1.0])
def test_a_small_depth_image_of_the_same_view_has_the_statuses_of_a_large_one(value) -> None:
    """Its size is no reason to tell a wall that is too near from one that is not seen."""
    settings = LiftSettings(min_range=0.2, max_range=2.5)
    large = np.full((480, 640), value, np.float32)
    expected = lift(300, 200, large, DEPTH, settings).status
    assert lift(300, 200, large[::2, ::2], DEPTH, settings).status == expected


def test_a_hole_is_bridged_in_the_depth_image() -> None:
    """As with aligned depth: the same surface all around."""
    depth = np.full((480, 640), 1.0, np.float32)
    T = pose(0.015, turn=0.0)
    hit = DEPTH.project(COLOR.ray(700, 400) * 1.0 - T[:3, 3])
    column, row = np.rint(hit).astype(int)
    depth[row - 3 : row + 4, column - 3 : column + 4] = np.nan
    point = lift(700, 400, depth, COLOR, registration=Registration(DEPTH, T))
    assert point.status == LiftStatus.OK
    assert point.bridged
    assert point.position[2] == pytest.approx(1.0, abs=1e-4)


def test_a_transform_in_millimetres_or_mirrored_is_refused() -> None:
    """Extrinsics that are no rigid transform."""
    with pytest.raises(ValueError, match='rigid'):
        Registration(DEPTH, np.diag([1000.0, 1000, 1000, 1]))
    with pytest.raises(ValueError, match='rigid'):
        Registration(DEPTH, np.diag([-1.0, 1, 1, 1]))


def test_no_position_is_beyond_the_range_of_the_color_camera() -> None:
    """A surface that crosses the limit, seen by another camera through noise and holes."""
    camera = CameraModel(160, 120, np.array([[150.0, 0, 79.5], [0, 150, 59.5], [0, 0, 1]]))
    v, u = np.mgrid[:120, :160]
    settings, found = LiftSettings(max_range=1.4), 0
    for seed in range(25):
        random = np.random.default_rng(seed)
        tilt_u, tilt_v, noise = random.normal(0, 0.004, 3)
        depth = 1.4 * (
            1 + tilt_u * (u - 80) + tilt_v * (v - 60) + noise * random.normal(size=u.shape)
        )
        depth[random.random(depth.shape) < 0.4] = np.nan
        T = np.eye(4)
        T[:3, 3] = random.normal(0, 0.1, 3)
        pixels = random.uniform((0, 0), (159, 119), (200, 2))
        points = lift_points(
            pixels, depth.astype(np.float32), camera, settings, Registration(camera, T)
        )
        z = np.array([p.position[2] for p in points if p.status is LiftStatus.OK])
        assert not (z > 1.4).any(), seed
        found += len(z)
    assert found > 500


def test_the_last_rays_of_a_lens_have_a_covariance_too() -> None:
    """Half a pixel farther out the model has no ray: how far a pixel reaches goes by one side."""
    K = np.array([[310.0, 0, 159.5], [0, 310, 119.5], [0, 0, 1]])
    lens = CameraModel(320, 240, K, np.array([-0.9, 0.0, 0.0, 0.0, 0.0]))
    columns = np.arange(160, 320, 0.2)
    seen = np.isfinite(lens.ray(columns, np.full_like(columns, 119.5))).all(1)
    last = float(columns[seen].max())
    wide = CameraModel(640, 480, np.array([[320.0, 0, 318.7], [0, 320, 240.2], [0, 0, 1]]))
    registration = Registration(wide, pose(0.01, turn=0.0))
    depth = np.full((480, 640), 0.9, np.float32)
    pixels = [(last, 119.5), (last + 1, 119.5)]
    point, gone = lift_points(pixels, depth, lens, registration=registration)
    assert point.status == LiftStatus.OK
    assert np.linalg.eigvalsh(point.covariance).min() > 0
    assert gone.status == LiftStatus.OUTSIDE_DEPTH
