# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drafts save passes, and never end an answer before its points are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_ros.pointing import (
    Follower,
    Style,
    complete,
    draft,
    finished,
    format_count,
    format_points,
    read_points,
)
from molmo_ros.pointing.grounded import GroundedFollower
from molmo_ros.pointing.grounded import complete as complete_tokens

TENTHS = st.integers(0, 1000).map(lambda tenths: tenths / 10)
POINTS = st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=12, unique=True)
WRITERS = st.sampled_from([format_points, format_count])
STYLES = st.sampled_from(Style)


def passes(answer: str, label: str, style: Style, max_points: int = 0) -> tuple[int, str]:
    """Decode a model that would write `answer`, a character a token; return passes and the text."""
    text, count = '', 0
    while text != answer and not finished(text, max_points, style):
        guess = draft(text, label, style)
        agreed = 0
        while agreed < len(guess) and answer[len(text) :].startswith(guess[: agreed + 1]):
            agreed += 1
        text = answer[: len(text) + agreed + 1]
        count += 1
    return count, text


@pytest.mark.parametrize(
    ('answer', 'style', 'most'),
    [
        (format_points([(61.5, 40.4)], 'mug'), Style.MOLMO, 6),
        (format_points([(100, 0)], 'mug'), Style.MOLMO, 8),
        (format_points([(61.5, 40.4)], 'mug', Style.MOLMO2), Style.MOLMO2, 8),
        (format_points([], 'mug'), Style.MOLMO, 2),
        (format_count([], 'mug', Style.MOLMO2), Style.MOLMO2, 2),
    ],
)
def test_one_answer_takes_at_most_eight_passes(answer, style, most):
    count, text = passes(answer, 'mug', style)
    assert count <= most
    assert complete(text, 'mug', style) == answer


@given(POINTS, WRITERS, STYLES)
def test_an_answer_is_finished_only_when_its_completion_is_the_answer(points, write, style):
    answer = write(points, 'red mug', style)
    assert finished(answer, 0, style)
    for cut in range(len(answer) + 1):
        if finished(answer[:cut], 0, style):
            assert complete(answer[:cut], 'red mug', style) == answer


@given(POINTS, STYLES)
def test_drafts_leave_little_to_decode_of_a_list(points, style):
    answer = format_points(points, 'red mug', style)
    count, text = passes(answer, 'red mug', style)
    assert complete(text, 'red mug', style) == answer
    assert count <= 8 * len(points) + 3  # two numbers of at most four decisions, and three branches


@given(POINTS, WRITERS, STYLES, st.integers(1, 4))
def test_a_limit_stops_at_the_last_digit_of_the_last_point_wanted(points, write, style, limit):
    answer = write(points, 'mug', style)
    _, text = passes(answer, 'mug', style, max_points=limit)
    wanted = read_points(answer, 1000, 1000).points[:limit]
    assert read_points(complete(text, 'mug', style), 1000, 1000).points == wanted


@given(POINTS, WRITERS, STYLES)
def test_a_point_that_was_only_begun_is_taken_back(points, write, style):
    answer = write(points, 'mug', style)
    whole = read_points(answer, 1000, 1000).points
    for cut in range(len(answer)):
        if finished(answer[:cut], 1, style):
            read = read_points(complete(answer[:cut], 'mug', style), 1000, 1000).points
            assert read
            assert read == whole[: len(read)]
            assert read[0].label == 'mug'


def test_a_list_cut_short_claims_no_count():
    answer = format_count([(1, 2), (3, 4), (5, 6)], 'mugs')
    _, text = passes(answer, 'mugs', Style.MOLMO, max_points=2)
    reading = read_points(complete(text, 'mugs'), 640, 480)
    assert (len(reading.points), reading.count) == (2, None)


@pytest.mark.parametrize(
    ('text', 'guess'),
    [
        ('', ' <point x="'),
        (' <points', ' x1="'),
        (' <point x="6', ''),
        (' <point x="61', '.'),
        (' <point x="61.', ''),
        (' <point x="61.5', '" y="'),
        (' <point x="61.5" y="40.4', '" alt="mug">mug</point>'),
        (' <point x="61.5" y="40.4" alt="blue mug">', 'blue mug</point>'),
        (' <point x="61.5" y="40.4" alt="mug">mug</point>', ''),
        (' <points x1="10.0" y1="20.0', '" x2="'),
        (' <points x1="10.0" y1="20.0" x2="30.5" y2="40.1" alt', '="mug">mug</points>'),
        (' There', ' are none.'),
        (' This', " isn't in the image."),
        (' Counting', ' the <points x1="'),
        (' Counting the <point', ' x="'),
        (' Counting the <point x="1.0" y="2.0" alt="mug">mug</point>', ' shows a total of 1.'),
        (' The mug stands here: <point', ' x="'),
        (' It is red', ''),
    ],
)
def test_molmo_is_drafted_up_to_the_next_digit(text, guess):
    assert draft(text, 'mug') == guess


@pytest.mark.parametrize(
    ('text', 'guess'),
    [
        ('', '<points coords="1 1 '),
        ('<points coords="', '1 1 '),
        ('<points coords="1 1 51', ''),
        ('<points coords="1 1 512', ' '),
        ('<points coords="1 1 512 430', '">mug</points>'),
        ('<points coords="1 1 512 430 ', '2 '),
        ('<points coords="1 1 512 430 2 610 333', ' 3 '),
        ('<points coords="1 1 512 430 2 610 333"', '>mug</points>'),
        ('<points coords="1 1 512 430;2 ', '2 '),
        ('Counting', ' the <points coords="1 1 '),
        ('There', ' are none.'),
        ('There are 2', ' <points coords="1 1 '),
        ('There are 12 <po', 'ints coords="1 1 '),
        ('There are 2 <points coords="1 1 512 430', ' 2 '),
        ('There are 2 <points coords="1 1 512 430 2 610 333', '">mug</points>.'),
        ('There are 2 <points coords="1 1 512 430 2 610 333">mug</points>', '.'),
    ],
)
def test_molmo2_is_drafted_up_to_the_next_digit(text, guess):
    assert draft(text, 'mug', Style.MOLMO2) == guess


PIECES = st.sampled_from(
    [
        *('<point', 's', ' x="', ' y1="', ' x2="', '7', '33.', '100', '"', '="', '" alt'),
        *(' alt="mug', '>', '</points>', 'Counting the ', 'coords="', '1 ', '205 770', ' 2 ', ';'),
        *('1000', '\N{REPLACEMENT CHARACTER}'),
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=14), STYLES, st.integers(0, 3))
def test_what_is_found_piece_by_piece_is_what_the_whole_text_says(pieces, style, most):
    """Else an answer would end early for how its tokens happen to lie, or drafts be in vain."""
    follower, text, settled = Follower('mug', style), '', 0
    for piece in pieces:
        text += piece
        if not text.endswith('\N{REPLACEMENT CHARACTER}'):  # for a character that has only begun
            settled = len(text)
        follower.read(text, settled)
        assert follower.draft() == draft(text, 'mug', style)
        assert follower.finished(most) == finished(text, most, style)


def test_a_count_that_molmo2_states_first_is_read_to_its_last_point():
    answer = 'There are 3 <points coords="1 1 100 200 2 300 400 3 500 600">mugs</points>.'
    count, text = passes(answer, 'mugs', Style.MOLMO2)
    assert complete(text, 'mugs', Style.MOLMO2) == answer
    assert read_points(answer, 640, 480).count == 3
    points_alone, _ = passes(answer[len('There are 3 ') : -1], 'mugs', Style.MOLMO2)
    assert count <= points_alone + 2  # the number, and that there are any


ONE = '<points coords="<PATCH_7><SUBPATCH_2><LOCATION_8>'


@pytest.mark.parametrize(
    ('text', 'guess'),
    [
        ('', '<points coords="'),
        ('<points', ' coords="'),
        ('<points coords="', ''),
        ('<points coords="<PATCH_7>', ''),
        ('<points coords="<PATCH_7><SUBPATCH_2>', '<LOCATION_4>1'),
        (ONE, '1'),
        (f'{ONE}1', ''),
        (f'{ONE}1<PATCH_9><SUBPATCH_0>', '<LOCATION_4>2'),
        (f'{ONE}1<END>', '">mug</point>'),
        (f'Counting the {ONE}1<END>">m', 'ug</point> shows a total of 1.'),
        ('There are 1', ' <points coords="'),
        (f'There are 1 {ONE}1<END>', '">mug</point>.'),
    ],
)
def test_molmo_point_is_drafted_up_to_the_next_token_that_must_be_seen(text, guess):
    follower = GroundedFollower('mug')
    follower.read(text)
    assert follower.draft() == guess


def test_a_list_of_tokens_is_finished_where_its_last_place_or_its_end_is_known():
    two = '<points coords="<PATCH_7><SUBPATCH_2><LOCATION_8>1<PATCH_9><SUBPATCH_0><LOCATION_1>'
    follower = GroundedFollower('mug')
    follower.read(two)
    assert not follower.finished() and follower.finished(2) and not follower.finished(3)
    follower.read(two + '2<END>')
    assert follower.finished()
    assert complete_tokens(two + '2<END>', 'mug') == two + '2<END>">mug</point>'
    assert complete_tokens(two, 'mug') == two + '2">mug</point>'
    begun = two + '2<PATCH_12><SUBPATCH_1>'
    assert complete_tokens(begun, 'mug') == two + '2">mug</point>'


TOKENS = ['<PATCH_3>', '<SUBPATCH_1>', '<LOCATION_2>', '<END>']


@given(st.lists(st.sampled_from([*TOKENS, '<points coords="', '1', '"', '>', 'a', ' '])))
def test_any_tokens_can_be_drafted_from(pieces):
    text = ''.join(pieces)
    follower = GroundedFollower('mug')
    follower.read(text)
    assert isinstance(follower.draft(), str)
    assert isinstance(complete_tokens(text, 'mug'), str)
