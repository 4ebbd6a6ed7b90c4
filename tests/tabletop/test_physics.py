# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Picks in physics: what tells a good grasp from one that only looks good."""

from dataclasses import replace

import numpy as np
import pytest

from molmo_ros.tabletop.physics.film import film, strip
from molmo_ros.tabletop.physics.hand import FRANKA, Grasp
from molmo_ros.tabletop.physics.oracle import best_grasp
from molmo_ros.tabletop.physics.parts import parts_touched
from molmo_ros.tabletop.physics.pick import PickPlan, Stage, pick
from molmo_ros.tabletop.physics.place import Put, cube, put_down, world_to_put
from molmo_ros.tabletop.physics.world import World
from molmo_ros.tabletop.world import Object, make_scene
from molmo_ros.tabletop.world.shapes import outline_of


def thing(kind, x=0.0, y=0.0, scale=1.0, yaw=0.0):
    return Object(kind, 'red', (0.8, 0.1, 0.1), (x, y, 0.0), yaw, (scale,) * 3, 0.1)


def table(*things):
    return replace(make_scene(81900), objects=things, clutter=())


def from_above(x, y, z, opening=0.08):
    """The fingers close along the table's x, their ends at a height."""
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = x, y, z
    return Grasp(pose, opening)


@pytest.fixture(scope='module')
def two_cans():
    return World(table(thing('can', 0.1, -0.2), thing('can', 0.1, -0.1)))


def test_a_can_between_the_fingers_is_held(two_cans):
    picked = pick(two_cans, from_above(0.1, -0.2, 0.09), 0)
    assert picked.held and not picked.pushed
    assert picked.width == pytest.approx(0.066, abs=0.002)
    # Both fingers touch it on its side, in its own frame.
    assert {np.sign(x) for x, _, _ in picked.contact} == {-1.0, 1.0}


def test_closing_beside_the_can_misses(two_cans):
    assert pick(two_cans, from_above(0.1, -0.31, 0.05), 0).stage is Stage.MISS


def test_fingers_on_the_can_are_a_collision_with_it(two_cans):
    picked = pick(two_cans, from_above(0.07, -0.2, 0.09), 0)
    assert picked.stage is Stage.COLLISION
    assert picked.touched == ('finger left', 'thing')


def test_a_grasp_under_the_table_is_a_collision_with_it(two_cans):
    picked = pick(two_cans, from_above(0.1, -0.31, -0.02), 0)
    assert picked.stage is Stage.COLLISION and picked.touched[1] == 'table'


def test_a_grasp_by_the_edge_slips():
    ball = World(table(thing('ball', scale=0.7)))
    assert pick(ball, from_above(0.0, 0.0, 0.060), 0).stage is Stage.SLIP


def test_a_neighbour_in_the_way_of_the_fingers_is_told():
    """From the side, where an apple lies before one of the fingers."""
    world = World(table(thing('can', 0.15), thing('apple', 0.10, 0.065, scale=0.6)))
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    pose[:3, 3] = 0.17, 0.0, 0.035
    picked = pick(world, Grasp(pose, FRANKA.opening), 0)
    assert picked.pushed == (1,)


def test_things_wait_where_the_camera_saw_them():
    """A hammer would settle from how it is drawn: it may not, before anything touches it."""
    world = World(table(thing('hammer'), thing('can', 0.3)))
    pick(world, from_above(0.3, 0.0, 0.09), 1)
    assert np.allclose(world.thing_poses()[0], world.things[0].T_world_object, atol=1e-6)


@pytest.mark.parametrize(
    'x, put', [(0.15, Put.STANDS), (0.055, Put.TOUCHES)], ids=['free', 'in the can']
)
def test_a_cube_stands_where_nothing_is(x, put):
    world = world_to_put(table(thing('can')), cube())
    assert put_down(world, np.array([x, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])) is put


def test_convex_parts_keep_a_mug_open():
    """A solid mug could be held by no finger inside it."""
    mug = World(table(thing('mug')))
    top = float(outline_of('mug')[:, 2].max())
    across = from_above(0.0, 0.0395, top - 0.03, opening=0.03)
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    across.pose[:3, :3] = across.pose[:3, :3] @ turn
    picked = pick(mug, across, 0)
    assert picked.held and picked.width < 0.01


@pytest.mark.parametrize('scale, can_be', [(0.7, True), (0.9, False)])
def test_what_is_wider_than_the_hand_cannot_be_picked(scale, can_be):
    """Boxes of 70 and 90 mm; the share of what is held would mean nothing otherwise."""
    assert (best_grasp(World(table(thing('box', scale=scale))), 0) is not None) == can_be


def test_the_part_that_is_held_is_told():
    mug = thing('mug', yaw=1.0)
    found = best_grasp(World(table(mug)), 0, part=1)
    assert found is not None and found[1].held
    assert set(parts_touched(mug, found[1].contact)) == {1}


def test_a_film_shows_the_thing_where_physics_has_it(two_cans):
    """At the end the can is up: not where it was, and its neighbour is."""
    plan = PickPlan(shakes=0, hold=0.1)
    shown = film(two_cans, from_above(0.1, -0.2, 0.09), 0, plan, pictures=3, size=(96, 72))
    assert shown.picked.held and len(shown.pictures) == 3
    assert strip(shown, 2).shape == (72, 192, 3)
    first, _, last = (picture.astype(int) for picture in shown.pictures)
    assert np.abs(first - last).max(axis=2).max() > 50
