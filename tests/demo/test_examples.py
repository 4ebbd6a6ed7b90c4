# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every page of examples/ does what it says, with the node, the camera and the checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from molmo_ros.ros.domain import free_domain
from molmo_ros.tabletop.demo.processes import NodeProcesses

EXAMPLES = Path(__file__).parents[2] / 'examples'
QUERY = 'the yellow banana'


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    """A node and the rendered camera in a corner of DDS of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        patch.setenv('ROS_DOMAIN_ID', str(free_domain()))
        with NodeProcesses(tmp_path_factory.mktemp('examples')) as nodes:
            nodes.start('camera', 'molmo_ros.tabletop.camera_node')
            # As in the demo: a busy machine may starve the camera.
            patient = ('-p', 'max_frame_age:=10.0', '-p', 'frame_wait:=10.0')
            nodes.start('node', 'molmo_ros.ros.point_query_node', '--ros-args', *patient)
            yield dict(os.environ)


@pytest.fixture
def run(environment, tmp_path):
    def run(name, *arguments):
        command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.fixture
def files(demonstration):
    """Picture, depth and calibration of a table with a purple banana, as the demo leaves them."""
    folder = demonstration[0] / 'demo_output'
    names = ('table_5000.png', 'table_5000_depth.png', 'table_5000_camera.yaml')
    return [folder / name for name in names]


def test_one_question_is_answered_in_metres(run):
    told = run('ask_once.py', QUERY, 'table')
    assert 'SUCCESS' in told and 'm in table' in told


def test_progress_is_told_and_a_question_can_be_taken_back(run):
    told = run('progress_and_cancel.py', QUERY)
    # What has not come with the answer is not told any more.
    assert 'frame: 0 points' in told and 'SUCCESS' in told
    assert told.splitlines()[-1] in ('CANCELED', 'SUCCESS')


def test_a_standing_question_is_followed(run):
    told = run('follow.py', QUERY, 'table', 6)
    # The rendered picture stands still: each is answered before the next one comes.
    assert 'answered' in told and 'in table' in told
    assert told.splitlines()[-1] == 'SUCCESS'


def test_a_picture_of_ones_own_is_answered_in_its_frame(run, files):
    told = run('own_picture.py', *files, 'the purple banana')
    assert 'OK' in told and 'm in camera_color_optical_frame' in told


def test_the_library_does_without_ros(run, files, tmp_path):
    told = run('without_ros.py', *files, 'the purple banana')
    assert 'OK' in told and 'confidence' in told
    assert (tmp_path / 'answer.png').is_file()


def test_every_example_is_run_here_and_listed():
    pages = {path.name for path in EXAMPLES.glob('*.py')}
    tests = Path(__file__).read_text()
    listed = (EXAMPLES / 'README.md').read_text()
    assert all(f"run('{page}'" in tests and f'({page})' in listed for page in pages)
