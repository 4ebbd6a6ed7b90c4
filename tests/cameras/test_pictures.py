# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Videos and folders of pictures as people have them."""

import cv2
import numpy as np
import pytest
import yaml

from molmo_ros.cameras.files import write_color, write_depth
from molmo_ros.cameras.opening import names_camera, names_recording, open_source
from molmo_ros.cli import main
from molmo_ros.errors import UserError

RATE = 20


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """Three seconds; each picture shows its number in six red stripes."""
    path = tmp_path_factory.mktemp('video') / 'table.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), RATE, (96, 64))
    for number in range(3 * RATE):
        image = np.zeros((64, 96, 3), np.uint8)
        for bit in range(6):
            image[:, 16 * bit : 16 * bit + 16, 2] = 255 * (number >> bit & 1)
        writer.write(image)
    writer.release()
    return path


@pytest.mark.parametrize('at, number', [(None, 0), (0.0, 0), (1.51, 30), (2.95, 59)])
def test_the_picture_of_a_video_is_that_of_the_time_asked_for(video, at, number):
    with open_source(str(video)) as source:
        color = source.capture(at).frame.color
    assert color.shape == (64, 96, 3)
    stripes = color[..., 0].reshape(64, 6, 16).mean((0, 2)) > 127
    assert sum(2**bit for bit, is_red in enumerate(stripes) if is_red) == number


def test_what_a_video_does_not_have_is_told(video, tmp_path):
    with open_source(str(video)) as source, pytest.raises(UserError, match=r'lasts 3\.000 s'):
        source.capture(3.0)
    cut = tmp_path / 'cut.mp4'
    cut.write_bytes(video.read_bytes()[:200])
    with pytest.raises(UserError, match='cut short'):
        open_source(str(cut))


def test_a_folder_gives_its_pictures_by_name_with_what_stands_beside_them(tmp_path):
    for number, name in enumerate(['b', 'a', 'c']):
        write_color(tmp_path / f'{name}.png', np.full((40, 60, 3), 10 + number, np.uint8))
    write_depth(tmp_path / 'b_depth.png', np.full((40, 60), 0.75, np.float32))
    own = {'width': 60, 'height': 40, 'k': [55.0, 0, 30, 0, 55, 20, 0, 0, 1]}
    (tmp_path / 'camera.yaml').write_text(yaml.safe_dump(own))
    (tmp_path / 'a_camera.yaml').write_text(yaml.safe_dump({**own, 'k': [66.0, *own['k'][1:]]}))
    with open_source(str(tmp_path)) as source:
        first, second = source.capture(), source.capture(1)
        with pytest.raises(UserError, match='0 to 2'):
            source.capture(1.5)
    assert first.frame.color[0, 0, 0] == 11 and first.frame.depth is None
    assert first.frame.camera.K[0, 0] == 66.0
    assert second.frame.color[0, 0, 0] == 10 and second.frame.camera.K[0, 0] == 55.0
    np.testing.assert_allclose(second.frame.depth, 0.75)


def test_names_of_cameras_are_files_where_there_are_such_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert names_camera('webcam:1') and names_camera('realsense') and not names_camera('my.yaml')
    (tmp_path / 'webcam').write_text('')
    assert not names_camera('webcam') and not names_camera('./realsense')
    assert names_recording(str(tmp_path)) and names_recording('x.mcap')
    assert not names_recording('picture.png')


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(UserError, match='holds no pictures'):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    'arguments, complaint',
    [
        ('ask mug', 'give an image'),
        ('ask picture.png mug --camera webcam', 'not both'),
        ('ask --camera webcam:77 mug', 'no webcam 77'),
        ('ask mug --camera webcam:front', 'the number of a webcam'),
        ('ask picture.png mug --at 3', '--at is of recordings'),
        ('ask picture.png mug --target-frame base', '--target-frame is of recordings'),
        ('ask nothing.mcap mug', 'nothing.mcap does not exist'),
        ('ask . mug --depth picture.png', '--depth is of a picture file'),
        ('ask . mug --topics color=/image', "'color=/image' is none of"),
        ('ask . --topics image=/a mug', 'give the image and the query before'),
        ('ask . mug --sync-slop -1', '--sync-slop'),
        ('ask old.bag mug', 'rosbags-convert --src old.bag'),
    ],
)
def test_a_mistake_is_told_in_a_sentence(arguments, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_color(tmp_path / 'picture.png', np.zeros((8, 8, 3), np.uint8))
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0')
    assert main(arguments.split()) == 2
    output = capsys.readouterr()
    assert complaint in output.err and output.out == ''


def test_a_video_can_be_asked_about(video, capsys):
    assert main(['ask', str(video), '--at', '1', 'the red mug']) == 0
    printed = capsys.readouterr().out
    assert f'{video}, picture 20' in printed.replace('\n', '')
