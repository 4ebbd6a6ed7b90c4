# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 run molmo_ros ask`, against nodes in another process."""

import subprocess
import sys
import time
from functools import partial

import pytest

COMMAND = [sys.executable, '-m', 'molmo_ros.commands.ask_node']
run_ask = partial(subprocess.run, capture_output=True, text=True)


def ask(*words, namespace=''):
    remapped = ['--ros-args', '-r', f'__ns:=/{namespace}'] if namespace else []
    return run_ask([*COMMAND, *words, *remapped])


def test_points_are_printed_in_pixels_and_metres(asking):
    result = ask('at 31 22 at 120 90', '--target-frame', 'base')
    assert result.returncode == 0, result.stderr
    first, second = (line for line in result.stdout.splitlines() if 'thing at' in line)
    # Half a turn about x at (1, 2, 3): z of the camera is up in base, and 1.25 m below it.
    assert '31.0, 22.0' in first and '+1.750' in first and 'OK' in first
    assert '120.0, 90.0' in second and '0.50' in second
    assert 'positions are in base' in result.stdout


def test_no_more_points_than_asked_for(asking):
    result = ask('at 31 22 at 120 90', '--max-points', '1')
    assert result.stdout.count('thing at') == 1


def test_a_point_without_a_position_says_why(client_of, asking):
    result = ask('at 50 40', '--target-frame', 'nowhere', '--timeout', '20')
    assert result.returncode == 0
    assert 'NO_TRANSFORM' in result.stdout and '50.0, 40.0' in result.stdout


def test_what_is_not_there_is_told_by_words_and_status(asking):
    result = ask('absent')
    assert result.returncode == 1 and 'NO_POINTS' in result.stdout


@pytest.mark.parametrize('query, told', [('fail', 'ENGINE_FAILED'), ('', 'INVALID_REQUEST')])
def test_a_question_that_is_not_answered_is_trouble(query, told, asking):
    result = ask(query)
    assert result.returncode == 2 and told in result.stdout and 'Traceback' not in result.stderr


def test_words_of_a_model_are_no_markup(asking):
    result = ask('says it is [red] there', '--mode', 'ask')
    assert result.returncode == 0 and 'it is [red] there' in result.stdout


def test_the_node_of_a_namespace_is_asked_and_why_it_is_not_ready_told(client_of):
    client_of('broken')
    result = ask('at 5 5', namespace='broken')
    assert result.returncode == 2 and result.stdout == ''
    assert 'not ready: failed' in result.stderr and 'set the parameter checkpoint' in result.stderr


def test_it_waits_until_the_model_is_loaded(node, wall_camera, tmp_path):
    loaded = tmp_path / 'loaded'
    remapped = ['--ros-args', '-r', '__ns:=/late']
    with node(*remapped[1:], options=['--after', str(loaded)]), wall_camera('late'):
        process = subprocess.Popen(
            [*COMMAND, 'at 70 60', *remapped],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        first = process.stderr.readline()
        assert 'loading' in first and process.poll() is None
        loaded.touch()
        told, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert '70.0, 60.0' in told


def test_without_a_node_it_says_what_to_look_at():
    began = time.monotonic()
    result = ask('the mug', '--wait', '1', namespace='nobody/here')
    assert result.returncode == 2 and time.monotonic() > began + 1
    assert 'no node offers /nobody/here/point_query' in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize('words', [['--ros-args', '-r', '-r'], ['--ros-args', '--nonsense']])
def test_arguments_that_ros_cannot_read_are_told_in_a_sentence(words):
    result = run_ask([*COMMAND, 'the mug', '--wait', '1', *words])
    assert result.returncode == 2
    assert result.stderr.startswith('ask: ') and 'Traceback' not in result.stderr
