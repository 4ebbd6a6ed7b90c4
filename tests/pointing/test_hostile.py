# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""No text, however hostile, makes reading fail, wait, or give what is not a point of the image."""

import subprocess
import sys

from hypothesis import example, given
from hypothesis import strategies as st

from molmo_ros.pointing import Style, complete, draft, finished, read_points

FRAGMENTS = [
    '<point', '<points', '<tracks', '</points>', ' x="', ' y1="', ' coords="', ' alt="', '"', "'",
    '>', '<', ' ', '\t', '\n', ';', ',', '=', 'p=', '1', '61.5', '100', '1000', '512 430', '(', ')',
    '{', 'Click(', '"x": ', '"y": ', '&amp;', '&#', '\x00', '\ud800', '٣', 'There are ', 'none',
    ' a total of ', "isn't in the image", 'Counting the ', '.',
]  # fmt: skip
HOSTILE = st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=60).map(''.join))

# Each text is a head and then one unit over and over, up to a megabyte.
HEADS = ['', '<points ', '<points alt="', '<points coords="1 1 ', 'There is no ']
UNITS = [
    '<', '<point', '<point ', '<points x1="', '<points coords="', '<point x="1.0" y="1.0" ', '</p',
    '"', "'", ' ', '\n', '1', '1 ', '111,', '(', '(1.0, ', '{"x": 1.0, ', 'p=', '=', '" a ', '&#1',
    '.', 'a total of ', 'There is no ',
]  # fmt: skip


@given(HOSTILE, st.integers(1, 4000), st.integers(1, 4000))
def test_any_text_reads_as_points_of_the_image_with_labels_that_can_be_sent(text, width, height):
    reading = read_points(text, width, height)
    for point in reading.points:
        assert 0 <= point.u <= width
        assert 0 <= point.v <= height
        assert point.image_index >= 0
        assert point.label.encode('utf-8').decode('utf-8').isprintable()
    places = [(point.u, point.v, point.image_index) for point in reading.points]
    assert len(set(places)) == len(places)
    assert reading.absent <= (reading.count == 0 and not reading.points)


@example('<point y="0 x="', '', Style.MOLMO, 0)
@example('<points x1="1.0" y1="2.0" x2="3', 'mug', Style.MOLMO, 0)
@given(HOSTILE, st.text(max_size=20), st.sampled_from(Style), st.integers(0, 3))
def test_any_text_can_be_drafted_from(text, label, style, max_points):
    assert isinstance(draft(text, label, style), str)
    finished(text, max_points, style)
    completed = complete(text, label, style)
    # All is kept, but for a point that was only begun after another, which is taken back.
    before, tag, _ = text.partition('<point')
    assert completed.startswith(text) or (tag and completed.startswith(before + tag))


def test_a_megabyte_of_anything_is_read_in_linear_time():
    # Linear: a few seconds for all. One quadratic repetition: half a minute for each of several.
    script = (
        'from molmo_ros.pointing import read_points\n'
        f'for head in {HEADS!a}:\n'
        f'    for unit in {UNITS!a}:\n'
        '        read_points(head + unit * (1_000_000 // len(unit)), 640, 480)\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True, timeout=60)


def test_the_language_of_points_needs_neither_torch_nor_numpy():
    script = (
        'import sys, molmo_ros.pointing\n'
        'heavy = {"torch", "numpy", "transformers", "rclpy"} & set(sys.modules)\n'
        'assert not heavy, heavy\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True)
