# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to take a thing, and where to put one down, from a depth image."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundingSettings, ground
from molmo_ros.pointing import ImagePoint
from molmo_ros.spatial import (
    Approach,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    StereoNoise,
    Unseen,
    grasps_of,
    lift,
    place_at,
    transform_grasps,
    visible_extent,
)
from molmo_ros.spatial.tool_frames import TOOL_FRAMES, in_tool_frame

UP = np.array([0.0, -np.sin(np.radians(50)), -np.cos(np.radians(50))])
RIGHT = np.array([1.0, 0.0, 0.0])
AWAY = np.cross(UP, RIGHT)  # over the table, away from the camera
FOOT = np.array([0.0, 0.0, 0.65])
AXES = np.stack([RIGHT, AWAY, UP], 1)
HAND = GraspSettings(opening=0.08, palm=(0.12, 0.06, 0.09))


def at(right: float, away: float, up: float) -> np.ndarray:
    """A point of the table's frame in the camera's."""
    return FOOT + AXES @ (right, away, up)


def on_table(points: np.ndarray) -> np.ndarray:
    """Points of the camera's frame in the table's: right, away, up."""
    return (points - FOOT) @ AXES


@pytest.fixture(scope='module')
def table(bodies, camera):
    """Makes a table with boxes (middle and size, in the table's frame) and others."""

    def made(*boxes, others=()):
        things = [bodies.box(tuple(at(*middle)), size, AXES) for middle, size in boxes]
        ground = bodies.plane(tuple(UP), tuple(FOOT))
        return bodies.World((ground, *things, *others)).depth(camera)

    return made


@pytest.fixture(scope='module')
def take(camera):
    """The ways to take what a place in space is on, and its extent."""

    def taken(depth, where, settings=HAND, up=None):
        noise = LiftSettings(preset='ideal')
        point = lift(*camera.project(where), depth, camera, noise)
        extent = visible_extent(point, depth, camera, noise)
        assert extent is not None
        return grasps_of(point, extent, depth, camera, noise, settings, up)

    return taken


def corners(grasp, settings):
    """Of the fingers and the palm as they come, in the table's frame."""
    half = grasp.opening / 2
    length, (x, y, z) = settings.finger_length, settings.palm
    boxes = [
        ((half, half + settings.finger_thickness), settings.finger / 2, (-length, 0)),
        ((-half - settings.finger_thickness, -half), settings.finger / 2, (-length, 0)),
        ((-x / 2, x / 2), y / 2, (-length - z, -length)),
    ]
    local = [c for xs, side, zs in boxes for c in product(xs, (-side, side), zs)]
    return on_table(grasp.position + np.array(local) @ grasp.rotation.T)


def may_be_taken(found):
    return [way for way in found.ways if not way.reason]


def test_fingers_are_centred_on_the_thing_and_not_on_the_point_and_go_down_to_its_middle(
    table, take
) -> None:
    """A point near a corner of the top; the width is that of the box."""
    depth = table(((0.02, 0.0, 0.035), (0.11, 0.05, 0.07)))
    best = take(depth, at(0.045, -0.018, 0.07)).best
    place, closes = on_table(best.position), AXES.T @ best.rotation[:, 0]
    assert abs(closes[1]) > 0.99 and best.rotation[:, 2] @ UP < -0.99
    assert abs(place[1]) < 0.003  # the sides are at -25 and 25 mm
    assert 0.02 < place[2] < 0.04 and best.depth == pytest.approx(0.07 - place[2], abs=0.003)
    assert best.width == pytest.approx(0.05, abs=0.004) and best.opening > 0.06
    np.testing.assert_allclose(best.pregrasp, best.position - 0.1 * best.rotation[:, 2], atol=1e-9)
    np.testing.assert_allclose(best.retreat, best.position + 0.1 * UP, atol=1e-3)


@pytest.mark.parametrize(
    'size', [(0.06, 0.06, 0.014), (0.03, 0.12, 0.03), (0.05, 0.05, 0.2), (0.02, 0.02, 0.1)]
)
def test_no_part_of_the_gripper_goes_below_what_the_thing_stands_on(table, take, size) -> None:
    """Also for ways from the side and tilted ones; all are right-handed, the best come first."""
    ways = may_be_taken(take(table(((0, 0, size[2] / 2), size)), at(0, 0, size[2])))
    assert ways
    for way in ways:
        assert corners(way, HAND)[:, 2].min() > HAND.clearance - 1e-3
        np.testing.assert_allclose(way.rotation.T @ way.rotation, np.eye(3), atol=1e-9)
        assert np.linalg.det(way.rotation) == pytest.approx(1)
        assert way.width < way.opening <= HAND.opening
    assert [way.score for way in ways] == sorted((way.score for way in ways), reverse=True)


def test_a_neighbour_in_the_way_of_a_finger_refuses_that_turn(table, take) -> None:
    """Alone a square block is taken either way; with walls at two sides only between the others."""
    block = ((0, 0, 0.04), (0.045, 0.045, 0.08))
    walls = [((side * 0.036, 0, 0.06), (0.012, 0.12, 0.12)) for side in (-1, 1)]
    top = at(0, 0, 0.08)
    hand = GraspSettings(opening=0.08, palm=(0.06, 0.03, 0.09), finger_length=0.09)
    free = may_be_taken(take(table(block), top, hand))
    assert {abs(np.round(AXES.T @ way.rotation[:, 0])[0]) for way in free if way.depth > 0.02} == {
        0.0,
        1.0,
    }
    found = take(table(block, *walls), top, hand)
    between = [way for way in may_be_taken(found) if way.rotation[:, 2] @ UP < -0.99]
    assert between and all(abs(RIGHT @ way.rotation[:, 0]) < 0.5 for way in between)
    refused = [way for way in found.ways if 'beside it' in way.reason]
    assert any(abs(RIGHT @ way.rotation[:, 0]) > 0.8 for way in refused)


def test_a_handle_is_held_where_it_is_pointed_at(table, take, bodies) -> None:
    """A pot wider than the gripper opens, with a bar for a handle."""
    pot = bodies.cylinder(tuple(at(-0.06, 0, 0)), UP, 0.05, 0.08)
    depth = table(((0.05, 0, 0.06), (0.12, 0.018, 0.02)), others=(pot,))
    best = take(depth, at(0.07, 0, 0.07)).best
    place = on_table(best.position)
    assert 0.04 < place[0] < 0.1 and abs(place[1]) < 0.003
    assert best.width == pytest.approx(0.018, abs=0.004)


def test_what_is_too_wide_everywhere_is_refused_with_its_width(table, take) -> None:
    """Nobody is sent to a block of 12 cm with a hand of 8."""
    found = take(table(((0, 0, 0.06), (0.12, 0.13, 0.12))), at(0, 0, 0.12))
    assert found.best is None and not may_be_taken(found)
    assert any('wider than the gripper opens: 1' in way.reason for way in found.ways)


def test_what_is_not_seen_counts_as_the_settings_say(table, take) -> None:
    """Behind a tall block nothing is seen: a finger may go there, or may not."""
    depth = table(((0, 0, 0.07), (0.09, 0.04, 0.14)))
    free = take(depth, at(0, 0, 0.14))
    assert free.best is not None and free.best.unseen > 0
    occupied = GraspSettings(opening=HAND.opening, palm=HAND.palm, unseen=Unseen.OCCUPIED)
    found = take(depth, at(0, 0, 0.14), occupied)
    assert any('does not see' in way.reason for way in found.ways)
    assert all(way.unseen == 0 for way in may_be_taken(found))


@pytest.mark.parametrize('gap, several', [(0.012, True), (0.05, False)])
def test_what_is_close_beside_it_may_be_a_part_of_it(table, take, gap, several) -> None:
    """A block beside another one, nearly touching and not."""
    depth = table(((0, 0, 0.05), (0.05, 0.05, 0.1)), ((0.045 + gap, 0, 0.05), (0.04, 0.05, 0.1)))
    assert take(depth, at(0, 0, 0.1)).may_be_several is several


def test_what_is_hardly_higher_than_the_ground_is_no_other_thing(table, take) -> None:
    """As the noise of a table around a block often is; a low thing is one beside a low thing."""
    strip = ((0.047, 0, 0.002), (0.03, 0.11, 0.004))
    assert not take(table(((0, 0, 0.05), (0.05, 0.05, 0.1)), strip), at(0, 0, 0.1)).may_be_several
    low = ((0, 0, 0.0035), (0.05, 0.05, 0.007))
    assert take(table(low, strip), at(0, 0, 0.007)).may_be_several


def test_who_points_at_a_head_gets_the_head(table, take) -> None:
    """The fingers' middle is at it, not beside it over the middle of the body."""
    body, head = ((0, 0, 0.03), (0.06, 0.06, 0.06)), ((0, 0.012, 0.075), (0.034, 0.034, 0.03))
    best = take(table(body, head), at(0, 0.012, 0.09)).best
    assert best.width < 0.045 and abs(on_table(best.position)[1] - 0.012) < 0.005


@pytest.mark.parametrize('high', [0.036, 0.037, 0.039, 0.044])
def test_fingers_that_close_on_what_stands_on_a_block_do_not_rest_on_the_block(
    table, take, high
) -> None:
    """Fingers that come a little lower than its shoulders close on the block, which they push."""
    body, head = ((0, 0, high / 2), (0.07, 0.07, high)), ((0, 0, high + 0.018), (0.02, 0.02, 0.036))
    best = take(table(body, head), at(0, 0, high + 0.036)).best
    assert best is not None
    assert best.width < 0.03
    assert on_table(best.position)[2] > high - 1e-4


def test_single_pixels_that_fly_are_not_in_the_way(table, take) -> None:
    """Stereo cameras give such along outlines, where all around them is lost; they are no thing."""
    depth = table(((0, 0, 0.015), (0.05, 0.09, 0.03)))
    for beside in (depth[100:478, 200:281], depth[100:478, 350:431]):
        flying = beside[5::9, 5::9] - 0.11
        for row, column in product(range(4, 7), repeat=2):
            beside[row::9, column::9] = np.nan
        beside[5::9, 5::9] = flying
    best = take(depth, at(0, 0, 0.03)).best
    assert best is not None and best.score > 0.5


@pytest.mark.parametrize('low', [0.066, 0.078])
def test_a_stem_is_taken_from_the_side_under_its_bowl(table, take, bodies, low) -> None:
    """Who points at a glass's foot or stem; from above the bowl is over it."""
    bowl, stem, foot = (
        bodies.cylinder(tuple(at(0, 0, bottom)), UP, radius, height)
        for bottom, radius, height in ((low, 0.034, 0.07), (0.0, 0.0055, low), (0.0, 0.03, 0.006))
    )
    best = take(table(others=(bowl, stem, foot)), at(0, -0.02, 0.006)).best
    assert best is not None and best.approach is Approach.SIDE
    place, width = on_table(best.position), best.width
    assert np.abs(place[:2] @ np.array(AXES.T @ best.rotation[:, 0])[:2]) < 0.004
    assert 0.012 < place[2] < low - 0.004 and width < 0.018
    assert corners(best, HAND)[:, 2].min() > HAND.clearance - 1e-3


def test_who_points_at_the_bottom_of_a_pan_gets_its_wall(table, take) -> None:
    """It is wider than the hand, and the wall far from the point."""
    walls = [
        ((x, y, 0.025), s)
        for x, y, s in (
            (-0.085, 0, (0.01, 0.18, 0.05)),
            (0.085, 0, (0.01, 0.18, 0.05)),
            (0, -0.085, (0.18, 0.01, 0.05)),
            (0, 0.085, (0.18, 0.01, 0.05)),
        )
    ]
    best = take(table(*walls, ((0, 0, 0.002), (0.17, 0.17, 0.004))), at(0, 0.01, 0.004)).best
    assert best is not None and np.abs(on_table(best.position)[:2]).max() > 0.07


def test_a_point_in_a_hollow_is_on_the_thing_around_it(table, take) -> None:
    """A tray with a bottom of 3 mm; beside it the table is bare."""
    rim = [
        ((x, y, 0.01), s)
        for x, y, s in (
            (-0.03, 0, (0.006, 0.066, 0.02)),
            (0.03, 0, (0.006, 0.066, 0.02)),
            (0, -0.03, (0.066, 0.006, 0.02)),
            (0, 0.03, (0.066, 0.006, 0.02)),
        )
    ]
    depth = table(*rim, ((0, 0, 0.0015), (0.06, 0.06, 0.003)))
    best = take(depth, at(0.005, 0.004, 0.003)).best
    assert best is not None and np.abs(on_table(best.position)[:2]).max() < 0.04


def test_a_grasp_is_the_same_one_in_another_frame(table, take) -> None:
    """As the pose of the target frame turns and moves it."""
    found = take(table(((0, 0, 0.03), (0.1, 0.04, 0.06))), at(0, 0, 0.06))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = AXES.T, (0.3, -0.2, 1.1)
    moved = transform_grasps(found, T).best
    np.testing.assert_allclose(moved.position, AXES.T @ found.best.position + T[:3, 3])
    np.testing.assert_allclose(moved.rotation, AXES.T @ found.best.rotation)


@pytest.mark.parametrize('name', TOOL_FRAMES)
def test_tool_frames_are_turned_as_they_are_named(name) -> None:
    """Which axis of the tool closes, and which approaches."""
    turned = in_tool_frame(np.eye(3), name)
    closes, approaches = {
        'x_closes': (0, 2), 'robotiq': (0, 2), 'tool0': (0, 2),
        'y_closes': (1, 2), 'panda_hand': (1, 2),
        'flange': (1, 0), 'gripper_link': (1, 0),
    }[name]  # fmt: skip
    np.testing.assert_array_equal(turned[:, closes], (1, 0, 0))
    np.testing.assert_array_equal(turned[:, approaches], (0, 0, 1))
    assert np.linalg.det(turned) == pytest.approx(1)


def test_what_hardly_fits_is_taken_as_far_as_the_depth_is_exact(table, camera) -> None:
    """A box that leaves 1.7 mm on each side: with noise a finger would land on it."""
    depth = table(((0, 0, 0.04), (0.0766, 0.14, 0.08)))
    point = lift(*camera.project(at(0, 0, 0.08)), depth, camera, LiftSettings(preset='ideal'))

    def taken(noise):
        extent = visible_extent(point, depth, camera, noise)
        return grasps_of(point, extent, depth, camera, noise, HAND)

    assert taken(LiftSettings(preset='ideal')).best is not None
    refused = taken(LiftSettings(noise=StereoNoise(0.05, 0.15, 0.0, 1.0)))
    assert refused.best is None
    reason = next(way.reason for way in refused.ways if 'too near to its sides' in way.reason)
    assert 'of 80 mm it takes 7' in reason and 'are needed' in reason


def test_sides_that_many_readings_show_are_known_better_than_by_one(table, camera) -> None:
    """A reading varies by 2 mm, and a box leaves 2.9 mm on each side."""
    depth = table(((0, 0, 0.04), (0.0742, 0.14, 0.08)))
    noise = LiftSettings(noise=StereoNoise(0.05, 0.15, 0.0, 1.0))
    point = lift(*camera.project(at(0, 0, 0.08)), depth, camera, noise)
    extent = visible_extent(point, depth, camera, noise)
    assert grasps_of(point, extent, depth, camera, noise, HAND).best is not None


@pytest.fixture(scope='module')
def ask_beside(table, camera):
    """Grounds a pixel so many pixels off the far edge of a bar; some readings there may be lost."""

    def asked(pixels, lost=0):
        depth = table(((0, 0, 0.012), (0.13, 0.016, 0.024)))
        u, v = camera.project(at(0.01, 0.008, 0.024))
        if lost:
            depth[round(v) - lost : round(v) + lost] = np.nan
        picture = np.zeros((*depth.shape, 3), np.uint8)
        capture = Capture(Frame(picture, depth, camera, 0, 'eye'))
        settings = GroundingSettings(LiftSettings(preset='ideal'), HAND)
        found = ground([ImagePoint(u + 0.5, v + 0.5 - pixels, 'bar')], capture, settings)
        return found.points[0], '; '.join(found.notes)

    return asked


def test_who_just_misses_a_thing_gets_it_and_is_told(ask_beside) -> None:
    """The point stays on the table, where it is; far beside it no thing is taken."""
    point, said = ask_beside(3)
    best = point.pick.grasps.best
    assert best is not None and np.abs(on_table(best.position)[1]) < 0.006
    assert abs(on_table(point.surface.position)[2]) < 0.002
    assert 'is on no object, but' in said and 'pixels beside one' in said
    point, said = ask_beside(14)
    assert not point.pick.grasps.ways and 'pixels beside one' not in said


def test_on_an_outline_without_depth_the_nearer_thing_is_taken_and_it_is_told(ask_beside) -> None:
    """Neither side has a reading at the pixel, and both are as near."""
    point, said = ask_beside(0, lost=2)
    assert point.surface.status is LiftStatus.OK and point.surface.near_edge
    place = on_table(point.surface.position)
    assert place[2] > 0.01 and abs(place[1]) < 0.012
    assert point.pick.grasps.best is not None and 'pixels beside one' in said


@pytest.fixture(scope='module')
def put(camera):
    """The place at a point in space."""

    def found(depth, where, up=UP, unseen=Unseen.FREE):
        noise = LiftSettings(preset='ideal')
        point = lift(*camera.project(where), depth, camera, noise)
        return place_at(point, depth, camera, noise, up=up, unseen=unseen)

    return found


def test_a_place_reaches_to_what_stands_nearest(table, put) -> None:
    """On the side that faces the camera; the surface is level and at the table's height."""
    place = put(table(((0, 0.09, 0.03), (0.3, 0.06, 0.06))), at(0, 0, 0))
    assert place.radius == pytest.approx(0.06, abs=0.006) and 'something stands' in place.reason
    assert place.up @ UP > 0.999 and abs(on_table(place.position)[2]) < 1e-3


def test_on_a_thing_a_place_ends_where_its_top_does(table, put) -> None:
    """A plate's worth of box; what is beyond is lower."""
    place = put(table(((0, 0, 0.02), (0.12, 0.14, 0.04))), at(0, 0, 0.04))
    assert place.radius == pytest.approx(0.06, abs=0.006) and 'the surface ends' in place.reason


def test_there_is_no_place_where_something_stands_or_the_surface_leans(table, put) -> None:
    """It is said why, and nothing of it is a number."""
    depth = table(((0, 0.02, 0.04), (0.04, 0.028, 0.08)))
    close = put(depth, at(0, 0.0, 0))
    side = put(depth, at(0, 0.006, 0.04))
    assert close.reason.startswith('not free: something stands') and 'leans' in side.reason
    for place in (close, side):
        assert np.isnan([place.radius, *place.position, *place.up]).all()


def test_what_hides_a_place_does_not_stand_on_it(table, put) -> None:
    """Behind something tall is room, and it is said that it is not seen; or it counts as taken."""
    depth = table(((0, -0.1, 0.07), (0.05, 0.04, 0.14)))
    behind = put(depth, at(0.07, 0.04, 0))
    assert behind.radius > 0.1 and 'not seen and taken to be free' in behind.reason
    careful = put(depth, at(0.07, 0.04, 0), unseen=Unseen.OCCUPIED)
    assert careful.radius < 0.05 and 'hidden' in careful.reason


def test_out_of_sight_a_thing_is_as_deep_as_it_is_wide(table, put) -> None:
    """A box whose top is higher than the camera shows its front alone."""
    depth = table(((0, 0.0, 0.3), (0.1, 0.1, 0.6)))
    beside = put(depth, at(0.12, 0.03, 0))
    assert 'something stands' in beside.reason
    assert beside.radius == pytest.approx(0.07, abs=0.01)


def test_stray_pixels_end_no_place(table, put, camera) -> None:
    """Single ones without a reading, and some that hang between a thing and the table."""
    depth = table(((0, 0.15, 0.04), (0.3, 0.06, 0.08)))
    rng = np.random.default_rng(5)
    depth[rng.random(depth.shape) < 0.02] = np.nan
    flying = rng.random(depth.shape) < 0.003
    depth[flying] *= 0.93
    place = put(depth, at(0, 0, 0))
    assert place.radius == pytest.approx(0.12, abs=0.008)


@pytest.mark.parametrize('thick, noise', [(0.002, 0.001), (0.0009, 0.0004)])
def test_a_mat_ends_a_place(table, put, thick, noise) -> None:
    """No single reading would tell a coaster of 2 mm under noise of 1 mm; many do."""
    depth = table(((0.1, 0.02, thick / 2), (0.1, 0.1, thick)))
    depth += np.random.default_rng(1).normal(0, noise, depth.shape).astype(np.float32)
    place = put(depth, at(0, 0, 0))
    assert place.radius == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize('noise, says', [(0.0005, False), (0.006, True)])
def test_a_place_says_which_sheets_the_noise_hides(table, camera, noise, says) -> None:
    """Else a cup is put on the edge of a sheet that no one was told of."""
    depth = table()
    depth += np.random.default_rng(3).normal(0, noise, depth.shape).astype(np.float32)
    settings = LiftSettings(noise=StereoNoise(0.05, noise * camera.K[0, 0] * 0.05 / 0.65**2))
    point = lift(*camera.project(at(0, 0, 0)), depth, camera, settings)
    place = place_at(point, depth, camera, settings, up=UP)
    assert place.radius > 0.1 and ('thinner than' in place.reason) == says
