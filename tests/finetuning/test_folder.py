# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder to learn from: what its lines mean, and how a wrong one is told."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from molmo_ros.evaluation.folders import Folder, own_pictures
from molmo_ros.evaluation.points_folder import InvalidFolder, read_folder
from molmo_ros.finetuning.exchanges import Exchange, exchange_about, mirrored, moved, through
from molmo_ros.finetuning.lessons import views_of
from molmo_ros.finetuning.rehearsal import read_rehearsal, write_rehearsal
from molmo_ros.finetuning.views import Window, part
from molmo_ros.pointing import read_points


def test_points_are_pixels_and_become_percent(folder):
    first, second = read_folder(folder)
    assert (first.path.name, second.path.name) == ('a.png', 'b.png')
    assert first.labels[0].points == ((50.0, 50.0),) and second.labels[0].points == ()


@pytest.mark.parametrize(
    'line, complaint',
    [
        ('{"image": "a.png", "label": "pen"', 'not JSON'),
        ('["a.png", "pen", []]', 'keys image, label and points'),
        ({'image': 'a.png', 'label': 'pen'}, 'keys image, label and points'),
        ({'image': 'c.png', 'label': 'pen', 'points': []}, 'c.png'),
        ({'image': 7, 'label': 'pen', 'points': []}, 'image is 7'),
        ({'image': '../points.jsonl', 'label': 'pen', 'points': []}, 'not an image'),
        ({'image': 'a.png', 'label': ' ', 'points': []}, 'label is'),
        ({'image': 'a.png', 'label': 'a\npen', 'points': []}, 'label is'),
        ({'image': 'a.png', 'label': 'pen', 'points': None}, 'give a list'),
        ({'image': 'a.png', 'label': 'pen', 'points': [3, 4]}, '3 is no point'),
        ({'image': 'a.png', 'label': 'pen', 'points': [[3, 4, 5]]}, 'write [u, v] in pixels'),
        ({'image': 'a.png', 'label': 'pen', 'points': [[3, 'x']]}, 'write [u, v] in pixels'),
        ({'image': 'a.png', 'label': 'pen', 'points': [[121, 4]]}, 'outside of the picture, 120'),
        ('{"image": "a.png", "label": "pen", "points": [[NaN, 4]]}', 'is no point'),
        ({'image': 'a.png', 'label': 'stapler', 'points': []}, 'in line 1 already'),
    ],
)
def test_a_wrong_line_is_named(line, complaint, folder):
    with (folder / 'points.jsonl').open('a') as file:
        file.write(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(InvalidFolder) as told:
        read_folder(folder)
    assert 'points.jsonl, line 3: ' in str(told.value) and complaint in str(told.value)


def test_all_wrong_lines_are_told_at_once(folder):
    lines = [f'{{"image": "a.png", "label": "pen {n}", "points": [[{n}, 95]]}}' for n in range(25)]
    with (folder / 'points.jsonl').open('a') as file:
        file.write('\n'.join(['{"image": "c.png", "label": "pen", "points": []}', *lines]))
    with pytest.raises(InvalidFolder) as told:
        read_folder(folder)
    first, *rest = str(told.value).splitlines()
    assert first.endswith('points.jsonl: 26 lines are wrong')
    assert rest[0].startswith('  line 3: ') and 'c.png' in rest[0]
    assert '[0, 95] lies outside' in rest[1] and rest[-1] == '  and 6 more' and len(rest) == 21


def test_pictures_of_one_name_in_two_folders_are_told_apart(folder, tmp_path):
    (folder / 'images/more').mkdir()
    (folder / 'images/b.png').rename(folder / 'images/more/a.png')
    text = (folder / 'points.jsonl').read_text().replace('b.png', 'more/a.png')
    (folder / 'points.jsonl').write_text(text)
    first, second = own_pictures(Folder(folder)).samples
    assert (first.image_id, second.image_id) == ('a.png', 'more/a.png')
    assert (first.image() != second.image()).any()
    views = views_of(read_folder(folder), mirror=False)
    kept = {view: [Exchange('Point to the pen', ' None.')] for view in views}
    write_rehearsal(kept, tmp_path / 'kept.jsonl', folder)
    assert read_rehearsal(tmp_path / 'kept.jsonl', folder) == kept


def test_a_folder_with_nothing_to_learn_is_refused(folder, tmp_path):
    with pytest.raises(InvalidFolder, match=r'has points\.jsonl and images/'):
        read_folder(tmp_path / 'nowhere')
    (folder / 'points.jsonl').write_text('{"image": "a.png", "label": "pen", "points": []}\n')
    with pytest.raises(InvalidFolder, match='nothing to learn'):
        read_folder(folder)


def test_lessons_read_back_as_what_the_line_says(folder):
    present, absent = (image.labels[0] for image in read_folder(folder))
    for seed in range(60):
        exchange = exchange_about(present, random.Random(seed))
        (point,) = read_points(exchange.answer, 120, 90).points
        assert (point.u, point.v, point.label) == (60, 45, 'stapler')
        assert 'stapler' in exchange.prompt
        assert read_points(exchange_about(absent, random.Random(seed)).answer, 120, 90).absent


def test_pictures_are_mirrored_with_their_points_unless_a_label_tells_sides(folder):
    images = read_folder(folder)
    assert len(views_of(images, mirror=True)) == 4
    assert len(views_of(images, mirror=False)) == 2
    assert mirrored(images[0].labels[0]).points == ((50.0, 50.0),)
    text = (folder / 'points.jsonl').read_text().replace('stapler', 'left shoe')
    (folder / 'points.jsonl').write_text(text)
    assert len(views_of(read_folder(folder), mirror=True)) == 2


def test_points_stay_on_their_things_in_a_part_of_the_picture(folder):
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[40, 120] = 255  # its middle is at (120.5, 40.5)
    window = Window(x=30, y=20, side=60)
    shown = part(picture, window)
    assert shown.shape == (60, 120, 3)
    label = replace(read_folder(folder)[0].labels[0], points=((120.5 / 2, 40.5),))
    ((x, y),) = through(label, window).points
    assert shown[int(y / 100 * 60), int(x / 100 * 120)].all()


@pytest.mark.parametrize(
    'answer, expected',
    [
        (' There are none.', ' There are none.'),
        (
            ' <point x="60.0" y="50.0" alt="pen">pen</point>',
            ' <point x="60.0" y="60.0" alt="pen">pen</point>',
        ),
        (
            ' Counting the <point x="60.0" y="50.0" alt="pen">pen</point> shows a total of 1.',
            ' Counting the <point x="60.0" y="60.0" alt="pen">pen</point> shows a total of 1.',
        ),
        (' <point x="10.0" y="50.0" alt="pen">pen</point>', None),
    ],
)
def test_rehearsed_answers_move_with_the_picture(answer, expected):
    exchange = moved(Exchange('Point to the pen', answer), Window(x=30, y=20, side=50))
    assert (exchange and exchange.answer) == expected
