# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a point to a pick: the thing it is on, and a pose to approach it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from molmo_ros.spatial import (
    Approach,
    CameraModel,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    SurfacePoint,
    approach_pose,
    lift,
    transform_extent,
    visible_extent,
)

UP = np.array([0.0, -np.sin(np.radians(45)), -np.cos(np.radians(45))])
"""Away from the table, for a camera that looks down at 45 degrees."""
ALONG = np.array([1.0, 0.0, 0.0])
FOOT = np.array([0.0, 0.0, 0.7])


def table(bodies):
    """The table under the point FOOT."""
    return bodies.plane(tuple(UP), tuple(FOOT))


def box_on_table(bodies, size: tuple[float, float, float], turn: float):
    """A box with length, width, height, turned on the table; and its axes as columns."""
    axes = np.stack([ALONG, np.cross(UP, ALONG), UP], 1)
    axes = cv2.Rodrigues(UP * np.radians(turn))[0] @ axes
    return bodies.box(tuple(FOOT + UP * size[2] / 2), size, axes), axes


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """(3, 3) by the textbook."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def look_at(camera, bodies, *things, noise=None):
    """The depth image, the lifted point on top of the first thing, and its extent."""
    world = bodies.World((table(bodies), *things))
    depth = world.depth(camera)
    if noise is not None:
        depth = noise(depth, 30.0, 3)
    top = FOOT + UP * 0.03
    u, v = camera.project(top)
    point = lift(u, v, depth, camera)
    return depth, point, visible_extent(point, depth, camera)


@pytest.mark.parametrize('turn', [0, 20, 45, 70])
@pytest.mark.parametrize('noisy', [False, True])
def test_a_box_is_measured(camera, bodies, stereo_noise, turn, noisy) -> None:
    """Its size, its middle, the table it stands on; the gripper goes across its width."""
    size = (0.11, 0.05, 0.07)
    body, axes = box_on_table(bodies, size, turn)
    _, point, extent = look_at(camera, bodies, body, noise=stereo_noise if noisy else None)
    assert extent is not None and extent.plane is not None
    assert extent.plane.normal @ UP > np.cos(np.radians(0.5))
    assert abs(extent.axes[0] @ axes[:, 0]) > np.cos(np.radians(4))
    np.testing.assert_allclose(extent.size, size, atol=0.006)
    np.testing.assert_allclose(extent.centre, FOOT + UP * 0.035, atol=0.005)
    np.testing.assert_allclose(extent.axes @ extent.axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(extent.axes) == pytest.approx(1)
    assert not extent.round and not extent.cut
    pose = approach_pose(point, extent)
    rotation = rotation_of(pose.quaternion)
    assert abs(rotation[:, 0] @ axes[:, 1]) > np.cos(np.radians(6))
    assert pose.width == pytest.approx(0.05, abs=0.006)
    assert pose.graspable


@pytest.mark.parametrize('noisy', [False, True])
def test_a_cylinder_is_measured_with_the_side_that_is_not_seen(
    camera, bodies, stereo_noise, noisy
) -> None:
    """Round on the near side is round: the width is the diameter."""
    body = bodies.cylinder(tuple(FOOT), UP, 0.03, 0.1)
    _, point, extent = look_at(camera, bodies, body, noise=stereo_noise if noisy else None)
    assert extent is not None and extent.round
    np.testing.assert_allclose(extent.size, (0.06, 0.06, 0.1), atol=0.005)
    np.testing.assert_allclose(extent.centre, FOOT + UP * 0.05, atol=0.005)
    assert approach_pose(point, extent).width == pytest.approx(0.06, abs=0.005)


def test_a_neighbour_is_not_part_of_it(camera, bodies) -> None:
    """Two boxes 2 cm apart are two."""
    body, axes = box_on_table(bodies, (0.05, 0.05, 0.06), 0)
    other = bodies.box(tuple(FOOT + UP * 0.03 + 0.07 * axes[:, 0]), (0.05, 0.05, 0.06), axes)
    _, _, extent = look_at(camera, bodies, body, other)
    assert extent.size[0] < 0.06


def test_approach_from_above(camera, bodies) -> None:
    """z down on to the table, the standoff over the point, a right-handed frame."""
    body, _ = box_on_table(bodies, (0.08, 0.05, 0.06), 30)
    _, point, extent = look_at(camera, bodies, body)
    pose = approach_pose(point, extent, GraspSettings(standoff=0.15))
    rotation = rotation_of(pose.quaternion)
    assert pose.approach == Approach.ABOVE
    assert rotation[:, 2] @ -UP > np.cos(np.radians(1))
    np.testing.assert_allclose(pose.position + 0.15 * rotation[:, 2], point.position, atol=1e-9)
    np.testing.assert_allclose(np.cross(rotation[:, 2], rotation[:, 0]), rotation[:, 1], atol=1e-9)
    assert np.linalg.norm(pose.quaternion) == pytest.approx(1, abs=1e-12)


def test_approach_along_the_normal(camera, bodies) -> None:
    """From where the surface faces, here the side of a cylinder."""
    body = bodies.cylinder(tuple(FOOT), UP, 0.04, 0.15)
    world = bodies.World((table(bodies), body))
    depth = world.depth(camera)
    side = FOOT + UP * 0.08 - 0.04 * np.cross(ALONG, UP) * np.sign(np.cross(ALONG, UP)[2])
    u, v = camera.project(side)
    point = lift(u, v, depth, camera)
    extent = visible_extent(point, depth, camera)
    pose = approach_pose(point, extent, GraspSettings(approach=Approach.NORMAL))
    assert pose.approach == Approach.NORMAL
    np.testing.assert_allclose(rotation_of(pose.quaternion)[:, 2], -point.normal, atol=1e-9)


def test_gravity_from_outside_is_taken_over_the_plane_found(camera, bodies) -> None:
    """Who knows which way is up says so."""
    body, _ = box_on_table(bodies, (0.08, 0.05, 0.06), 30)
    _, point, extent = look_at(camera, bodies, body)
    up = np.array([0.0, -1.0, 0.0])
    pose = approach_pose(point, extent, up=up)
    np.testing.assert_allclose(rotation_of(pose.quaternion)[:, 2], -up, atol=1e-9)


def test_too_wide_a_thing_is_gripped_at_the_point(camera, bodies) -> None:
    """A T of two boxes, wider than the gripper both ways: its stem is not, where the point is."""
    axes = box_on_table(bodies, (1, 1, 1), 0)[1]
    stem = bodies.box(tuple(FOOT + UP * 0.015), (0.03, 0.16, 0.03), axes)
    bar = bodies.box(tuple(FOOT + UP * 0.015 + 0.09 * axes[:, 1]), (0.18, 0.04, 0.03), axes)
    _, point, extent = look_at(camera, bodies, stem, bar)
    pose = approach_pose(point, extent)
    assert pose.graspable
    assert pose.width == pytest.approx(0.03, abs=0.006)


def test_a_thing_that_is_too_wide_everywhere_is_said_to_be(camera, bodies) -> None:
    """The pose is still one, the width tells."""
    body, _ = box_on_table(bodies, (0.2, 0.2, 0.04), 10)
    _, point, extent = look_at(camera, bodies, body)
    pose = approach_pose(point, extent)
    assert not pose.graspable
    assert pose.width > 0.15


def test_a_point_on_the_table_has_no_thing(camera, bodies) -> None:
    """No extent is invented for a bare plane; the pose goes by the normal, its width unknown."""
    _, point, extent = look_at(camera, bodies)
    assert extent is None
    pose = approach_pose(point, extent)
    assert pose.approach == Approach.NORMAL
    assert np.isnan(pose.width)
    assert not pose.graspable
    assert np.linalg.norm(pose.quaternion) == pytest.approx(1)


def test_a_position_alone_is_approached_along_the_ray() -> None:
    """No normal, no extent: a pose that is valid and says how little it knows."""
    point = SurfacePoint(LiftStatus.OK, position=np.array([0.1, -0.2, 0.9]))
    pose = approach_pose(point, None)
    assert pose.approach == Approach.RAY
    z = rotation_of(pose.quaternion)[:, 2]
    np.testing.assert_allclose(z, point.position / np.linalg.norm(point.position), atol=1e-9)


def test_without_a_point_there_is_no_pose(camera) -> None:
    """No pose at the camera's origin."""
    failed = SurfacePoint(LiftStatus.DEPTH_INVALID)
    assert approach_pose(failed, None) is None
    assert visible_extent(failed, np.zeros((480, 640), np.float32), camera) is None


def test_every_direction_gives_a_unit_quaternion() -> None:
    """Also half turns, where the usual formulas divide by nothing."""
    rng = np.random.default_rng(0)
    directions = np.concatenate([rng.normal(size=(200, 3)), np.eye(3), -np.eye(3)])
    for direction in directions:
        normal = direction / np.linalg.norm(direction)
        point = SurfacePoint(LiftStatus.OK, position=np.array([0.0, 0, 1]), normal=normal)
        pose = approach_pose(point, None, GraspSettings(approach=Approach.NORMAL))
        assert np.linalg.norm(pose.quaternion) == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(rotation_of(pose.quaternion)[:, 2], -normal, atol=1e-7)


def test_a_thing_at_the_border_may_be_larger(camera, bodies) -> None:
    """What the image cuts off is said to be cut."""
    body, _ = box_on_table(bodies, (0.9, 0.05, 0.06), 0)
    _, _, extent = look_at(camera, bodies, body)
    assert extent.cut


def test_an_extent_in_another_frame(camera, bodies) -> None:
    """Everything moves together: heights over the plane do not change."""
    body, _ = box_on_table(bodies, (0.08, 0.05, 0.06), 30)
    _, _, extent = look_at(camera, bodies, body)
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([0.4, -1.0, 0.3]))[0]
    T[:3, 3] = 1, 2, 3
    moved = transform_extent(extent, T)
    np.testing.assert_allclose(moved.size, extent.size)
    np.testing.assert_allclose(moved.plane.height(moved.points), extent.plane.height(extent.points))
    np.testing.assert_allclose(
        moved.axes @ (moved.centre - moved.centroid),
        extent.axes @ (extent.centre - extent.centroid),
        atol=1e-9,
    )


def test_stereo_noise_leaves_normals_and_planes_usable(camera, bodies, stereo_noise) -> None:
    """Normals within 15 degrees under noise, the table within one."""
    body, _ = box_on_table(bodies, (0.12, 0.09, 0.06), 30)
    world = bodies.World((table(bodies), body))
    exact = world.depth(camera)
    angles = []
    for seed in range(20):
        depth = stereo_noise(exact, 30.0, seed)
        u, v = camera.project(FOOT + UP * 0.06)
        point = lift(u, v, depth, camera, LiftSettings())
        angles.append(np.degrees(np.arccos(np.clip(point.normal @ UP, -1, 1))))
    assert np.median(angles) < 15


WIDE = CameraModel(640, 480, np.array([[260.0, 0, 319.5], [0, 260, 239.5], [0, 0, 1]]))


def test_a_bar_that_goes_on_beyond_the_look_is_said_to_be_cut(bodies) -> None:
    """All of it is in the picture, more of it than was looked at."""
    body, _ = box_on_table(bodies, (1.1, 0.04, 0.05), 0)
    _, _, extent = look_at(WIDE, bodies, body)
    assert extent.cut and extent.size[0] == pytest.approx(0.8, abs=0.03)
    assert extent.size[1] == pytest.approx(0.04, abs=0.01)


def test_a_shelf_that_goes_on_beyond_the_look_is_no_thing(bodies) -> None:
    """Nobody saw where it ends; a gripper would be told a size that is that of the look."""
    body, _ = box_on_table(bodies, (1.1, 0.3, 0.05), 0)
    _, point, extent = look_at(WIDE, bodies, body)
    assert point.status == LiftStatus.OK and extent is None


def test_readings_in_one_line_make_no_plane_and_no_fault(camera) -> None:
    """Of a wire before a sky no more may be seen."""
    depth = np.full((480, 640), np.nan, np.float32)
    depth[240, 200:440] = 0.6
    position = camera.ray(320, 240) * 0.6
    assert visible_extent(SurfacePoint(LiftStatus.OK, position=position), depth, camera) is None


def test_a_thing_of_which_half_the_readings_are_missing_is_still_one(camera, bodies) -> None:
    """Dark things: every second pixel, so that each reading has its four diagonal neighbours."""
    body, _ = box_on_table(bodies, (0.05, 0.04, 0.03), 15)
    depth = bodies.World((table(bodies), body)).depth(camera)
    point = lift(*camera.project(FOOT + UP * 0.03), depth, camera)
    whole = visible_extent(point, depth, camera, max_size=0.09)
    rows, columns = np.indices(depth.shape)
    depth[(rows + columns) % 2 == 1] = np.nan
    extent = visible_extent(point, depth, camera, max_size=0.09)
    np.testing.assert_allclose(extent.size, whole.size, atol=0.004)


@pytest.mark.parametrize(('step', 'joined'), [(0.024, True), (0.030, False)])
def test_a_thing_ends_where_the_depth_jumps(camera, bodies, step, joined) -> None:
    """12 mm, noise, and how steep a side may be between two of the pixels looked at; no more."""
    up = np.array([0.0, 0.0, -1.0])
    foot = np.array([0.0, 0.0, 0.7])
    near = bodies.box((0.0, 0.0, 0.66), (0.08, 0.08, 0.08), np.eye(3))
    depth_of_other = 0.08 - step
    other = bodies.box(
        (0.08, 0.0, 0.7 - depth_of_other / 2), (0.08, 0.08, depth_of_other), np.eye(3)
    )
    depth = bodies.World((bodies.plane(tuple(up), tuple(foot)), near, other)).depth(camera)
    point = lift(319.5, 239.5, depth, camera)
    extent = visible_extent(point, depth, camera)
    assert extent.size[0] == pytest.approx(0.16 if joined else 0.08, abs=0.01)
