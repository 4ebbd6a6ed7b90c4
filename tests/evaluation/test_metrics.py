# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures against cases worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from molmo_ros.evaluation.assignment import least_sum_pairs
from molmo_ros.evaluation.metrics import (
    Rate,
    calibration,
    lies_in,
    median,
    nearness_score,
    percentile,
    pointing_score,
)
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


def test_of_points_with_the_same_distances_one_is_right_whichever_is_taken():
    # Both are two pixels from either target: any pairing adds up to the same.
    targets, masks = [(4.5, 2.5), (4.5, 6.5)], [square(4, 2, 5, 3), square(4, 6, 5, 7)]
    score = pointing_score([at(4.5, 4.5), at(4.5, 4.5)], targets, masks)
    assert (score.precision, score.recall, score.f1) == (0, 0, 0)
    whole = square(0, 0, 10, 10)
    score = pointing_score([at(4.5, 4.5), at(4.5, 4.5)], targets, [whole, whole])
    assert (score.precision, score.recall, score.f1) == (1, 1, 1)


def test_where_many_points_are_on_one_thing_the_nearest_is_the_one():
    near, far, further = at(1.5, 1.6), at(1.5, 2.5), at(2.9, 2.9)
    score = pointing_score([further, near, far], [MIDDLE_OF_LEFT], [LEFT])
    assert (score.precision, score.recall, score.f1) == pytest.approx((1 / 3, 1, 1 / 2))
    assert score.right == (False, True, False)


def test_a_point_in_the_mask_of_another_thing_than_its_own_is_wrong():
    # The sum is least as paired; each lies in the other's mask.
    targets, masks = [(1.0, 1.0), (3.0, 1.0)], [square(2, 0, 10, 10), square(0, 0, 2, 10)]
    score = pointing_score([at(1.0, 1.0), at(3.0, 1.0)], targets, masks)
    assert (score.f1, score.right) == (0, (False, False))


@pytest.mark.parametrize(
    'points, right, f1',
    [
        pytest.param([at(1, 1), at(9, 3)], (True, True), 1, id='at the radius'),
        pytest.param([at(1, 1), at(9, 3.01)], (True, False), 1 / 2, id='beyond'),
        pytest.param([at(1, 1), at(1, 1), at(9, 1)], (True, False, True), 4 / 5, id='twice'),
        pytest.param([], (), 0, id='no points'),
    ],
)
def test_without_masks_a_point_has_to_be_near_its_target(points, right, f1):
    score = nearness_score(points, [(1, 1), (9, 1)], 2.0)
    # Which of two equal points is paired does not matter.
    assert sorted(score.right) == sorted(right) and score.f1 == pytest.approx(f1)


def test_without_masks_nothing_is_still_nothing():
    assert nearness_score([], [], 2.0).f1 == 1
    assert nearness_score([at(1, 1)], [], 2.0).f1 == 0


def test_calibration_is_the_mean_distance_of_confidence_from_the_share_that_is_right():
    # 0.8 and 0.6 of confidence: 3 of 4 and 0 of 1 are right.
    outcomes = [(0.8, True), (0.8, True), (0.8, True), (0.8, False), (0.6, False)]
    result = calibration([*outcomes, (math.nan, True)])
    assert result.n == 5
    assert result.error == pytest.approx((4 * 0.05 + 1 * 0.6) / 5)
    assert [(b.low, b.n, b.right) for b in result.bins] == [(0.6, 1, 0.0), (0.8, 4, 0.75)]
    assert calibration([(1.0, True), (0.0, False)]).error == 0


def test_calibration_of_nothing_says_nothing():
    result = calibration([])
    assert math.isnan(result.error) and result.bins == () and result.n == 0


@pytest.mark.parametrize('points, score', [([], 1.0), ([at(1, 1)], 0.0)])
def test_where_there_is_nothing_no_point_is_right(points, score):
    result = pointing_score(points, [], [])
    assert (result.precision, result.recall, result.f1) == (score, score, score)


def test_a_target_without_a_mask_is_refused():
    with pytest.raises(ValueError, match='mask'):
        pointing_score([], [MIDDLE_OF_LEFT], [])


@given(
    arrays(float, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.floats(0, 1000)),
)
def test_pairs_are_those_of_the_assignment_that_molmo_was_measured_with(cost):
    rows, columns = linear_sum_assignment(cost)
    pairs = least_sum_pairs(cost)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(rows)
    assert sum(cost[pair] for pair in pairs) == pytest.approx(cost[rows, columns].sum())


def test_many_points_are_paired_as_scipy_pairs_them():
    """No two sums are the same here, so the pairs themselves are."""
    for seed, shape in enumerate([(40, 40), (3, 90), (60, 25)]):
        cost = np.random.default_rng(seed).uniform(0, 640, shape)
        assert least_sum_pairs(cost) == list(zip(*linear_sum_assignment(cost), strict=True))
