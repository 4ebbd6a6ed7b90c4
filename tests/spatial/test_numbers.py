# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers of lifting and extents, each in a case that its neighbours decide otherwise.

Depth here has no noise: what a camera's noise is taken to be is all that tells.
"""

import numpy as np
import pytest

from molmo_ros.spatial import (
    Approach,
    CameraModel,
    Extent,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    Registration,
    SurfacePoint,
    TofNoise,
    approach_pose,
    lift,
    lift_points,
    visible_extent,
)
from molmo_ros.spatial.noise_presets import preset_for
from molmo_ros.spatial.support import Plane, supporting_plane

FOCAL, FAR = 600.0, 0.72
CAMERA = CameraModel(640, 480, np.array([[FOCAL, 0, 320.0], [0, FOCAL, 240.0], [0, 0, 1]]))
IDEAL = LiftSettings(noise=TofNoise(0.0, 0.0, 0.0))
MIDDLE = (320, 240)
LOOK = 0.09  # metres; no pixel within is left out


def noisy(sigma):
    """Settings of a camera whose readings err by so many metres, wherever they are."""
    return LiftSettings(noise=TofNoise(sigma, 0.0, 0.0))


def table(*boxes):
    """Depth of a table that the camera looks straight at; boxes: columns, rows and height."""
    depth = np.full((480, 640), FAR, np.float32)
    for columns, rows, height in boxes:
        depth[slice(*rows), slice(*columns)] = FAR - height
    return depth


def extent_of(depth, settings=IDEAL, look=LOOK, at=MIDDLE):
    """What there is at a pixel."""
    u, v = at
    position = CAMERA.ray(u, v) * float(depth[v, u])
    point = SurfacePoint(LiftStatus.OK, position=position, normal=np.array([0.0, 0, -1]))
    return visible_extent(point, depth, CAMERA, settings, max_size=look)


@pytest.mark.parametrize(('missing', 'found'), [(0, True), (1, False)])
def test_twenty_pixels_make_a_thing(missing, found):
    depth = table(((318, 323), (239, 243), 0.01))
    depth[239, 318 : 318 + missing] = FAR
    assert (extent_of(depth) is not None) == found


@pytest.mark.parametrize(('height', 'found'), [(0.0066, False), (0.0075, True)])
def test_a_point_two_sigmas_and_3_mm_over_the_table_is_on_a_thing(height, found):
    depth = table(((314, 327), (234, 247), height))
    assert (extent_of(depth, noisy(0.002)) is not None) == found


@pytest.mark.parametrize(
    ('height', 'lower', 'joined'),
    [
        (0.02, 0.0085, False),  # Three sigmas and 3 mm, for a thing that is high enough;
        (0.02, 0.0096, True),
        (0.012, 0.0055, False),  # else half its height,
        (0.012, 0.0065, True),
        (0.008, 0.0042, False),  # but at least half of these.
        (0.008, 0.0050, True),
    ],
)
def test_of_a_thing_what_stands_out_from_the_table_is_part(height, lower, joined):
    depth = table(((300, 321), (230, 251), height), ((321, 341), (230, 251), lower))
    extent = extent_of(depth, noisy(0.002), at=(310, 240))
    assert extent.size[0] == pytest.approx((41 if joined else 21) * FAR / FOCAL, abs=0.006)


@pytest.mark.parametrize(('share', 'joined'), [(0.6, False), (0.8, True)])
def test_noise_that_bridges_a_gap_somewhere_joins_no_low_things(share, joined):
    """Else the gripper is opened for two. Six tenths of the gap are bridged, or more."""
    rows = 220, 261
    bridge = (321, 331), (220, 220 + round(share * 41)), 0.007
    depth = table(((300, 321), rows, 0.012), bridge, ((331, 352), rows, 0.012))
    extent = extent_of(depth, noisy(0.002), at=(310, 240))
    width = extent.points[:, 0].max() - extent.points[:, 0].min()
    assert (width > 45 * FAR / FOCAL) == joined
    # The third of the bridge that is at least twice as near to this one belongs to it.
    assert joined or width == pytest.approx(23 * FAR / FOCAL, abs=0.0006)


@pytest.mark.parametrize(
    ('sigma', 'step', 'joined'),
    [(0.0, 0.0138, True), (0.0, 0.0149, False), (0.002, 0.0213, True), (0.002, 0.0233, False)],
)
def test_a_thing_ends_at_a_jump_of_12_mm_4_sigmas_and_two_pixels(sigma, step, joined):
    depth = table(((290, 320), (220, 261), 0.06), ((320, 350), (220, 261), 0.06 - step))
    extent = extent_of(depth, noisy(sigma), at=(305, 240))
    width = extent.points[:, 0].max() - extent.points[:, 0].min()
    assert (width > 0.045) == joined


def test_of_ten_thousand_points_every_third_is_kept():
    extent = extent_of(table(((270, 370), (190, 290), 0.02)), look=0.12)
    assert 3000 < len(extent.points) <= 4000


@pytest.mark.parametrize(('share', 'cut'), [(0.91, False), (0.985, True)])
def test_what_reaches_as_far_as_the_look_may_go_on(share, cut):
    z = FAR - 0.02
    half = int(share * LOOK * FOCAL / z)
    extent = extent_of(table(((320 - half, 321 + half), (236, 245), 0.02)))
    assert extent.cut == cut


@pytest.mark.parametrize(('share', 'found'), [(0.22, True), (0.28, False)])
def test_what_goes_on_is_a_thing_up_to_a_quarter_of_the_look_in_width(share, found):
    half = int(share * LOOK * FOCAL / (FAR - 0.02) / 2)
    depth = table(((200, 440), (240 - half, 241 + half), 0.02))
    assert (extent_of(depth) is not None) == found


@pytest.mark.parametrize(('longer', 'is_round'), [(1.33, True), (1.46, False)])
def test_an_outline_is_round_that_is_off_its_circle_by_3_percent(longer, is_round):
    """Of an oval, in the middle, by its near half."""
    v, u = np.mgrid[:480, :640]
    depth = table()
    depth[((u - 320) / longer) ** 2 + (v - 240) ** 2 <= 40**2] = FAR - 0.02
    assert extent_of(depth).round == is_round


@pytest.mark.parametrize(('other', 'found'), [(41, True), (30, False)])
def test_without_a_table_half_of_what_is_seen_is_no_thing(other, found):
    """It may be the table itself. Two balls before the sky, the other one apart in depth."""
    v, u = np.mgrid[:480, :640]
    depth = np.full((480, 640), np.nan, np.float32)
    for column, radius, z in ((284, 35, 0.69), (362, other, 0.66)):
        off = radius**2 - (u - column) ** 2 - (v - 240) ** 2
        depth[off > 0] = (z - np.sqrt(off[off > 0]) * 0.00115).astype(np.float32)
    extent = extent_of(depth, at=(300, 240))
    assert (extent is not None) == found


@pytest.mark.parametrize(('degrees', 'status'), [(74, 'OK'), (76, 'DEPTH_INVALID')])
def test_a_surface_is_one_up_to_75_degrees(camera, bodies, degrees, status):
    tilt = np.radians(degrees)
    world = bodies.World((bodies.plane((0.0, -np.sin(tilt), -np.cos(tilt)), (0, 0, 0.8)),))
    assert lift(320, 240, world.depth(camera), camera, IDEAL).status.name == status


@pytest.mark.parametrize(('degrees', 'status'), [(60, 'OK'), (65, 'DEPTH_INVALID')])
def test_across_a_hole_it_is_one_up_to_60(camera, bodies, degrees, status):
    """Or somewhat more, as no way between two of its sides goes straight down the slope."""
    tilt = np.radians(degrees)
    world = bodies.World((bodies.plane((0.0, -np.sin(tilt), -np.cos(tilt)), (0, 0, 0.8)),))
    depth = world.depth(camera)
    depth[238:243, 318:323] = np.nan
    assert lift(320, 240, depth, camera, IDEAL).status.name == status


@pytest.mark.parametrize(('nearer', 'bridged'), [(0.040, False), (0.052, True)])
def test_a_reading_is_borne_out_within_4_sigmas_and_the_steepest_slope(nearer, bridged):
    """Of 10 mm at one metre, and 6 mm for 75 degrees."""
    depth = np.full((480, 640), 1.0, np.float32)
    depth[240, 320] = 1 / (1 + nearer)
    assert lift(320, 240, depth, CAMERA, noisy(0.01)).bridged == bridged


@pytest.mark.parametrize(('distance', 'chance'), [(1, 0.20), (2, 0.09), (3, 0.043)])
def test_the_other_side_of_an_outline_counts_as_often_as_was_measured(distance, chance):
    depth = np.full((480, 640), 1.1, np.float32)
    depth[:, 300:] = 0.8
    point = lift(299 + distance, 240, depth, CAMERA, IDEAL)
    assert point.near_edge
    assert point.covariance[2, 2] / 0.3**2 == pytest.approx(chance, rel=0.12)


@pytest.mark.parametrize(
    ('sigma', 'jump', 'near'),
    [
        (0.0, 0.0112, False),  # 12 mm at least,
        (0.0, 0.0128, True),
        (0.004, 0.018, False),  # and five sigmas.
        (0.004, 0.022, True),
    ],
)
def test_another_surface_is_far_enough_off_this_one(sigma, jump, near):
    depth = np.full((480, 640), 0.8, np.float32)
    depth[239:242, 302:305] += jump
    assert lift(300, 240, depth, CAMERA, noisy(sigma)).near_edge == near


@pytest.mark.parametrize(('sigma', 'known'), [(0.0028, True), (0.0038, False)])
def test_a_normal_is_one_that_is_known_to_half_a_slope(sigma, known):
    """Of a strip three pixels wide and seven high."""
    depth = np.full((480, 640), np.nan, np.float32)
    depth[237:244, 319:322] = 1.0
    assert np.isfinite(lift(320, 240, depth, CAMERA, noisy(sigma)).normal).all() == known


def from_aside(depth, baseline, settings):
    """Lifted straight before a color camera that stands so far to the left of the depth camera."""
    T = np.eye(4)
    T[0, 3] = baseline
    return lift(*MIDDLE, depth, CAMERA, settings, Registration(CAMERA, T))


@pytest.mark.parametrize(
    ('sigma', 'jump', 'met'),
    [
        (0.01, 0.06, True),  # Six sigmas and 75 degrees over a step and a pixel,
        (0.01, 0.08, False),
        (0.0, 0.009, True),
        (0.0, 0.0145, False),
    ],
)
def test_a_ray_goes_behind_what_is_nearer_by_more_than_noise_and_slope(sigma, jump, met):
    """It passes just behind the edge of a board, and sees nothing of what is hidden by it."""
    depth = np.full((480, 640), 1.0, np.float32)
    depth[:, :81] = 1.0 + jump
    settings = LiftSettings(noise=TofNoise(sigma, 0.0, 0.0), min_range=0.5)
    point = from_aside(depth, 0.4, settings)
    assert ('hidden' not in point.reason) == met


@pytest.mark.parametrize(('missing', 'hole'), [(9, 'OK'), (14, 'no reading along the ray')])
def test_a_ray_meets_what_is_beyond_a_hole_of_twice_its_radius(missing, hole):
    """Whatever else is wrong with a hole in a wall, nothing stands before it."""
    depth = np.full((480, 640), 1.0, np.float32)
    start = 260 - missing // 2
    depth[236:245, start : start + missing] = np.nan
    point = from_aside(depth, 0.1, LiftSettings(min_range=0.5))
    assert (point.reason or 'OK') == hole


def test_a_narrow_bar_is_met_by_a_camera_far_aside():
    """Its rays go over 3000 pixels, 640 of them seen. Else the wall behind would be told."""
    depth = np.full((480, 640), 1.9, np.float32)
    depth[200:280, 420:426] = 1.6
    T = np.eye(4)
    T[0, 3] = 0.5
    settings = LiftSettings(noise=TofNoise(0.0, 0.0, 0.0), min_range=0.05)
    uv = [(320 + 102.1 + FOCAL * 0.5 / 1.6 + tenth / 10, 240) for tenth in range(15)]
    color = CameraModel(1280, 480, CAMERA.K)
    for point in lift_points(uv, depth, color, settings, Registration(CAMERA, T)):
        assert point.position[2] == pytest.approx(1.6, abs=1e-6)


@pytest.mark.parametrize(('end', 'z'), [('min_range', 0.7), ('max_range', 1.1)])
def test_a_reading_at_the_end_of_the_range_is_within(end, z):
    """Which in float32 is less than 0.7 or more than 1.1."""
    depth = np.full((480, 640), z, np.float32)
    beyond = np.full((480, 640), z * (1 + (1e-5 if end == 'max_range' else -1e-5)), np.float32)
    settings = LiftSettings(**{end: z})
    assert lift(*MIDDLE, depth, CAMERA, settings).status is LiftStatus.OK
    assert lift(*MIDDLE, beyond, CAMERA, settings).status is LiftStatus.OUT_OF_RANGE


def test_a_curved_surface_is_met_exactly_from_aside():
    """Its slope where the ray meets it is not that where the fit began."""
    v, u = (np.mgrid[:480, :640] - np.array([240, 320])[:, None, None]) / FOCAL
    depth = (1 / (2.5 + 20 * (u**2 + v**2) + 1.5 * u)).astype(np.float32)
    T = np.eye(4)
    T[0, 3] = 0.05
    settings = LiftSettings(noise=TofNoise(0.0, 0.0, 0.0), radius_metres=0.05)
    point = lift(300, 200, depth, CAMERA, settings, Registration(CAMERA, T))
    x, y = (point.position[:2] - (0.05, 0.0)) / point.position[2]
    inverse = 2.5 + 20 * (x**2 + y**2) + 1.5 * x
    assert 1 / point.position[2] == pytest.approx(inverse, abs=1e-7)


@pytest.mark.parametrize('name', ['azure_kinect', 'l515', 'kinect_v1', 'orbbec'])
def test_noise_reaches_half_as_far_over_pixels_of_twice_the_size(name):
    """Else a narrow image's points are said to be less sure than they are."""
    wide, narrow = (preset_for(name, width).noise.correlation for width in (640, 320))
    assert narrow == wide / 2


TOLERANCE = 0.004


def cloud(count=1000, **shares):
    """Points before the camera: shares of them at heights over a plane one metre away, named
    h_MICROMETRES or, behind it, b_MICROMETRES; the others anywhere well above it."""
    rng = np.random.default_rng(4)
    points = rng.uniform((-0.3, -0.3, 0.3), (0.3, 0.3, 0.9), (count, 3))
    start = 0
    for name, share in shares.items():
        end = start + int(count * share)
        points[start:end, 2] = 1.0 + (1 if name[0] == 'b' else -1) * float(name[2:]) * 1e-6
        start = end
    return rng.permutation(points)


def plane_under(points, up=None):
    tolerance = np.full(len(points), TOLERANCE)
    return supporting_plane(points, tolerance, np.array([0.0, 0, 0.6]), TOLERANCE, up)


@pytest.mark.parametrize(('behind', 'found'), [(0.09, True), (0.11, False)])
def test_a_plane_has_a_tenth_of_the_points_after_twice_those_behind_it(behind, found):
    """0.3 of them are on it. Those far behind are scattered, so that no plane has them."""
    points = cloud(h_0=0.3)
    far = np.flatnonzero(points[:, 2] < 0.95)[: int(1000 * behind)]
    points[far, 2] += 0.8
    assert (plane_under(points) is not None) == found


@pytest.mark.parametrize(('micrometres', 'offset'), [(10000, 1.0), (14000, 1.014)])
def test_points_are_behind_a_plane_by_three_tolerances(micrometres, offset):
    """Behind the one with most points there is another: which of them is the table?"""
    plane = plane_under(cloud(h_0=0.5, **{f'b_{micrometres}': 0.3}))
    assert -plane.offset == pytest.approx(offset, abs=0.002)


@pytest.mark.parametrize(('degrees', 'found'), [(17, True), (23, False)])
def test_a_table_is_upright_within_20_degrees(degrees, found):
    up = np.array([np.sin(np.radians(degrees)), 0.0, -np.cos(np.radians(degrees))])
    assert (plane_under(cloud(h_0=0.9), up) is not None) == found


def test_a_plane_with_a_fifth_of_the_points_is_found_nine_times_in_ten():
    rng = np.random.default_rng(8)
    points = cloud(200, h_0=0.2)
    found = [plane_under(rng.permutation(points)) is not None for _ in range(500)]
    assert 0.86 <= np.mean(found) < 0.93


@pytest.mark.parametrize(('count', 'found'), [(50, True), (49, False)])
def test_a_plane_needs_50_points(count, found):
    assert (plane_under(cloud(h_0=1.0)[:count]) is not None) == found


@pytest.mark.parametrize(('count', 'offset'), [(1500, 1.1), (1501, 1.0)])
def test_a_plane_is_judged_by_1500_points_at_most(count, offset):
    """Else a point takes longer the more is seen. Every other point is far behind the plane."""
    points = np.random.default_rng(5).uniform((-0.3, -0.3, 1.0), (0.3, 0.3, 1.0), (count, 3))
    points[1::2, 2] = 1.1
    assert -plane_under(points).offset == pytest.approx(offset, abs=0.002)


def thing(flat, plane=None, is_round=False, size=(0.0, 0.0, 0.0)):
    """An extent of points (N, 2) that face the camera one metre away, and a point amid them."""
    points = np.column_stack([flat, np.ones(len(flat))])
    at = np.array([0.0, 0, 1])
    point = SurfacePoint(LiftStatus.OK, position=at, normal=np.array([0.0, 0, -1]))
    extent = Extent(at, np.eye(3), np.array(size), at, plane, is_round, False, points)
    return point, extent


def rectangle(length, width, turn=0.0, middle=(0.0, 0.0)):
    """(N, 2) a millimetre apart."""
    x, y = np.meshgrid(
        np.arange(-length / 2, length / 2 + 1e-9, 1e-3),
        np.arange(-width / 2, width / 2 + 1e-9, 1e-3),
    )
    c, s = np.cos(turn), np.sin(turn)
    return np.column_stack([x.ravel(), y.ravel()]) @ np.array([[c, s], [-s, c]]) + middle


BY_NORMAL = GraspSettings(approach=Approach.NORMAL)


def closing(pose):
    """The gripper axis, x of the pose."""
    x, y, z, w = pose.quaternion
    return np.array([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)])


def test_a_gripper_is_turned_by_three_degrees():
    """So it is at most half of that off a long thing's width."""
    off = []
    for degrees in np.arange(0.0, 30.0, 0.7):
        turn = np.radians(degrees)
        pose = approach_pose(*thing(rectangle(0.3, 0.01, turn)), BY_NORMAL)
        across = np.array([-np.sin(turn), np.cos(turn), 0.0])
        off.append(np.degrees(np.arccos(min(abs(closing(pose) @ across), 1.0))))
    assert 1.2 < max(off) < 1.7


@pytest.mark.parametrize(('degrees', 'width'), [(8.5, 0.07), (11.5, 0.02)])
def test_a_round_thing_is_as_wide_all_around_within_ten_degrees_of_its_axis(degrees, width):
    """Seen farther from the side only what is seen of it counts."""
    tilt = np.radians(degrees)
    plane = Plane(np.array([np.sin(tilt), 0.0, -np.cos(tilt)]), -1.1)
    made = thing(rectangle(0.06, 0.02), plane, is_round=True, size=(0.07, 0.07, 0.1))
    assert approach_pose(*made, BY_NORMAL).width == pytest.approx(width, abs=0.003)


@pytest.mark.parametrize(('stray', 'width'), [(4, 0.03), (8, 0.05)])
def test_half_a_percent_of_stray_points_makes_nothing_wider(stray, width):
    flat = rectangle(0.1, 0.03)[::3]
    flat = flat[: 1000 - stray]
    strays = np.column_stack([np.zeros(stray), np.full(stray, 0.035)])
    pose = approach_pose(*thing(np.vstack([flat, strays])), BY_NORMAL)
    assert pose.width == pytest.approx(width, abs=0.004)


@pytest.mark.parametrize(('reach', 'graspable'), [(1.25, True), (0.75, False)])
def test_fingers_close_on_what_is_between_them(reach, graspable):
    """A waist between two flares, too wide on the whole: is the finger narrower than the waist?"""
    settings = GraspSettings(approach=Approach.NORMAL, opening=0.05, finger=0.02)
    start = reach * settings.finger / 2
    flares = [rectangle(0.2, 0.08, middle=(0, sign * (start + 0.04))) for sign in (1, -1)]
    waist = rectangle(0.03, 2 * start)
    pose = approach_pose(*thing(np.vstack([waist, *flares])), settings)
    assert pose.graspable == graspable
