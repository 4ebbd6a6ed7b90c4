# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the examples tell a planner: an arm that is sent elsewhere breaks things."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molmo_ros.ros.client import AnsweredGrasp

PAGE = Path(__file__).parents[2] / 'examples' / 'planners' / 'messages.py'
TURN = Rotation.from_euler('xyz', (170, 12, 35), degrees=True)
WAY = AnsweredGrasp(
    'ABOVE', np.array([0.4, -0.1, 0.03]), TURN.as_quat(), np.array([0.38, -0.1, 0.13]),
    np.array([0.4, -0.1, 0.14]), 0.041, 0.07, 0.02, 0.6, '',
)  # fmt: skip


@pytest.fixture(scope='module')
def page():
    spec = importlib.util.spec_from_file_location('planner_messages', PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answered(*ways):
    point = SimpleNamespace(object=SimpleNamespace(grasps=ways))
    return SimpleNamespace(frame_id='panda_link0', points=(point,)), point


def xyz(position):
    return np.array([position.x, position.y, position.z])


def test_the_hand_is_sent_so_that_the_ends_of_its_fingers_are_at_the_grasp(page) -> None:
    """Who forgets how far the frame is behind them drives it into the table."""
    pick = page.pick_of(*answered(WAY))
    for message, ends in zip(
        (pick.pregrasp, pick.grasp, pick.retreat),
        (WAY.pregrasp, WAY.position, WAY.retreat),
        strict=True,
    ):
        assert message.header.frame_id == 'panda_link0'
        q = message.pose.orientation
        turn = Rotation.from_quat([q.x, q.y, q.z, q.w])
        np.testing.assert_allclose((turn * TURN.inv()).magnitude(), 0, atol=1e-9)
        reached = xyz(message.pose.position) + turn.apply([0, 0, 0.112])
        np.testing.assert_allclose(reached, ends, atol=1e-12)
    assert (pick.opening, pick.width) == (0.07, 0.041)


def test_a_refused_grasp_is_not_taken(page) -> None:
    """Its reason is why it must not be; the next that may be is."""
    refused = replace(WAY, reason='the palm would meet something')
    free = replace(WAY, width=0.02)
    assert page.pick_of(*answered(refused)) is None
    assert page.pick_of(*answered(refused, free)).width == 0.02


def test_a_box_of_the_planning_scene_is_around_the_thing(page) -> None:
    """Its sides with the margin twice, its pose as told; a finger of two goes half the way."""
    thing = SimpleNamespace(
        size=np.array([0.1, 0.05, 0.08]),
        centre=np.array([0.5, 0.2, 0.04]),
        quaternion=np.array([0.0, 0.0, np.sin(0.3), np.cos(0.3)]),
    )
    box, pose = page.box_of(thing, margin=0.01)
    assert box.type == box.BOX and list(box.dimensions) == pytest.approx([0.12, 0.07, 0.10])
    np.testing.assert_allclose(xyz(pose.position), thing.centre)
    assert pose.orientation.z == pytest.approx(np.sin(0.3))
    assert page.finger_joint(0.05) == pytest.approx(0.025) and page.finger_joint(-0.001) == 0.0


@pytest.mark.parametrize('lacks', ['mink', 'gymnasium_robotics'])
def test_the_arm_without_ros_says_what_to_install(tmp_path, lacks):
    """Not a traceback to who tries it first; stubs stand for what else it needs."""
    for name in {'mink', 'mujoco'} - {lacks}:
        (tmp_path / f'{name}.py').touch()
    hidden = (
        "import sys, runpy; sys.modules[{!r}] = None; runpy.run_path({!r}, run_name='__main__')"
    )
    page = str(PAGE.with_name('fetch_ik.py'))
    done = subprocess.run(
        [sys.executable, '-c', hidden.format(lacks, page)],
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{os.environ.get("PYTHONPATH", "")}'},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert done.stderr.startswith(f'{lacks} is missing') and 'pip install' in done.stderr
