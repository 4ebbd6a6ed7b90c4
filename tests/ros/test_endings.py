# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that are told to end do, whatever they are at: cleanly, and without a traceback."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient

SCRIPTED = str(Path(__file__).parent / 'scripted_node.py')
BOTH = pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
# Far more than an end takes; what never ends would take longer.
LONG_S = 30


def start(*command):
    """A process that hears SIGINT, even if this one was started in the background of a script."""
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def has_mapped(process, library):
    try:
        return library in Path(f'/proc/{process.pid}/maps').read_text()
    except OSError:
        return False


def wait_until(condition, process):
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.001)


def ended(process, number, status=0):
    """Whether the signal ends it with the status and no word of an exception."""
    process.send_signal(number)
    try:
        _, told = process.communicate(timeout=LONG_S)
    finally:
        process.kill()
    assert 'Traceback' not in told and 'Exception' not in told, told
    assert process.returncode == status, told


# A library that is mapped when it is in the middle of its imports.
IMPORTING = [
    ('molmo_ros.ros.point_query_node', '_multiarray_umath'),
    ('molmo_ros.ros.point_query_node', '_rclpy_pybind11'),
    ('molmo_ros.tabletop.camera_node', '_rclpy_pybind11'),
    ('molmo_ros.ros.realsense_camera', '_rclpy_pybind11'),
]


@BOTH
@pytest.mark.parametrize(('module', 'library'), IMPORTING)
def test_a_node_that_imports(module, library, number):
    process = start('-m', module)
    wait_until(lambda: has_mapped(process, library), process)
    ended(process, number)


@pytest.mark.parametrize('library', ['_multiarray_umath', 'cv2.abi3', 'libtorch_cpu'])
def test_a_command_that_imports(library, tmp_path):
    picture = tmp_path / 'picture.ppm'
    picture.write_bytes(b'P6 64 48 255\n' + bytes(64 * 48 * 3))
    process = start('-m', 'molmo_ros.cli', 'ask', str(picture), 'the lid')
    wait_until(lambda: has_mapped(process, library), process)
    ended(process, signal.SIGINT, 130)


@BOTH
def test_a_node_that_loads(number):
    """Its loader never looks up."""
    process = start(SCRIPTED, '--after', '/no/such/file', '--ros-args', '-r', '__ns:=/loads')
    wait_until(lambda: 'reading the weights: 40%' in process.stderr.readline(), process)
    ended(process, number)


@BOTH
def test_a_node_that_answers_in_one_long_pass_answers_and_ends(number, wall_camera):
    process = start(SCRIPTED, '--ros-args', '-r', '__ns:=/busy')
    with wall_camera('busy', ['image']), PointQueryClient('busy') as client:
        assert client.wait_until_ready(120)
        wait_until(lambda: client.ask('at 80 60').status is Status.SUCCESS, process)
        stages = []
        asked = client.start('stuck 600', on_feedback=lambda stage, points: stages.append(stage))
        wait_until(lambda: 'engine' in stages, process)
        ended(process, number)
        assert asked.result(LONG_S).status is Status.CANCELED


@BOTH
def test_a_node_that_waits_for_questions(number):
    process = start(SCRIPTED, '--ros-args', '-r', '__ns:=/idle')
    with PointQueryClient('idle') as client:
        assert client.wait_until_ready(120)
        ended(process, number)


@pytest.fixture
def begin():
    """`start`, of what is killed when the test is over."""
    with ExitStack() as ends:

        def started(*command):
            process = start(*command)
            ends.callback(process.kill)
            return process

        yield started


def test_a_node_that_takes_the_place_of_a_killed_one_answers_whatever_that_was_at(
    wall_camera, begin
):
    def answers():
        # One who comes anew knows nobody who is dead.
        with PointQueryClient('killed') as newcomer:
            assert newcomer.wait_until_ready(60)
            return newcomer.ask('at 80 60').status is Status.SUCCESS

    words = '--ros-args', '-r', '__ns:=/killed'
    with wall_camera('killed', ['image']), PointQueryClient('killed') as client:
        importing = begin(SCRIPTED, *words)
        wait_until(lambda: has_mapped(importing, '_rclpy_pybind11'), importing)
        importing.kill()

        loading = begin(SCRIPTED, '--after', '/no/such/file', *words)
        wait_until(lambda: 'reading the weights: 40%' in loading.stderr.readline(), loading)
        loading.kill()

        waiting = begin(SCRIPTED, *words)
        wait_until(answers, waiting)
        waiting.kill()

        # Asked while the dead one alone is known: whoever comes hears of it, ready or not.
        with ThreadPoolExecutor() as aside:
            asked = aside.submit(client.ask, 'at 80 60')
            answering = begin(SCRIPTED, *words)
            assert asked.result(60).status in (Status.SUCCESS, Status.NOT_READY, Status.NO_FRAME)
        wait_until(answers, answering)
        with PointQueryClient('killed') as other:
            asked = other.start('stuck 600')
            refused = Status.BUSY, Status.TIMEOUT
            wait_until(lambda: other.ask('at 80 60', timeout=0.3).status in refused, answering)
            answering.kill()
            with pytest.raises(TimeoutError):
                asked.result(1.0)

        last = begin(SCRIPTED, *words)
        wait_until(answers, last)
        ended(last, signal.SIGINT)
