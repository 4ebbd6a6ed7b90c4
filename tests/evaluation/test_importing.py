# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labels of COCO and of Label Studio, as lines that teach."""

import json
import struct
import zlib

import cv2
import numpy as np
import pytest

from molmo_ros.cli import main
from molmo_ros.evaluation.points_folder import read_folder

WIDTH, HEIGHT = 40, 20


def write_picture(path, turned=False):
    """Black, but for a white pixel at 10.5, 5.5; turned: stored on its side, EXIF says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[5, 10] = 255
    if turned:  # 6: to be shown turned by a quarter, clockwise
        picture = np.rot90(picture)
    data = cv2.imencode('.png', picture)[1].tobytes()
    if turned:
        exif = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x0112, 3, 1, 6, 0, 0)
        chunk = struct.pack('>I', len(exif)) + b'eXIf' + exif
        data = data[:33] + chunk + struct.pack('>I', zlib.crc32(chunk[4:])) + data[33:]
    path.write_bytes(data)


def imported(folder, fields, *options):
    (folder / 'labels.json').write_text(json.dumps(fields))
    return main(['label', 'import', str(folder / 'labels.json'), str(folder / 'out'), *options])


def lines(folder):
    text = (folder / 'out/points.jsonl').read_text()
    return {(x['image'], x['label']): x['points'] for x in map(json.loads, text.splitlines())}


def image(id, name, size=(WIDTH, HEIGHT)):
    return {'id': id, 'file_name': name, 'width': size[0], 'height': size[1]}


def box(image_id, *bbox, category=1, **more):
    return {'id': 70 + image_id, 'image_id': image_id, 'category_id': category, **more} | (
        {'bbox': bbox} if bbox else {}
    )


def coco(images, annotations):
    categories = [
        {'id': 1, 'name': 'bolt'},
        {'id': 2, 'name': 'mug', 'keypoints': ['handle', 'lip']},
    ]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def test_boxes_and_keypoints_of_coco(tmp_path, capsys):
    write_picture(tmp_path / 'images/train/a.png')
    write_picture(tmp_path / 'images/b.png')
    # As pycocotools and most tools see it: 20 wide, 40 high.
    write_picture(tmp_path / 'images/c.png', turned=True)
    annotations = [
        box(1, 8, 4, 5, 3),
        box(1, 20, 10, 4, 2),
        # The lip is behind the mug, so nobody knows what else is not seen there.
        box(1, category=2, keypoints=[3, 4, 2, 9, 9, 1]),
        box(2, 0, 0, 40, 20, iscrowd=1),
        box(3, 4, 28, 3, 3),
    ]
    images = [image(1, 'train/a.png'), image(2, 'b.png'), image(3, 'c.png', (HEIGHT, WIDTH))]
    assert imported(tmp_path, coco(images, annotations), '--absent') == 0
    assert 'b.png: bolt is left out' in capsys.readouterr().err
    found = lines(tmp_path)
    assert found['train/a.png', 'bolt'] == [[10.5, 5.5], [22.0, 11.0]]
    assert found['train/a.png', 'handle of the mug'] == [[3.0, 4.0]]
    assert found['c.png', 'handle of the mug'] == []
    # Of a crowd nobody knows where all are.
    assert len(found) == 4 and not [key for key in found if key[0] == 'b.png' or 'lip' in key[1]]
    ((u, v),) = found['c.png', 'bolt']
    assert (u, v) == (10.5, 5.5)
    # What is written is what teaching and measuring read.
    pictures = {picture.path.name: picture for picture in read_folder(tmp_path / 'out')}
    assert pictures['c.png'].labels[0].points == ((100 * u / WIDTH, 100 * v / HEIGHT),)


def test_points_and_boxes_of_label_studio(tmp_path, capsys):
    write_picture(tmp_path / 'images/red mug.png')
    write_picture(tmp_path / 'images/b.png')
    size = {'original_width': WIDTH, 'original_height': HEIGHT}
    point = {'x': 25, 'y': 50, 'width': 0.5, 'keypointlabels': ['gear']}
    turned = {'x': 50, 'y': 0, 'width': 10, 'height': 100, 'rotation': 90}
    results = [
        {'type': 'keypointlabels', 'value': point, **size},
        {'type': 'rectanglelabels', 'value': {**turned, 'rectanglelabels': ['nut']}, **size},
        {'type': 'choices', 'value': {'choices': ['good']}},
    ]
    cancelled = {'was_cancelled': True, 'result': results}
    tasks = [
        {
            'id': 1,
            'data': {'image': '/data/upload/1/0123abcd-red%20mug.png'},
            'annotations': [{'result': results}, cancelled],
        },
        {
            'id': 2,
            'data': {'image': '/data/local-files/?d=images/b.png'},
            'annotations': [{'result': []}],
        },
    ]
    assert imported(tmp_path, tasks, '--absent') == 0
    assert 'choices is left out' in capsys.readouterr().err
    found = lines(tmp_path)
    assert found['red mug.png', 'gear'] == [[10.0, 10.0]]
    # Turned about its corner at 20, 0: 20 to the left, and down by 4.
    assert found['red mug.png', 'nut'] == [[10.0, 2.0]]
    assert found['images/b.png', 'gear'] == found['images/b.png', 'nut'] == []


def test_all_that_cannot_be_used_is_told_and_can_be_left_out(tmp_path, capsys):
    write_picture(tmp_path / 'images/a.png')
    write_picture(tmp_path / 'images/b.png')
    (tmp_path / 'secret.png').write_bytes(b'')
    images = [image(1, 'a.png'), image(2, 'b.png', (640, 480)), image(3, '../../secret.jpg')]
    annotations = [
        box(1, 8, 4, 5, 3),
        box(1, 60, 4, 5, 3),
        box(1, 'wide', 0, 0, 0),
        box(2, 0, 0, 1, 1),
        box(3, 0, 0, 1, 1),
        box(1, 0, 0, 1, 1, category=9),
    ]
    fields = coco(images, annotations)
    assert imported(tmp_path, fields) == 2
    told = capsys.readouterr().err
    assert '5 things cannot be used' in told and not (tmp_path / 'out').exists()
    for part in ('62.5, 5.5 lies outside', 'cannot be read', '640 x 480', 'secret.jpg', 'category'):
        assert part in told
    assert imported(tmp_path, fields, '--skip-wrong') == 0
    assert lines(tmp_path) == {('a.png', 'bolt'): [[10.5, 5.5]]}
    assert imported(tmp_path, fields, '--skip-wrong') == 2
    assert 'there already' in capsys.readouterr().err


@pytest.mark.parametrize('fields', [{}, [], [{'image': 'a.png'}], 'labels'])
def test_what_is_of_neither_is_refused(fields, tmp_path, capsys):
    assert imported(tmp_path, fields) == 2
    assert 'neither of COCO' in capsys.readouterr().err
