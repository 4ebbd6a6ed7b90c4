# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""By how much depth is off its picture: what a user would move by, or nothing at all."""

import numpy as np
import pytest

from molmo_ros.spatial import CameraModel, Registration
from molmo_ros.spatial.alignment import alignment, registered
from molmo_ros.tabletop.samples.table_views import view_of
from molmo_ros.tabletop.world import TABLES


@pytest.fixture(scope='module', params=['easy', 'rich'])
def picture(request):
    return view_of(5011, TABLES[request.param]).picture


@pytest.mark.parametrize('shift', [(0, 0), (3, 0), (0, 3), (-7, 0), (0, -7), (-7, 3), (12, 5)])
def test_a_shift_is_found_to_a_pixel(picture, shift):
    color = np.roll(picture.color, shift[::-1], (0, 1))
    found = alignment(color, picture.depth)
    assert found.shift == pytest.approx(shift, abs=1.0), found.why_not


def test_holes_and_noise_in_the_depth_move_nothing(picture):
    rng = np.random.default_rng(3)
    depth = picture.depth + rng.normal(0, 0.003, picture.depth.shape).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    found = alignment(np.roll(picture.color, 6, 1), depth)
    assert found.shift == pytest.approx((6, 0), abs=1.0), found.why_not


def test_nothing_is_claimed_where_nothing_can_be_told(picture):
    flat = np.full_like(picture.depth, 1.3)
    assert 'too few edges' in alignment(picture.color, flat).why_not
    step = np.where(np.arange(flat.shape[1]) < 300, flat, flat + 1).astype(np.float32)
    assert 'one direction' in alignment(picture.color, step).why_not
    # The depth of something else: any shift fits as badly.
    elsewhere = picture.depth[::-1, ::-1].copy()
    assert not alignment(picture.color, elsewhere).known
    assert not alignment(picture.color, np.full_like(flat, np.nan)).known


def test_halves_that_are_off_differently_are_no_shift(picture):
    """As with depth of another focal length, which no moving mends."""
    half = picture.color.shape[1] // 2
    color = picture.color.copy()
    color[:, :half] = np.roll(color[:, :half], -8, 1)
    color[:, half:] = np.roll(color[:, half:], 8, 1)
    assert not alignment(color, picture.depth).known


def test_depth_of_another_camera_is_seen_from_the_picture():
    """A wall behind a board, from 10 cm to the left: the board moves with its own depth."""
    K = np.array([[200.0, 0, 79.5], [0, 200.0, 59.5], [0, 0, 1]])
    camera = CameraModel(160, 120, K)
    depth = np.full((120, 160), 2.0, np.float32)
    depth[40:80, 60:100] = 1.0
    T = np.eye(4)
    T[0, 3] = -0.1
    seen = registered(depth, Registration(camera, T), camera)
    near = np.isfinite(seen) & (seen < 1.5)
    columns = np.flatnonzero(near[60])
    assert (columns[0], columns[-1]) == (40, 79)  # 200 px * 0.1 m / 1 m to the left
    assert seen[60, 20] == pytest.approx(2.0)
    assert np.isnan(seen[60, 85])  # the board hid it from there
