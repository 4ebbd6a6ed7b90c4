# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points that other models write as JSON land where they mean, whichever number comes first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_ros.pointing import JsonStyle, read_json_points

QWEN, GEMINI = JsonStyle.QWEN, JsonStyle.GEMINI


def xy(text, style, width=500, height=250):
    return [(p.u, p.v) for p in read_json_points(text, width, height, style).points]


@pytest.mark.parametrize(
    ('text', 'style', 'expected'),
    [
        ('[{"point_2d": [200, 480], "label": "mug"}]', QWEN, [(100, 120)]),
        ('[{"point": [480, 200], "label": "mug"}]', GEMINI, [(100, 120)]),
        ('```json\n[{"point_2d": [200, 480]}, {"point_2d": [0, 1000]}]\n```', QWEN,
         [(100, 120), (0, 250)]),
        ('Here they are: [{"point": [480, 200]}, {"point": [40, 20]}].', GEMINI,
         [(100, 120), (10, 10)]),
        ('{"point_2d": [200.5, 480]}', QWEN, [(100.25, 120)]),
        ('{"points": [[200, 480], [20, 40]], "label": "mugs"}', QWEN, [(100, 120), (10, 10)]),
        ('[[480, 200]]', GEMINI, [(100, 120)]),
        ('[200, 480]', QWEN, [(100, 120)]),
        ('[{"box_2d": [400, 100, 560, 300]}]', GEMINI, [(100, 120)]),
        ('[{"bbox_2d": [100, 400, 300, 560]}]', QWEN, [(100, 120)]),
        ('[{"x": 200, "y": 480}]', GEMINI, [(100, 120)]),
        ('[{"point_2d": [200, 480]}, {"point_2d": [1001, 3]}]', QWEN, [(100, 120)]),
        ('[{"point_2d": [200, 480]}, {"point_2d": [200, 480]}]', QWEN, [(100, 120)]),
        ('[{"point_2d": [200, 480], "label": "mug"}, {"point_2d": [3', QWEN, [(100, 120)]),
        ('[{"point_2d": [200, 480]}, {"point_2d": [20, 40]}, {"poi', QWEN, [(100, 120), (10, 10)]),
        ('As in [1]: [{"point_2d": [200, 480]}]', QWEN, [(100, 120)]),
        ('[[200, 480], [30', QWEN, [(100, 120)]),
    ],
)  # fmt: skip
def test_points_are_read_in_the_order_of_the_style(text, style, expected):
    assert xy(text, style) == expected


def test_labels_and_counts_are_told():
    text = (
        '{"count": 2, "points": [{"point_2d": [1, 2], "label": "a &amp; b"}, {"point_2d": [3, 4]}]}'
    )
    reading = read_json_points(text, 640, 480, QWEN)
    assert [point.label for point in reading.points] == ['a & b', '']
    assert reading.count == 2 and not reading.absent


@pytest.mark.parametrize('text', ['[]', '```json\n[]\n```', 'There are none.', '{"count": 0}'])
def test_nothing_is_absence(text):
    reading = read_json_points(text, 640, 480, GEMINI)
    assert reading.absent and reading.points == () and reading.count == 0


def test_what_is_no_answer_is_neither_point_nor_absence():
    reading = read_json_points('I see a mug, 2 spoons and [a bowl].', 640, 480, QWEN)
    assert reading.points == () and not reading.absent and reading.count is None


PIECES = ['[', ']', '{', '}', '"point_2d"', ':', ',', '12', '1e999', '-5', 'NaN', '"label"', ' ']


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=60).map(''.join)),
    st.sampled_from(JsonStyle),
)
def test_any_text_reads_as_points_of_the_image(text, style):
    for point in read_json_points(text, 30, 20, style).points:
        assert 0 <= point.u <= 30 and 0 <= point.v <= 20
        assert point.label.isprintable()


def test_deep_or_long_text_is_read_soon():
    for unit in ('[', '{"a":', '[1,', '{"point": [1, 2]},'):
        read_json_points(unit * 50_000, 640, 480, QWEN)
