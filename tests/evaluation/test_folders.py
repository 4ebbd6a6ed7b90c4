# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from folders in the public layouts, and what is refused."""

import hashlib
import json

import cv2
import numpy as np
import pytest

from molmo_ros.engine import Answer
from molmo_ros.evaluation.folders import (
    Folder,
    own_pictures,
    pixmo_count,
    pixmo_points,
    point_bench,
)
from molmo_ros.evaluation.judging import Verdict, judge
from molmo_ros.evaluation.samples import InvalidData
from molmo_ros.pointing import ImagePoint, Mode

URL = 'https://example.org/shop/red%20mug.jpg?size=2'
HASH = hashlib.sha256(URL.encode()).hexdigest()
WIDTH, HEIGHT = 40, 20
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
LEFT, RIGHT = np.zeros((2, HEIGHT, WIDTH), bool)
LEFT[:, :10], RIGHT[:, 30:] = True, True


def write_png(path, image=IMAGE):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path) + '.png', image[..., ::-1] if image.ndim == 3 else image)
    return (path.parent / f'{path.name}.png').rename(path)


def points(*pairs):
    return [{'x': x, 'y': y} for x, y in pairs]


def write_lines(folder, rows, name='test.jsonl'):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text('\n'.join(json.dumps(row) for row in rows))


def verdict(sample, *pixels, count=None):
    given = tuple(ImagePoint(*pixel, '') for pixel in pixels)
    return judge(sample, Answer('', given, count, not given), WIDTH, HEIGHT).verdict


ROWS = [
    {'image_url': URL, 'label': 'mugs', 'points': points((10, 50), (90, 50)), 'count': 2},
    {'image_url': URL, 'label': 'spoon', 'points': [], 'count': 0},
]


@pytest.mark.parametrize(
    'name',
    [HASH, f'{HASH}.webp', 'c0ffee.jpg', 'red mug.jpg'],
)
def test_a_picture_is_found_by_the_hash_of_its_url_its_own_hash_or_its_name(name, tmp_path):
    write_lines(tmp_path, [{**ROWS[0], 'image_sha256': 'c0ffee'}])
    write_png(tmp_path / 'images' / name)
    (sample,) = pixmo_points(Folder(tmp_path)).samples
    assert np.array_equal(sample.image(), IMAGE)


def test_pointing_without_masks_is_judged_by_nearness_and_none_by_silence(tmp_path):
    write_lines(tmp_path, ROWS)
    write_png(tmp_path / 'images' / 'red mug.jpg')
    mugs, spoon = pixmo_points(Folder(tmp_path)).samples
    assert (mugs.query, mugs.mode, mugs.topic) == ('mugs', Mode.POINT, 'pointing')
    # 5 % of the diagonal of 40 x 20 is 2.24 pixels.
    assert verdict(mugs, (4, 10), (36, 12.2)) is Verdict.ALL_FOUND
    assert verdict(mugs, (4, 10), (36, 12.3)) is Verdict.SOME_WRONG
    assert verdict(mugs, (4, 10)) is Verdict.SOME_WRONG
    assert verdict(mugs) is Verdict.NOT_FOUND
    assert spoon.topic == 'absent'
    assert verdict(spoon) is Verdict.RIGHTLY_ABSENT
    assert verdict(spoon, (4, 10)) is Verdict.INVENTED


@pytest.mark.parametrize('kind', ['pictures', 'lists'])
def test_masks_decide_where_there_are_masks(kind, tmp_path):
    masks = [LEFT.tolist(), RIGHT.tolist()]
    if kind == 'pictures':
        for side, mask in (('left', LEFT), ('right', RIGHT)):
            write_png(tmp_path / 'masks' / f'{side}.png', mask.astype(np.uint8) * 255)
        masks = ['masks/left.png', 'masks/right.png']
    write_lines(tmp_path, [{**ROWS[0], 'masks': masks}])
    write_png(tmp_path / 'images' / 'red mug.jpg')
    (mugs,) = pixmo_points(Folder(tmp_path)).samples
    assert verdict(mugs, (9.9, 1), (30, 19)) is Verdict.ALL_FOUND
    assert verdict(mugs, (10, 10), (30, 19)) is Verdict.SOME_WRONG


def test_counts_need_no_points_and_splits_are_tables_of_that_name(tmp_path):
    write_lines(tmp_path / 'data', [{'image': 'a.png', 'label': 'mug', 'count': 3}])
    write_lines(
        tmp_path / 'data', [{'image': 'a.png', 'label': 'can', 'count': 1}] * 2, 'validation.jsonl'
    )
    write_png(tmp_path / 'images' / 'a.png')
    assert len(pixmo_count(Folder(tmp_path)).samples) == 3
    (three,) = pixmo_count(Folder(tmp_path, split='test')).samples
    assert (three.query, three.mode) == ('mug', Mode.COUNT)
    assert verdict(three, count=3) is Verdict.COUNTED
    assert verdict(three, (1, 1), (2, 2), (3, 3)) is Verdict.COUNTED
    assert verdict(three, (1, 1), (2, 2), (3, 3), count=4) is Verdict.MISCOUNTED
    with pytest.raises(InvalidData, match=r"split 'train'; there is test.jsonl"):
        pixmo_count(Folder(tmp_path, split='train'))


def test_csv_holds_points_as_json(tmp_path):
    (tmp_path / 'rows.csv').write_text(
        'image,label,points\na.png,"mug, red","[{""x"": 10, ""y"": 50}]"\na.png,can,[]\n'
    )
    write_png(tmp_path / 'a.png')
    mug, can = pixmo_points(Folder(tmp_path)).samples
    assert (mug.query, mug.targets, can.absent) == ('mug, red', ((10, 50),), True)


def test_parquet_is_read_as_the_hub_has_it(tmp_path):
    """Masks as nested lists, pictures in the table, points as a struct of lists."""
    pa = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    data = cv2.imencode('.png', IMAGE[..., ::-1])[1].tobytes()
    table = pa.table(
        {
            'image': [{'bytes': data, 'path': 'a.png'}, {'bytes': data, 'path': 'b.png'}],
            'image_url': ['https://a', 'https://b'],
            'label': ['mugs', 'spoon'],
            'points': [{'x': [10.0, 90.0], 'y': [50.0, 50.0]}, {'x': [], 'y': []}],
            'masks': [[LEFT.tolist(), RIGHT.tolist()], []],
        }
    )
    (tmp_path / 'data').mkdir()
    parquet.write_table(table, tmp_path / 'data' / 'test-00000-of-00001.parquet', row_group_size=1)
    mugs, spoon = pixmo_points(Folder(tmp_path, split='test')).samples
    assert np.array_equal(mugs.image(), IMAGE)
    assert np.array_equal(mugs.masks(), (LEFT, RIGHT))
    assert verdict(mugs, (1, 1), (39, 1)) is Verdict.ALL_FOUND
    assert spoon.absent and spoon.masks is None


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / 'test.parquet').write_bytes(b'')
    monkeypatch.setitem(__import__('sys').modules, 'pyarrow', None)
    with pytest.raises(InvalidData, match=r'molmo-ros\[evaluate\]'):
        pixmo_points(Folder(tmp_path))


def write_bench(folder):
    rows = [
        ('affordable', {'user_input': 'Where would you hold it?'}),
        ('counting', {'user_input': 'Point to both.', 'count': 2}),
        ('spatial', {'user_input': 'What is left?'}),
    ]
    entries = []
    for number, (category, fields) in enumerate(rows):
        name = f'{number}.png'
        write_png(folder / 'selected_images' / category / name)
        write_png(
            folder / 'selected_masks' / category / f'{number}_mask.png',
            (LEFT | RIGHT)[: 15 if category == 'spatial' else None].astype(np.uint8) * 255,
        )
        entry = {'image_filename': name, 'category': category, **fields}
        entries.append({**entry, 'mask_filename': f'{number}_mask.png'})
    entries.append({'image_filename': 'x.png', 'category': 'spatial', 'user_input': 'unfinished'})
    (folder / 'data.json').write_text(json.dumps(entries))


def test_point_bench_asks_in_its_own_words_and_judges_by_its_own_rules(tmp_path):
    write_bench(tmp_path)
    hold, both, left = point_bench(Folder(tmp_path)).samples
    assert (hold.query, hold.mode) == ('Where would you hold it?', Mode.ASK)
    assert [sample.topic for sample in (hold, both, left)] == ['affordable', 'counting', 'spatial']
    # The first point counts, except where things are to be counted.
    assert verdict(hold, (5, 5), (20, 5)) is Verdict.HIT
    assert verdict(hold, (20, 5), (5, 5)) is Verdict.MISSED
    assert verdict(both, (5, 5), (35, 5)) is Verdict.HIT
    assert verdict(both, (5, 5)) is Verdict.MISSED
    assert verdict(both, (5, 5), (20, 5)) is Verdict.MISSED
    # This mask ends above the end of its picture.
    assert verdict(left, (5, 14.9)) is Verdict.HIT
    assert verdict(left, (5, 15)) is Verdict.MISSED


def test_ones_own_pictures_are_those_that_finetuning_takes(tmp_path):
    write_png(tmp_path / 'images' / 'a.png')
    rows = [
        {'image': 'a.png', 'label': 'stapler', 'points': [[4, 10]]},
        {'image': 'a.png', 'label': 'mug', 'points': []},
    ]
    write_lines(tmp_path, rows, 'points.jsonl')
    stapler, mug = own_pictures(Folder(tmp_path)).samples
    assert verdict(stapler, (4, 10)) is Verdict.ALL_FOUND
    assert mug.absent
    assert len(own_pictures(Folder(tmp_path), limit=1).samples) == 1


@pytest.mark.parametrize(
    'read, complaint',
    [
        (pixmo_points, '2 of 4 questions lack their picture'),
        (pixmo_points, 'images/' + hashlib.sha256(b'https://lost/1').hexdigest()),
        (point_bench, 'data.json'),
        (own_pictures, 'points.jsonl'),
    ],
)
def test_what_is_missing_is_told_with_its_place(read, complaint, tmp_path):
    lost = [{**ROWS[0], 'image_url': f'https://lost/{number}'} for number in (1, 2)]
    write_lines(tmp_path, [*ROWS, *lost])
    write_png(tmp_path / 'images' / 'red mug.jpg')
    with pytest.raises(InvalidData, match=complaint.replace('.', r'\.')):
        read(Folder(tmp_path))


def test_what_is_missing_can_be_left_out(tmp_path):
    write_lines(tmp_path, [{**ROWS[0], 'image_url': 'https://lost'}, *ROWS])
    write_png(tmp_path / 'images' / 'red mug.jpg')
    found = pixmo_points(Folder(tmp_path, skip_missing=True))
    assert (len(found.samples), found.left_out) == (2, 1)


@pytest.mark.parametrize(
    'text, complaint',
    [
        ('{"image": "a.png", "points": []}', 'has no label'),
        ('{"label": "mug", "points": []}', 'neither image_url nor image'),
        ('{"label": ', 'cannot be read'),
        ('[1]', 'list of objects'),
        ('{"image": "a.png", "label": "mug", "points": [{"x": 4}]}', 'row 0'),
        ('{"image": "a.png", "label": "mug", "points": [], "count": 0', 'cannot be read'),
    ],
)
def test_a_table_of_another_layout_is_refused(text, complaint, tmp_path):
    (tmp_path / 'test.jsonl').write_text(text)
    write_png(tmp_path / 'images' / 'a.png')
    with pytest.raises(InvalidData, match=complaint):
        pixmo_points(Folder(tmp_path))


def test_points_and_masks_have_to_go_together(tmp_path):
    write_lines(tmp_path, [{**ROWS[0], 'masks': [LEFT.tolist()]}])
    write_png(tmp_path / 'images' / 'red mug.jpg')
    (sample,) = pixmo_points(Folder(tmp_path)).samples
    with pytest.raises(InvalidData, match='1 masks for 2 points'):
        sample.masks()


def test_a_picture_that_is_none_is_named(tmp_path):
    write_lines(tmp_path, [{**ROWS[0], 'image': 'a.png'}])
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'a.png').write_text('404')
    (sample,) = pixmo_points(Folder(tmp_path)).samples
    with pytest.raises(InvalidData, match=r'a\.png is no picture'):
        sample.image()


def test_pointers_of_git_lfs_are_named_for_what_they_are(tmp_path):
    pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:9b\nsize 31337\n'
    write_lines(tmp_path, [{**ROWS[0], 'image': 'a.png'}])
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'a.png').write_text(pointer)
    (sample,) = pixmo_points(Folder(tmp_path)).samples
    with pytest.raises(InvalidData, match=r'a\.png is a pointer of git-lfs'):
        sample.image()
    for name in ('test.jsonl', 'test.parquet'):
        for table in tmp_path.glob('test.*'):
            table.unlink()
        (tmp_path / name).write_text(pointer)
        with pytest.raises(InvalidData, match=f'{name} is a pointer of git-lfs'):
            list(pixmo_points(Folder(tmp_path)).samples)
    (tmp_path / 'points.jsonl').write_text(pointer)
    with pytest.raises(InvalidData, match=r'points\.jsonl is a pointer of git-lfs'):
        own_pictures(Folder(tmp_path), None)
