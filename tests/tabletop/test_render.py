# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rendering is a perfect RGB-D picture: depth, instances and normals tell the same story."""

from dataclasses import replace

import numpy as np
import pytest

from molmo_ros.tabletop.world import Object, make_scene, render
from molmo_ros.tabletop.world.shapes import KINDS, mesh_of

WHITE = (0.9, 0.9, 0.9)


def points_in_world(scene, rendering):
    """(H, W, 3) what each pixel sees, in the world frame."""
    u, v = np.meshgrid(np.arange(rendering.camera.width), np.arange(rendering.camera.height))
    points = rendering.camera.ray(u, v) * rendering.depth[..., None].astype(float)
    return points @ scene.T_world_camera[:3, :3].T + scene.T_world_camera[:3, 3]


def alone(kind, scale=(1.0, 1.0, 1.0), yaw=0.4):
    """A scene with one object near the middle of the picture."""
    item = Object(kind, 'white', WHITE, (0.02, -0.01, 0.0), yaw, scale, 0.3)
    return replace(make_scene(3), objects=(item,))


def test_depth_of_the_table_is_the_table_plane():
    for seed in range(5):
        scene = make_scene(seed)
        rendering = render(scene)
        heights = points_in_world(scene, rendering)[rendering.instances == 0][:, 2]
        assert np.abs(heights).max() < 1e-4


def test_depth_of_a_ball_is_its_sphere():
    scene = alone('ball', (1.1, 1.1, 1.1))
    rendering = render(scene)
    points = points_in_world(scene, rendering)[rendering.instances == 1]
    radii = np.linalg.norm(points - (0.02, -0.01, 0.055), axis=1)
    assert np.abs(radii - 0.055).max() < 1e-4


def test_a_ball_covers_exactly_the_pixels_that_its_sphere_covers():
    scene = alone('ball')
    rendering = render(scene)
    u, v = np.meshgrid(np.arange(640), np.arange(480))
    rays = rendering.camera.ray(u, v)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    T = scene.T_world_camera
    centre = T[:3, :3].T @ (np.array((0.02, -0.01, 0.05)) - T[:3, 3])
    miss = np.linalg.norm(np.cross(rays, centre), axis=-1)
    assert (rendering.instances[miss < 0.0499] == 1).all()
    assert (rendering.instances[miss > 0.05] != 1).all()
    assert rendering.silhouettes[0] == np.count_nonzero(rendering.instances == 1)


def test_depth_of_a_box_is_its_faces():
    scene = alone('box', (1.2, 0.8, 1.0), yaw=0.7)
    rendering = render(scene)
    points = points_in_world(scene, rendering)[rendering.instances == 1]
    pose = scene.objects[0].T_world_object
    own = np.abs((points - pose[:3, 3]) @ pose[:3, :3] - (0, 0, 0.045)) - (0.06, 0.04, 0.045)
    assert np.abs(own.max(1)).max() < 1e-4


def test_normals_of_a_ball_point_out_of_its_centre():
    scene = alone('ball')
    rendering = render(scene)
    on = rendering.instances == 1
    out = points_in_world(scene, rendering)[on] - (0.02, -0.01, 0.05)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    normals = rendering.normals[on] @ scene.T_world_camera[:3, :3].T
    assert (out * normals).sum(1).min() > np.cos(np.radians(0.5))


@pytest.mark.parametrize('kind', KINDS)
def test_normals_are_those_of_the_depth_and_face_the_camera(kind):
    scene = alone(kind)
    rendering = render(scene)
    points = points_in_world(scene, rendering)
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    measured = np.cross(down, across)
    measured /= np.linalg.norm(measured, axis=-1, keepdims=True)
    normals = rendering.normals[1:-1, 1:-1] @ scene.T_world_camera[:3, :3].T
    one = rendering.instances == 1
    inside = one[1:-1, 1:-1] & one[1:-1, 2:] & one[1:-1, :-2] & one[2:, 1:-1] & one[:-2, 1:-1]
    agreement = (measured * normals).sum(-1)[inside]
    assert np.median(agreement) > np.cos(np.radians(3))
    assert np.percentile(agreement, 10) > np.cos(np.radians(20))
    np.testing.assert_allclose(np.linalg.norm(rendering.normals[one], axis=1), 1, atol=1e-5)


def test_depth_is_known_exactly_where_something_is_hit():
    seen_background = False
    for seed in range(8):
        rendering = render(make_scene(seed), 160, 120)
        nothing = rendering.instances == -1
        seen_background |= bool(nothing.any())
        np.testing.assert_array_equal(nothing, np.isnan(rendering.depth))
        assert not rendering.normals[nothing].any()
    assert seen_background


def test_objects_stand_on_the_table_and_before_it():
    scene = make_scene(4)
    rendering = render(scene)
    heights = points_in_world(scene, rendering)[rendering.instances > 0][:, 2]
    assert heights.min() > -1e-4
    assert heights.max() < 0.3


def test_a_smaller_picture_shows_the_same():
    scene = make_scene(2)
    large, small = render(scene, 576, 432), render(scene, 192, 144)
    middle = np.s_[1::3, 1::3]
    same = small.instances == large.instances[middle]
    assert same.mean() > 0.9995
    np.testing.assert_allclose(small.depth[same], large.depth[middle][same], rtol=1e-5)
    np.testing.assert_allclose(small.normals[same], large.normals[middle][same], atol=1e-3)


def test_a_picture_of_another_shape_still_shows_every_object():
    scene = make_scene(2)
    usual, wide = render(scene), render(scene, 848, 480)
    assert wide.color.shape == (480, 848, 3)
    np.testing.assert_array_equal(wide.instances[:, 104:-104], usual.instances)


def test_smoothing_changes_only_the_color_of_edges():
    scene = make_scene(2)
    plain, smooth = render(scene, 320, 240), render(scene, 320, 240, smooth=True)
    np.testing.assert_array_equal(plain.depth, smooth.depth)
    np.testing.assert_array_equal(plain.instances, smooth.instances)
    changed = (plain.color != smooth.color).any(-1)
    assert 0.001 < changed.mean() < 0.15


def test_an_object_shades_the_table_away_from_the_light():
    scene = alone('ball')
    T = scene.T_world_camera
    right = np.array([*T[:2, 0], 0]) / np.hypot(*T[:2, 0])
    towards = (right + np.array((0, 0, 1))) / np.sqrt(2)
    scene = replace(scene, light=replace(scene.light, towards=tuple(towards.tolist())))
    rendering = render(scene)
    foot = np.array((0.02, -0.01, 0.0))

    def brightness(at):
        u, v = rendering.camera.project((at - T[:3, 3]) @ T[:3, :3]).round().astype(int)
        assert rendering.instances[v, u] == 0
        return rendering.color[v, u].mean() / (255 * np.mean(scene.table.albedo))

    assert brightness(foot - 0.08 * right) < 0.75 < brightness(foot + 0.08 * right)


@pytest.mark.parametrize('kind', KINDS)
def test_meshes_are_metric_and_stand_on_the_table(kind):
    mesh = mesh_of(kind)
    assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
    size = np.ptp(mesh.vertices, axis=0)
    assert 0.05 < size.max() < 0.25
    assert mesh.faces.max() < len(mesh.vertices)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)
