# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each generation of Molmo writes is read as the points, count or absence that it means."""

import pytest

from molmo_ros.pointing import read_points


def xy(text: str, width: int = 1000, height: int = 1000) -> list[tuple[float, float]]:
    return [
        (round(point.u, 6), round(point.v, 6)) for point in read_points(text, width, height).points
    ]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (' <point x="61.5" y="40.4" alt="mug">mug</point>', [(615, 404)]),
        (
            '<points x1="10.0" y1="20.0" x2="30.5" y2="40.1" alt="m">m</points>',
            [(100, 200), (305, 401)],
        ),
        ('<points x1="10.0" x2="30.5" y1="20.0" y2="40.1" alt="m">', [(100, 200), (305, 401)]),
        ('<points x2="30.5" y2="40.1" x1="10.0" y1="20.0" alt="m">', [(305, 401), (100, 200)]),
        ('<point x=" 61.5" y=" 40.4 " alt="mug">mug</point>', [(615, 404)]),
        ("<point x='61.5' y='40.4' alt='mug'>mug</point>", [(615, 404)]),
        ('<point x="61" y="40" alt="mug">mug</point>', [(610, 400)]),
        ('<point p=615,404 alt="mug">mug</point>', [(615, 404)]),
        ('<points 1=615,404 2= 100, 200 alt="m">m</points>', [(615, 404), (100, 200)]),
        ('p=615,404', [(615, 404)]),
        ('Click(61.5, 40.4)', [(615, 404)]),
        ('(61.5, 40.4)\n(1.0,2.0)\n(3.0 4.0)', [(615, 404), (10, 20), (30, 40)]),
        ('{"x": 10.0, "y": 41.5}', [(100, 415)]),
        ('[{"x": 10, "y": 41}, {"label": "mug", "x": 1.25, "y": 2.0}]', [(100, 410), (12.5, 20)]),
        ('{10.6, 41.8}', [(106, 418)]),
        ('<points coords="1 1 512 430">mug</points>', [(512, 430)]),
        ('<points coords="1 1 512 430 2 005 1000">mug</points>', [(512, 430), (5, 1000)]),
        (
            'The mug <point x="1.0" y="2.0" alt="a">a</point> by Click(3.0, 4.0)',
            [(10, 20), (30, 40)],
        ),
        ('<point x="1.0" y="2.0" alt="a">a</point><point x="3.0" y="4.0">', [(10, 20), (30, 40)]),
    ],
)
def test_every_written_form_gives_its_points(text, expected):
    assert xy(text) == [pytest.approx(pair) for pair in expected]


def test_points_are_pixels_of_the_original_image_and_the_far_edge_is_inside():
    text = '<points x1="0.0" y1="0.0" x2="100.0" y2="100.0" x3="50.0" y3="25.0" alt="a">a</points>'
    assert xy(text, 640, 480) == [(0, 0), (640, 480), (320, 120)]
    assert xy('<points coords="1 1 000 000 2 1000 1000">a</points>', 640, 480) == [
        (0, 0),
        (640, 480),
    ]


@pytest.mark.parametrize(
    'text',
    [
        'There is a crack at (2, 3).',
        'It is 3 m wide (see 3.5, 4.5).',
        'The board is (2.54, 3.81) cm.',
        'Version (10.12.1) of f(3.0, 4.0, 5.0).',
        'The ratio x: 10.0, y: 20.0 is fine.',
        'On page 1=100,200 it says p=1,2.',
        '<b>x</b> <pointless x="1.0" y="2.0">',
        '<point x="a" y="2.0" alt="mug">',
        '<point x="-1.0" y="2.0" alt="mug">',
        '<points x1="1.0" y2="2.0" alt="mug">',
        '<point x="1.0" alt="mug (1.0, 2.0)">(3.0, 4.0)</point>',
    ],
)
def test_prose_and_broken_tags_do_not_become_points(text):
    assert read_points(text, 640, 480).points == ()


@pytest.mark.parametrize(
    'text',
    [
        '<points x1="10.0" y1="20.0" x2="10.0" y2="20.0" x3="10" y3="20.00" alt="m">m</points>',
        'Click(10.0, 20.0) (10.0, 20.0)',
        '<point x="10.0" y="20.0" alt="m">m</point> or <point x="10.0" y="20.0" alt="n">n</point>',
        '<points coords="1 1 100 200 2 100 200">m</points>',
    ],
)
def test_a_point_written_twice_is_one_point(text):
    assert xy(text) == [(100, 200)]


@pytest.mark.parametrize(
    'text',
    [
        '<points x1="100.1" y1="20.0" x2="30.0" y2="40.0" x3="5.0" y3="999.9" alt="m">m</points>',
        '(100.1, 20.0) (30.0, 40.0)',
        '<points 1=1001,200 2=300,400 alt="m">m</points>',
        '<points coords="1 1 1001 200 2 300 400 3 005 9999">m</points>',
    ],
)
def test_a_point_outside_the_image_is_dropped_alone(text):
    assert xy(text) == [(300, 400)]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('<point x="61.5" y="40.4" alt="red m', [(615, 404)]),
        ('<point x="61.5" y="40.4', [(615, 404)]),
        ('<point x="61.5" y="40.', []),
        ('<point x="61.5" y="40', []),
        ('<point x="61.5" y="', []),
        ('<points x1="10.0" y1="20.0" x2="30.5" y2="4', [(100, 200)]),
        ('<points x1="10.0" y1="20.0" x2', [(100, 200)]),
        ('<points coords="1 1 512 430 2 610 33', [(512, 430)]),
        ('<points coords="1 1 512 430 2 610', [(512, 430)]),
        ('<points coords="1 1 512 430 2 610 333', [(512, 430), (610, 333)]),
        ('<points coords="1 1 512 430 2 610 100', [(512, 430)]),
        ('[{"x": 10.0, "y": 41.5}, {"x": 3.0, "y": 4', [(100, 415)]),
    ],
)
def test_a_tag_cut_short_keeps_its_complete_pairs(text, expected):
    assert xy(text) == expected


@pytest.mark.parametrize('separator', ['\t', ';', ':', ','])
def test_molmo2_points_know_their_image(separator):
    text = f'<points coords="1 1 255 310{separator}3 2 610 333 3 611 334">mugs</points>'
    points = read_points(text, 1000, 1000).points
    assert [point.image_index for point in points] == [0, 2, 2]
    assert [point.label for point in points] == ['mugs'] * 3


def test_the_same_place_in_two_images_is_two_points():
    text = '<points coords="1 1 255 310;2 2 255 310">mugs</points>'
    assert [point.image_index for point in read_points(text, 640, 480).points] == [0, 1]


def test_tracks_number_their_frames_in_order():
    text = '<tracks coords="0.0 1 500 500;0.5 1 510 498;1.0 1 500 500">ball</tracks>'
    points = read_points(text, 1000, 1000).points
    assert [(p.u, p.v, p.image_index) for p in points] == [
        (500, 500, 0),
        (510, 498, 1),
        (500, 500, 2),
    ]


@pytest.mark.parametrize(
    ('text', 'label'),
    [
        ('<point x="1.0" y="2.0" alt="red mug">the mug</point>', 'red mug'),
        ('<point x="1.0" y="2.0">the mug</point>', 'the mug'),
        ('<point x="1.0" y="2.0" alt="">the mug</point>', 'the mug'),
        ('<point x="1.0" y="2.0" alt="red mug', 'red mug'),
        ('<point x="1.0" y="2.0" alt="6" nail">6" nail</point>', '6" nail'),
        ('<point x="1.0" y="2.0" alt="a > b">a > b</point>', 'a > b'),
        ('<point x="1.0" y="2.0" alt="salt &amp; &lt;b&gt; pepper">', 'salt & <b> pepper'),
        ('<point x="1.0" y="2.0" alt="a\n\x00\ud800&#0;  b">', 'a \ufffd b'),
        ('<points alt="red mugs" coords="1 1 512 430">mugs</points>', 'red mugs'),
        ('<points alt="6" nails" coords="1 1 512 430">nails</points>', '6" nails'),
        ('<points coords="1 1 512 430">mugs</points>', 'mugs'),
        ('Click(1.0, 2.0)', ''),
    ],
)
def test_labels_are_one_clean_line(text, label):
    (point,) = read_points(text, 640, 480).points
    assert point.label == label


def test_a_label_cannot_grow_without_bound():
    (point,) = read_points(f'<point x="1.0" y="2.0" alt="{"mug " * 10000}">', 640, 480).points
    assert len(point.label) <= 200


@pytest.mark.parametrize(
    'text',
    [
        ' There are none.',
        'There are none',
        "This isn't in the image.",
        'This isn’t in the image.',
        'this is not in the image',
        'The red mug is not visible in the picture.',
        'There is no red mug in this image.',
        'None.',
        '0',
        'There are 0 mugs.',
    ],
)
def test_absence_is_an_answer(text):
    reading = read_points(text, 640, 480)
    assert reading.absent
    assert reading.count == 0
    assert reading.points == ()


@pytest.mark.parametrize(
    'text',
    [
        'The spoon lies left of the plate. The fork is not in the image.',
        'This is not in the image but there: <point x="1.0" y="2.0" alt="mug">mug</point>',
        'There is no doubt that it is red.',
        '<point x="100.5" y="2.0" alt="mug">mug</point>',
        'A red mug.',
        '',
    ],
)
def test_other_answers_are_not_absence(text):
    reading = read_points(text, 640, 480)
    assert not reading.absent
    assert reading.count is None


@pytest.mark.parametrize(
    ('text', 'count', 'points'),
    [
        ('Counting the <points 1=100,200 2=300,400 alt="m">m</points> shows a total of 2.', 2, 2),
        ('Counting the <point x="1.0" y="2.0" alt="m">m</point> shows a total of 12.', 12, 1),
        ('There are 2 <points coords="1 1 255 310 2 610 333">mugs</points>.', 2, 2),
        ('There are 3 mugs.', 3, 0),
        (' 2', 2, 0),
        ('2.', 2, 0),
        ('2.5', None, 0),
        ('There are 2.5 litres.', None, 0),
        ('<point x="1.0" y="2.0" alt="a total of 5 mugs">m</point>', None, 1),
    ],
)
def test_a_stated_count_is_read(text, count, points):
    reading = read_points(text, 640, 480)
    assert reading.count == count
    assert len(reading.points) == points


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ValueError, match='at least one pixel'):
        read_points('There are none.', 0, 480)
