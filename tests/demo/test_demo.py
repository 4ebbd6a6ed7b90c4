# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole: camera, node and asker in processes of their own, and the answers they end with."""

import re
import signal
import subprocess
import time
from pathlib import Path

import cv2
import pytest

from molmo_ros.tabletop.world import TABLES, make_scene, render


def children_of(pid):
    return [int(p) for p in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]


def is_running(pid):
    status = Path(f'/proc/{pid}/stat')
    return status.exists() and status.read_text().rpartition(')')[2].split()[0] != 'Z'


QUESTIONS = {'easy': 7, 'rich': 9}


def judged(result):
    """How many answers were right, and of how many."""
    return map(int, re.search(r'(\d+) of (\d+) answers are right', result.stdout).groups())


def test_most_answers_are_right(demonstration):
    _, result = demonstration
    assert result.returncode == 0, result.stdout + result.stderr
    right, of = judged(result)
    assert right > of / 2


def test_every_question_is_asked_and_judged_and_its_answer_can_be_seen(shown):
    table, folder, result = shown
    right, of = judged(result)
    assert of == QUESTIONS[table]
    assert result.returncode == (0 if right > of / 2 else 1), result.stdout + result.stderr
    output = folder / 'demo_output'
    pictures = sorted(output.glob('answer_*.png'))
    assert len(pictures) == of
    for path in [*pictures, output / 'answers.png']:
        assert cv2.imread(str(path)) is not None, path
    for seed in (5000, 5001, 5002):
        assert f'{seed}' in result.stdout
        color = cv2.imread(str(output / f'table_{seed}.png'))
        expected = render(make_scene(seed, TABLES[table]), 640, 480, smooth=True).color
        assert (color[..., ::-1] == expected).all()
        assert (output / f'table_{seed}_camera.yaml').is_file()


def test_asked_how_many_it_says_a_number(shown):
    table, _, result = shown
    counted = re.findall(r'how many .* (\d+) counted', result.stdout)
    assert len(counted) == (table == 'rich')


def test_own_words_are_asked_of_the_table_of_choice_and_judged_where_they_are_plain(
    demo_command, tmp_path
):
    words = ('the striped mug', 'the red mug', 'something [/] to hold')
    command = [*demo_command, '--table', 'rich', '--seed', '5000', '--questions', *words]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert words[2] in result.stdout and 'not judged' in result.stdout
    assert 'of 2 answers are right' in result.stdout


def test_every_stage_of_an_answer_is_timed(demonstration):
    _, result = demonstration
    for stage in ('frame', 'transform', 'preprocess', 'vision', 'prefill', 'decode', 'lift'):
        assert stage in result.stdout


def test_nothing_failed_behind_the_answers(demonstration):
    folder, _ = demonstration
    for name in ('point_query_node', 'tabletop_camera'):
        log = (folder / f'demo_output/{name}.log').read_text()
        assert 'Traceback' not in log and '[ERROR]' not in log, log


@pytest.mark.parametrize('ending', [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_it_leaves_no_process_behind(ending, demo_command, tmp_path):
    demo = subprocess.Popen(
        demo_command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while len(children := children_of(demo.pid)) < 2:
        assert demo.poll() is None and time.monotonic() < end, demo.communicate()
        time.sleep(0.02)
    demo.send_signal(ending)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 128 + ending
    assert 'Traceback' not in errors
    assert not [pid for pid in children if is_running(pid)]


def test_killed_it_takes_its_processes_along(demo_command, tmp_path):
    demo = subprocess.Popen(demo_command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    log = tmp_path / 'demo_output/point_query_node.log'
    while len(children := children_of(demo.pid)) < 2 or 'weights' not in log.read_text():
        assert demo.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    demo.kill()
    demo.wait()
    end = time.monotonic() + 60
    while any(is_running(pid) for pid in children):
        assert time.monotonic() < end, 'they go on'
        time.sleep(0.02)


def test_a_checkpoint_that_does_not_load_ends_it_with_the_reason(demo_command, tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    command = [*demo_command, '--checkpoint', '.', '--seed', '5000']
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert 'model_type' in result.stderr and 'Traceback' not in result.stderr
