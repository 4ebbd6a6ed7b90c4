# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ask` as people use a command line: what they give it, how they ask, what they get."""

import io
import json
import os
import pty
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rerun.chunk import RrdReader

from molmo_ros.cameras.files import write_camera, write_color, write_depth
from molmo_ros.cli import main
from molmo_ros.tabletop.samples.table_views import view_of

SEEDS = 5003, 5004
LOADED = 'rendered tables only'  # told once when a checkpoint is loaded


@pytest.fixture(scope='module')
def views():
    return [view_of(seed) for seed in SEEDS]


@pytest.fixture(scope='module')
def folder(views, tmp_path_factory):
    """Two tables: a [left].png with depth and calibration beside it, and b.png alone."""
    folder = tmp_path_factory.mktemp('tables')
    left, right = (view.picture for view in views)
    write_color(folder / 'a [left].png', left.color)
    write_depth(folder / 'a [left]_depth.png', left.depth)
    write_camera(folder / 'a [left]_camera.yaml', left.camera)
    write_color(folder / 'b.png', right.color)
    return folder


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def name_of(view):
    item = view.scene.objects[0]
    return f'the {item.colour} {item.kind}'


def lines_of(capsys):
    """What was printed as JSON lines, and what was said beside."""
    output = capsys.readouterr()
    return [json.loads(line) for line in output.out.splitlines()], output.err


def process(*arguments, **options):
    command = [sys.executable, '-m', 'molmo_ros.cli', 'ask', *map(str, arguments)]
    return subprocess.run(command, capture_output=True, **options)


def test_with_depth_the_table_says_where_in_space(views, capsys):
    files = '--depth', 'a [left]_depth.png', '--camera', 'a [left]_camera.yaml'
    assert main(['ask', 'a [left].png', name_of(views[0]), *files]) == 0
    heading, row, *_ = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ['label', 'u,', 'v', '(pixels)']
    assert 'confidence' in heading and 'x y z (m)' in heading
    assert 'OK ±' in row and '[left]' not in row


def test_grasps_are_told_in_the_axes_of_the_tool(views, capsys):
    """With --json all of them, the best first; x of a flange is the way of the approach."""
    files = '--depth', 'a [left]_depth.png', '--camera', 'a [left]_camera.yaml'
    wanted = '--gripper', 'tool_frame=flange', '--gripper', 'opening=0.3', '--json'
    assert main(['ask', 'a [left].png', name_of(views[0]), *files, *wanted]) == 0
    (point,) = json.loads(capsys.readouterr().out)['points']
    best = point['object']['grasps'][0]
    assert best['reason'] == '' and point['object']['graspable']
    back = np.subtract(best['position'], best['pregrasp'])
    x, y, z, w = best['quaternion']
    forward = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    np.testing.assert_allclose(forward, back / np.linalg.norm(back), atol=1e-6)


def test_what_goes_into_a_pipe_is_one_line_each(views):
    """A label as long as nobody's, and a reason: grep and cut find both on the row of the point."""
    query = f'{name_of(views[0])} {"[so] " * 20}here'
    result = process('a [left].png', query, '--depth', 'a [left]_depth.png', text=True)
    assert result.returncode == 0, result.stderr
    (row,) = [line for line in result.stdout.splitlines() if line.startswith(' 1')]
    assert '[so] ' * 18 in row and '--camera gives one' in row
    assert len(result.stderr.splitlines()) == 1 and LOADED in result.stderr


def test_all_pictures_of_a_folder_are_asked_with_what_belongs_to_them(views, capsys):
    assert main(['ask', '.', name_of(views[0]), '--json']) == 0
    (left, right), said = lines_of(capsys)
    assert said.count(LOADED) == 1
    assert (left['picture'], right['picture']) == ('a [left].png', 'b.png')
    assert left['schema_version'] == right['schema_version'] == 1
    (point,) = left['points']
    row, column = int(point['v']), int(point['u'])
    assert point['position'][2] == pytest.approx(views[0].picture.depth[row, column], abs=0.02)
    assert all(point['position'] == [None] * 3 for point in right['points'])
    # The unit of a folder's depth is as much a guess as that of --depth.
    assert any('--depth-unit' in sentence for sentence in left['assumed'])
    assert main(['ask', '.', 'the mug', '--at', '1', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['picture'] == 'b.png'


def test_what_cannot_be_read_among_several_is_told_and_the_rest_is_asked(tmp_path, views, capsys):
    for name in ('1.png', '3.png'):
        shutil.copy('b.png', tmp_path / name)
    (tmp_path / '2.png').write_text('no picture')
    assert main(['ask', f'{tmp_path}/[0-9].png', name_of(views[1]), '--json']) == 2
    answers, said = lines_of(capsys)
    assert [one['picture'] for one in answers] == [str(tmp_path / f'{n}.png') for n in (1, 2, 3)]
    assert 'not an image' in answers[1]['error'] and '2.png is not an image' in said
    assert len(answers[0]['points']) == len(answers[2]['points']) == 1


def test_a_picture_comes_through_stdin(views):
    with open('b.png', 'rb') as stream:
        result = process('-', name_of(views[1]), '--json', stdin=stream)
    report = json.loads(result.stdout)
    assert report['picture'] == '-' and report['count'] == 1
    result = process('-', 'the mug', input=b'no picture')
    assert result.returncode == 2 and b'stdin is not an image' in result.stderr


class Served(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(folder):
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Served, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_picture_comes_from_an_address(server, views, capsys):
    assert main(['ask', f'{server}/b.png', name_of(views[1]), '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['picture'] == f'{server}/b.png' and report['count'] == 1
    assert main(['ask', f'{server}/c.png', 'the mug']) == 2
    output = capsys.readouterr()
    assert f'{server}/c.png cannot be had: 404' in output.err and LOADED not in output.err


def test_every_second_of_a_video_is_asked_about(tmp_path, views, capsys):
    path = tmp_path / 'table.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 8, (320, 240))
    for view in (views[0], views[1]):
        small = cv2.resize(view.picture.color[..., ::-1], (320, 240))
        for _ in range(10):
            writer.write(small)
    writer.release()
    assert main(['ask', str(path), 'the mug', '--every', '1s', '--json']) == 0
    answers, _ = lines_of(capsys)
    assert [one['picture'] for one in answers] == [f'{path} at {s} s' for s in (0, 1, 2)]
    assert [one['source'].split()[-1] for one in answers] == ['0', '8', '16']
    assert main(['ask', str(path), 'the mug', '--every', '500ms', '--at', '1.6', '--json']) == 0
    assert [one['picture'].split()[-2] for one in lines_of(capsys)[0]] == ['1.6', '2.1']


def test_a_webcam_is_asked_every_so_often_until_one_stops_it(views, monkeypatch, capsys):
    """A stand-in for the device alone: here is none. It is interrupted at its third picture."""

    class Device:
        opened = taken = 0

        def __init__(self, number):
            Device.opened += 1

        def isOpened(self):
            return True

        def read(self):
            return True, views[1].picture.color[..., ::-1]

        def release(self):
            pass

    def sleep(seconds):
        Device.taken += 1
        if Device.taken == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(cv2, 'VideoCapture', Device)
    clock = SimpleNamespace(monotonic=time.monotonic, time_ns=time.time_ns, sleep=sleep)
    monkeypatch.setattr('molmo_ros.commands.sources.time', clock)
    assert main(['ask', 'webcam:3', name_of(views[1]), '--every', '1s', '--json']) == 130
    answers, _ = lines_of(capsys)
    assert [one['picture'] for one in answers] == ['webcam:3'] * 2
    assert [one['count'] for one in answers] == [1, 1]
    assert Device.opened == 1


def test_questions_come_from_a_file_one_a_line(tmp_path, views, capsys):
    path = tmp_path / 'questions.txt'
    queries = [name_of(views[1]), 'the left of [them]']
    path.write_text(f'{queries[0]}\n\n  {queries[1]}\n')
    assert main(['ask', 'b.png', 'a [left].png', '--questions', str(path)]) == 0
    printed = capsys.readouterr().out
    for name in ('b.png', 'a [left].png'):
        assert f'{name}: {queries[0]}' in printed and queries[1] in printed
    for content, complaint in (('\n \n', 'has no question'), ('\0\n', 'query is empty')):
        path.write_text(content)
        assert main(['ask', 'b.png', '--questions', str(path)]) == 2
        assert complaint in capsys.readouterr().err
    assert main(['ask', 'b.png', '--questions', 'nowhere']) == 2
    assert 'nowhere cannot be read' in capsys.readouterr().err


def test_questions_are_asked_for_on_a_terminal(views):
    """Ctrl-D ends it; the checkpoint is loaded once."""
    ours, theirs = pty.openpty()
    command = [sys.executable, '-m', 'molmo_ros.cli', 'ask', 'b.png']
    asked = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    os.write(ours, f'{name_of(views[1])}\nthe violin\n\x04'.encode())
    printed, said = asked.communicate(timeout=120)
    os.close(ours)
    assert asked.returncode == 0, said
    assert printed.count('question (Ctrl-D ends)') == 3
    assert 'count 1' in printed and 'b.png: the violin' in printed
    assert said.count(LOADED) == 1


@pytest.mark.parametrize(
    'words, complaint',
    [
        (['b.png'], 'there is no question'),
        (['b.png', 'a [left].png'], 'there is no question'),
        (['b.png', 'the', 'red', 'mug'], 'molmo-ros ask b.png "the red mug"'),
        (['b.png', 'how', 'b.png', 'many', 'are', 'there?'], 'b.png "how b.png many are there?"'),
        (['b.png', 'of?', 'mine', '--json'], 'molmo-ros ask b.png "of? mine"'),
        (['c.png', 'b.png', 'the mug'], 'c.png does not exist'),
        (['*.bmp', 'the mug'], 'there is no file *.bmp'),
        (['b.png', 'the mug', '--every', '2s'], '--every is of cameras and recordings'),
        (['b.png', 'a [left].png', 'mug', '--depth', 'b.png'], '--depth is of one picture'),
        (['b.png', 'the mug', '--out', 'nowhere/x.png'], 'there is no folder'),
        (['b.png', 'the mug', '--out', 'b.png/x.png'], 'there is no folder'),
        (['b.png', 'the mug', '--out', 'x.what'], 'end it in .png'),
        (['.', 'the mug', '--out', 'x.png'], 'give a folder'),
        (['.', 'the mug', '--out', 'b.png/x'], 'cannot be made'),
        (['b.png', 'the mug', '--out', './b.png'], 'written over'),
        (['.', 'the mug', '--out', '../{here}'], 'written over'),
        (['b.png', 'the mug', '--ply', 'x.ply'], 'neither depth nor a calibration'),
        (['b.png', 'the mug', '--rrd', 'nowhere/x.rrd'], 'there is no folder'),
        (['b.png', '-', '--questions', '-'], 'stdin cannot bring both'),
        (['b.png', 'the mug', '--gripper', 'opening=80'], 'not metres from 0.001 to 1'),
        (['b.png', 'the mug', '--gripper', 'palm=0.2 0.1'], 'the sides x y z of a box'),
        (['b.png', 'the mug', '--gripper', 'tool_frame=up'], 'not one of x_closes'),
        (['b.png', 'the mug', '--gripper', 'fingers=2'], 'give NAME=VALUE with a NAME of opening'),
    ],
)
def test_a_mistake_is_told_before_the_model_is_loaded(
    words, complaint, folder, monkeypatch, capsys
):
    monkeypatch.setattr('sys.stdin', io.StringIO())
    assert main(['ask', *(word.format(here=folder.name) for word in words)]) == 2
    output = capsys.readouterr()
    assert complaint in output.err and LOADED not in output.err and output.out == ''


@pytest.mark.parametrize('size, complaint', [((7, 300), 'at least 16'), ((8050, 8000), 'at most')])
def test_a_picture_of_no_fit_size_is_told_before_the_model_is_loaded(
    size, complaint, tmp_path, capsys
):
    cv2.imwrite(str(tmp_path / 'x.png'), np.zeros(size, np.uint8))
    assert main(['ask', str(tmp_path / 'x.png'), 'the mug']) == 2
    output = capsys.readouterr()
    assert complaint in output.err and LOADED not in output.err


def test_pictures_of_several_answers_go_into_a_folder(tmp_path, capsys):
    out = tmp_path / 'new' / 'answers'
    shutil.copy('b.png', tmp_path / 'b.png')
    asked = ['ask', 'b.png', str(tmp_path / 'b.png'), 'the mug', '--out', str(out), '--json']
    assert main(asked) == 0
    written = [one['files']['picture'] for one in lines_of(capsys)[0]]
    assert written == [str(out / 'b.png'), str(out / 'b_2.png')]
    assert all(cv2.imread(path).shape == (480, 640, 3) for path in written)


def test_the_cloud_of_a_file_holds_the_scene_and_the_points(tmp_path, views, capsys):
    path = tmp_path / 'x.ply'
    files = '--depth', 'a [left]_depth.png', '--camera', 'a [left]_camera.yaml'
    asked = ['ask', 'a [left].png', name_of(views[0]), *files, '--json', '--ply', str(path)]
    assert main(asked) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['files'] == {'cloud': str(path)}
    header, _, data = path.read_bytes().partition(b'end_header\n')
    vertex = np.dtype([('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    vertices = np.frombuffer(data, vertex)
    assert f'element vertex {len(vertices)}'.encode() in header.splitlines()
    pink = (vertices['rgb'] == (255, 40, 130)).all(1)
    (point,) = report['points']
    assert vertices['xyz'][pink].mean(0) == pytest.approx(point['position'], abs=0.002)
    # Each of the others is seen where its colour is in the picture.
    seen = vertices[~pink][::997]
    column, row = np.rint(views[0].picture.camera.project(seen['xyz'])).astype(int).T
    assert len(seen) > 100
    assert (views[0].picture.color[row, column] == seen['rgb']).all(1).mean() > 0.95


def test_the_recording_for_rerun_has_a_step_for_each_answer(tmp_path, views, capsys):
    path = tmp_path / 'x.rrd'
    assert main(['ask', '.', name_of(views[0]), '--json', '--rrd', str(path)]) == 0
    (left, _), _ = lines_of(capsys)
    rows, positions = Counter(), []
    for chunk in RrdReader(path).stream():
        rows[chunk.entity_path] += chunk.num_rows
        if chunk.entity_path == '/points':
            batch = chunk.to_record_batch()
            (name,) = [name for name in batch.schema.names if name.endswith('positions')]
            positions += batch.column(name).to_pylist()
    assert rows['/question'] == rows['/points'] == rows['/camera/image/points'] == 2
    assert positions == [[pytest.approx(left['points'][0]['position'], abs=1e-4)], []]


def test_the_picture_is_opened_by_the_desktop(tmp_path, monkeypatch, capsys):
    """A stand-in for the viewer, which writes down what it was given."""
    viewer, shown = tmp_path / 'xdg-open', tmp_path / 'shown'
    viewer.write_text(f'#!/bin/sh\necho "$1" > {shown}.part && mv {shown}.part {shown}\n')
    viewer.chmod(viewer.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    monkeypatch.delenv('DISPLAY', raising=False)
    assert main(['ask', 'b.png', 'the mug', '--open']) == 2
    output = capsys.readouterr()
    assert 'no display' in output.err and LOADED not in output.err
    monkeypatch.setenv('DISPLAY', ':7')
    assert main(['ask', 'b.png', 'the mug', '--open', '--out', f'{tmp_path}/b.png']) == 0
    for _ in range(600):
        if shown.exists():
            break
        time.sleep(0.1)
    assert shown.read_text() == f'{tmp_path}/b.png\n'
