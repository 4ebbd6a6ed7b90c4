# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Distances from a triangle, worked by hand."""

import numpy as np
import pytest

from molmo_ros.tabletop.samples.surfaces import distance_to_triangles

TRIANGLE = np.array([[(0.0, 0, 0), (4, 0, 0), (0, 3, 0)]])


@pytest.mark.parametrize(
    'point, distance',
    [
        pytest.param((1, 1, 2), 2, id='over it'),
        pytest.param((1, 1, -2), 2, id='under it'),
        pytest.param((1, 1, 0), 0, id='on it'),
        pytest.param((2, -3, 0), 3, id='beside an edge'),
        pytest.param((2, -3, 4), 5, id='beside an edge and above'),
        pytest.param((7, 0, 4), 5, id='beyond a corner'),
        # The long edge is 3x + 4y = 12.
        pytest.param((4, 3, 0), 2.4, id='beyond the long edge'),
    ],
)
def test_the_nearest_part_of_a_triangle_counts(point, distance):
    assert distance_to_triangles(np.array(point, float), TRIANGLE) == pytest.approx(distance)


def test_the_nearest_of_several_counts_and_flat_ones_do_no_harm():
    flat = np.array([[(0.0, 0, 9), (1, 0, 9), (2, 0, 9)]])
    both = np.concatenate([TRIANGLE, flat])
    assert distance_to_triangles(np.array((1.5, 0, 8)), both) == pytest.approx(1)
    assert distance_to_triangles(np.array((1.0, 1, 1)), both) == pytest.approx(1)
