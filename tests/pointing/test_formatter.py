# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points are written letter for letter as Molmo writes them, and read back as they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_ros.pointing import ABSENT, Style, format_count, format_points, read_points

PERCENT = st.floats(0, 100)
POINTS = st.lists(st.tuples(PERCENT, PERCENT), max_size=40)
LABELS = st.text(st.sampled_from('abz 09\'"-/éß桌.,()'), min_size=1).map(str.strip).filter(bool)
STYLES = st.sampled_from(Style)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (format_points([(61.5, 40.4)], 'mug'), ' <point x="61.5" y="40.4" alt="mug">mug</point>'),
        (
            format_points([(30.54, 40.1), (10, 20)], 'mugs'),
            ' <points x1="10.0" y1="20.0" x2="30.5" y2="40.1" alt="mugs">mugs</points>',
        ),
        (format_points([], 'mug'), ' There are none.'),
        (
            format_count([(30.5, 40.1), (10, 20)], 'mugs'),
            ' Counting the <points x1="10.0" y1="20.0" x2="30.5" y2="40.1" alt="mugs">mugs</points>'
            ' shows a total of 2.',
        ),
        (format_count([], 'mugs'), ' There are none.'),
        (
            format_points([(61.0, 33.3), (0.5, 100)], 'mugs', Style.MOLMO2),
            '<points coords="1 1 005 1000 2 610 333">mugs</points>',
        ),
        (
            format_count([(51.2, 43.0)], 'mug', Style.MOLMO2),
            'Counting the <points coords="1 1 512 430">mug</points> shows a total of 1.',
        ),
        (format_points([], 'mug', Style.MOLMO2), 'There are none.'),
    ],
)
def test_the_canonical_texts(text, expected):
    assert text == expected


def test_points_are_sorted_by_what_is_written():
    # Both are written 10.0, so the second coordinate decides.
    text = format_points([(9.96, 50), (10.04, 20)], 'mug')
    assert text.startswith(' <points x1="10.0" y1="20.0" x2="10.0" y2="50.0"')


@pytest.mark.parametrize('point', [(-0.1, 5), (5, 100.1), (float('nan'), 5), (5, float('inf'))])
def test_a_point_outside_the_image_is_not_written(point):
    with pytest.raises(ValueError, match=r'0\.\.100'):
        format_points([point], 'mug')


@given(POINTS, LABELS, STYLES)
def test_what_is_written_reads_back_to_a_tenth_of_a_percent(points, label, style):
    width, height = 2000, 1000
    text = format_points(points, label, style)
    reading = read_points(text, width, height)
    expected = sorted({(round(x, 1), round(y, 1)) for x, y in points})
    assert [
        (round(point.u / width * 100, 6), round(point.v / height * 100, 6))
        for point in reading.points
    ] == expected
    assert all(point.label == ' '.join(label.split()) for point in reading.points)
    assert reading.absent == (not points) == (text.strip() == ABSENT)


@given(POINTS, LABELS, STYLES)
def test_a_count_reads_back(points, label, style):
    reading = read_points(format_count(points, label, style), 640, 480)
    assert reading.count == len(points)


@given(POINTS, LABELS, STYLES)
def test_writing_what_was_read_gives_the_same_text(points, label, style):
    label = ' '.join(label.split())
    points = list({(round(x, 1), round(y, 1)) for x, y in points})
    text = format_points(points, label, style)
    again = [(point.u, point.v) for point in read_points(text, 100, 100).points]
    assert format_points(again, label, style) == text
