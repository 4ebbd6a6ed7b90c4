# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros check-camera` on files: what it says of cameras that fit, and of ones that do not."""

import json
import re

import cv2
import numpy as np
import pytest

from molmo_ros.cameras.files import read_color, write_camera, write_color, write_depth
from molmo_ros.cli import main
from molmo_ros.tabletop.samples.table_views import view_of

POSED = [
    *('color.png', '--depth', 'depth.png', '--camera', 'camera.yaml'),
    *('--depth-camera', 'camera.yaml', '--depth-pose'),
]


@pytest.fixture(scope='module')
def picture():
    return view_of(5011).picture


@pytest.fixture
def files(picture, tmp_path):
    write_color(tmp_path / 'color.png', picture.color)
    write_color(tmp_path / 'moved.png', np.roll(picture.color, 11, 1))
    write_depth(tmp_path / 'depth.png', picture.depth)
    write_depth(tmp_path / 'fives.png', picture.depth * 0.01)
    write_camera(tmp_path / 'camera.yaml', picture.camera)
    cv2.imwrite(str(tmp_path / 'small.png'), np.full((120, 160), 700, np.uint16))
    return tmp_path


def checked(capsys, *arguments):
    """The exit status, and the findings by what they are about."""
    status = main(['check-camera', *map(str, arguments), '--json'])
    report = json.loads(capsys.readouterr().out)
    assert report['good'] == (status == 0)
    return status, {(f['what'], f['good']): f['text'] for f in report['findings']}


def test_a_camera_that_fits_is_good_and_drawn(files, picture, capsys):
    out = files / 'edges.png'
    status, found = checked(
        capsys,
        files / 'color.png',
        *('--depth', files / 'depth.png', '--camera', files / 'camera.yaml', '--out', out),
    )
    assert status == 0
    assert 'aligned' in found['alignment', True]
    assert 'degrees' in found['calibration', None] and ' m' in found['depth', None]
    drawn = read_color(out)
    assert drawn.shape == picture.color.shape
    assert (drawn == (255, 0, 200)).all(2).sum() > 300


def test_a_picture_that_is_off_is_wrong_by_so_many_pixels(files, capsys):
    status, found = checked(capsys, files / 'moved.png', '--depth', files / 'depth.png')
    assert status == 1
    text = found['alignment', False]
    assert float(re.search(r'([\d.]+) px right', text)[1]) == pytest.approx(11, abs=0.5)


@pytest.mark.parametrize(
    'depth, what, complaint',
    [('small.png', 'alignment', '160x120'), ('fives.png', 'depth', 'median depth')],
)
def test_depth_that_cannot_be_is_wrong(files, depth, what, complaint, capsys):
    status, found = checked(capsys, files / 'color.png', '--depth', files / depth)
    assert status == 1 and complaint in found[what, False]


def test_depth_of_another_camera_is_brought_over_first(files, capsys):
    both = ('--camera', files / 'camera.yaml', '--depth-camera', files / 'camera.yaml')
    given = (files / 'color.png', '--depth', files / 'depth.png', *both)
    assert checked(capsys, *given, '--depth-pose', '0 0 0 0 0 0 1')[0] == 0
    _, found = checked(capsys, *given, '--depth-pose', '0.012 0 0 0 0 0 2')
    assert ('alignment', True) not in found


@pytest.mark.parametrize(
    'arguments, complaint',
    [
        ([], 'PICTURE'),
        (['color.png', '--image', '/image'], '--ros'),
        (['color.png', '--ros'], '--image'),
        (['--ros', '--seconds', '0'], '--seconds'),
        (['color.png', '--depth', 'nowhere.png'], 'nowhere.png'),
        (['color.png', '--depth-camera', 'camera.yaml'], '--camera'),
        ([*POSED, '1 2'], '--depth-pose'),
        ([*POSED, '0 0 0 0 0 0 0'], '--depth-pose'),
    ],
)
def test_a_mistake_is_told_in_a_sentence(arguments, complaint, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert main(['check-camera', *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_without_json_a_person_is_told_where_to_look(files, capsys):
    assert (
        main(['check-camera', str(files / 'color.png'), '--depth', str(files / 'depth.png')]) == 0
    )
    printed = capsys.readouterr().out
    assert 'good   alignment' in printed and 'look   depth' in printed


def test_depth_in_another_unit_is_questioned_and_read_by_the_option_as_ask_reads_it(files, capsys):
    """Steps of 1/2500 m taken for millimetres: things seem twice and a half as far."""
    picture = view_of(5011).picture
    steps = np.rint(np.nan_to_num(picture.depth) * 2500).astype(np.uint16)
    cv2.imwrite(str(files / 'steps.png'), steps)
    given = (files / 'color.png', '--depth', files / 'steps.png', '--camera', files / 'camera.yaml')
    _, found = checked(capsys, *given)
    assert '--depth-unit' in found['assumed', None]
    _, found = checked(capsys, *given, '--depth-unit', '0.4mm')
    assert ('assumed', None) not in found
    middle = float(re.search(r'mostly ([0-9.]+) m', found['depth', None]).group(1))
    assert middle == pytest.approx(np.nanmedian(picture.depth), abs=0.01)


def test_a_picture_that_shows_nothing_is_said(files, picture, capsys):
    write_color(files / 'night.png', picture.color // 64)
    _, found = checked(capsys, files / 'night.png')
    assert 'black' in found['picture', None]
