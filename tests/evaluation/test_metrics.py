# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures against cases worked by hand."""

import math

import numpy as np
import pytest

from molmo_ros.evaluation.metrics import Rate, lies_in, median, percentile, pointing_score
from molmo_ros.pointing import ImagePoint


def at(u, v):
    return ImagePoint(u, v, '')


def square(left, top, right, bottom):
    """A mask of a 10x10 image, ends excluded."""
    mask = np.zeros((10, 10), bool)
    mask[top:bottom, left:right] = True
    return mask


LEFT, RIGHT = square(0, 0, 3, 3), square(7, 0, 10, 3)
MIDDLE_OF_LEFT, MIDDLE_OF_RIGHT = (1.5, 1.5), (8.5, 1.5)
BOTH = ([MIDDLE_OF_LEFT, MIDDLE_OF_RIGHT], [LEFT, RIGHT])


@pytest.mark.parametrize(
    'hits, n, low, high',
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (600, 1000, 0.5693, 0.6299),
    ],
)
def test_an_interval_is_as_wide_as_the_number_of_trials_allows(hits, n, low, high):
    rate = Rate(hits, n)
    assert rate.value == hits / n
    assert rate.interval == pytest.approx((low, high), abs=1e-4)


def test_a_rate_of_nothing_says_nothing():
    assert math.isnan(Rate(0, 0).value)
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert math.isnan(median([])) and math.isnan(percentile([], 90))


@pytest.mark.parametrize(
    'u, v, inside',
    [
        (0.0, 0.0, True),
        (2.99, 2.99, True),
        (3.0, 1.5, False),
        (10.0, 1.5, False),
        (-0.01, 1.5, True),
    ],
)
def test_a_point_belongs_to_the_pixel_it_lies_in(u, v, inside):
    assert lies_in(at(u, v), LEFT) is inside


def test_the_far_edge_of_the_image_belongs_to_its_last_pixel():
    assert lies_in(at(10.0, 10.0), square(9, 9, 10, 10))


@pytest.mark.parametrize(
    'points, precision, recall, f1',
    [
        pytest.param([at(1.5, 1.5), at(8.5, 1.5)], 1, 1, 1, id='both'),
        pytest.param([at(8.5, 1.5), at(1.5, 1.5)], 1, 1, 1, id='order does not matter'),
        pytest.param([at(1.5, 1.5)], 1, 1 / 2, 2 / 3, id='one of two'),
        pytest.param([at(1.5, 1.5), at(5, 5)], 1 / 2, 1 / 2, 1 / 2, id='one beside'),
        pytest.param([at(1.5, 1.5), at(8.5, 1.5), at(5, 9)], 2 / 3, 1, 4 / 5, id='one too many'),
        # Two on the same thing: one is paired with it, the other with what it is far from.
        pytest.param([at(1.5, 1.5), at(1.5, 1.5)], 1 / 2, 1 / 2, 1 / 2, id='the same twice'),
        pytest.param([at(5, 5)], 0, 0, 0, id='beside'),
        pytest.param([], 0, 0, 0, id='no points'),
    ],
)
def test_points_are_scored_against_two_things(points, precision, recall, f1):
    score = pointing_score(points, *BOTH)
    assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1))


def test_pairs_are_made_for_the_least_sum_not_each_for_its_nearest():
    # Both points are nearest to the left target; the sum is least with b on the left one.
    a, b = at(4.0, 1.5), at(0.5, 1.5)
    assert pointing_score([a, b], *BOTH).f1 == pytest.approx(1 / 2)
    wide = [LEFT, square(4, 0, 10, 3)]
    assert pointing_score([a, b], BOTH[0], wide).f1 == 1


@pytest.mark.parametrize('points, score', [([], 1.0), ([at(1, 1)], 0.0)])
def test_where_there_is_nothing_no_point_is_right(points, score):
    result = pointing_score(points, [], [])
    assert (result.precision, result.recall, result.f1) == (score, score, score)


def test_a_target_without_a_mask_is_refused():
    with pytest.raises(ValueError, match='mask'):
        pointing_score([], [MIDDLE_OF_LEFT], [])
