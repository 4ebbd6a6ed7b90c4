# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two things that touch so that the depth does not jump: it is said that they may be several."""

from __future__ import annotations

import numpy as np
import pytest

from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundingSettings, ground
from molmo_ros.pointing import ImagePoint
from molmo_ros.spatial import CameraModel, GraspSettings, LiftSettings, Registration

UP = np.array([0.0, -np.sin(np.radians(55)), -np.cos(np.radians(55))])
RIGHT = np.array([1.0, 0.0, 0.0])
AXES = np.stack([RIGHT, np.cross(UP, RIGHT), UP], 1)
CAMERA = CameraModel(320, 240, np.array([[360.0, 0, 159.5], [0, 360, 119.5], [0, 0, 1]]))
FOOT = np.array([0.0, 0.0, 0.6])
SETTINGS = GroundingSettings(LiftSettings(preset='ideal'), GraspSettings())
GREY, RED, BLUE = (150, 145, 140), (190, 40, 35), (45, 60, 170)


def at(right: float, away: float, up: float) -> np.ndarray:
    """A point of the table's frame in the camera's."""
    return FOOT + AXES @ (right, away, up)


@pytest.fixture(scope='module')
def told(bodies):
    """Whether what a place is on may be several, and why, of colored bodies on a grey table.

    T: (4, 4) pose of the depth's camera in that of the picture.
    """

    def asked(where, *colored, T=None):
        ground_ = bodies.plane(tuple(UP), tuple(FOOT))
        world = bodies.World((ground_, *(body for body, _ in colored)))
        depth, seen = world.see(CAMERA)
        registration = None
        if T is not None and T[:3, 3].any():
            registration = Registration(CAMERA, T)
            where = where + T[:3, 3]
            seen = world.see(CAMERA, np.linalg.inv(T))[1]
        picture = np.array([GREY, *(color for _, color in colored)], np.uint8)[seen]
        frame = Frame(picture, depth.astype(np.float32), CAMERA, 0, 'eye')
        point = ImagePoint(*(CAMERA.project(where) + 0.5), '')
        (found,) = ground([point], Capture(frame, registration), SETTINGS).points
        assert found.pick.extent is not None and found.pick.grasps.ways
        said = [part for part in found.pick.reason.split('; ') if 'may be several' in part]
        assert found.pick.grasps.may_be_several is bool(said)
        return said[0] if said else ''

    return asked


@pytest.fixture(scope='module')
def block(bodies):
    """Makes a block of a middle and a size in the table's frame, and its color."""
    return lambda middle, size, color=RED: (bodies.box(tuple(at(*middle)), size, AXES), color)


@pytest.fixture(scope='module')
def upright(bodies):
    """Makes an upright cylinder on a place, and its color."""
    return lambda foot, radius, height, color=RED: (
        bodies.cylinder(tuple(at(*foot)), UP, radius, height),
        color,
    )


def test_two_of_one_color_side_by_side_are_told_by_the_narrow_place(told, upright) -> None:
    """Nobody grips two lids for one of twice the width; one alone is not doubted."""
    lids = upright((-0.065, 0, 0), 0.065, 0.02), upright((0.056, 0.006, 0), 0.057, 0.02)
    assert 'narrow' in told(at(-0.065, 0, 0.02), *lids)
    assert told(at(-0.065, 0, 0.02), lids[0]) == ''


def test_what_stands_on_a_flat_thing_is_told_by_the_step(told, block, upright) -> None:
    """A cup on a book is not a book; a box alone is a box, and a candle's flame is its own."""
    book = block((0, 0, 0.015), (0.15, 0.11, 0.03))
    assert 'flat top' in told(at(0.02, 0.01, 0.08), book, upright((0.02, 0, 0.03), 0.03, 0.05))
    assert told(at(0, 0, 0.03), book) == ''
    flame = upright((0, 0, 0.07), 0.007, 0.02)
    assert told(at(0, -0.03, 0.07), upright((0, 0, 0), 0.04, 0.07), flame) == ''


@pytest.mark.parametrize('aside', [0.0, 0.06])
def test_two_colors_tell_what_the_outline_does_not(told, block, aside) -> None:
    """A bar along the side of a block: of one color they might be one thing. The colors are those
    of the picture, whichever camera took it."""
    where, red = at(0, 0, 0.04), block((0, 0, 0.02), (0.07, 0.07, 0.04))
    T = np.eye(4)
    T[:3, 3] = (aside, aside / 3, 0.0)
    for color, said in ((BLUE, 'two colors'), (RED, '')):
        reason = told(where, red, block((0.055, 0.03, 0.02), (0.04, 0.14, 0.04), color), T=T)
        assert said in reason and bool(said) is bool(reason)


def test_tools_and_stripes_of_two_colors_are_one_thing(told, block) -> None:
    """Who asks for a hammer is not told each time that it may be two things."""
    handle = block((0, -0.06, 0.012), (0.024, 0.15, 0.024), BLUE)
    head = block((0, 0.03, 0.014), (0.1, 0.03, 0.028))
    assert told(at(0, 0.03, 0.028), handle, head) == ''
    stripes = [
        block((0.02 * k - 0.05, 0, 0.03), (0.02, 0.09, 0.06), (RED, BLUE)[k % 2]) for k in range(6)
    ]
    assert told(at(0.001, 0, 0.06), *stripes) == ''
