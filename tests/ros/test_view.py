# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page's camera over ROS: the node's own frame and answer, in one frame of the robot."""

import time

import numpy as np
import pytest

from molmo_ros.engine import Question
from molmo_ros.errors import UserError
from molmo_ros.viewing.robot import RobotFeed

# Of the wall's camera in 'base'; see the fixture `asking`.
T_BASE_OPTICAL = np.array([[1.0, 0, 0, 1], [0, -1, 0, 2], [0, 0, -1, 3], [0, 0, 0, 1]])


def eventually(take, seconds=60.0):
    end = time.monotonic() + seconds
    while True:
        try:
            return take()
        except UserError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.fixture
def feed(asking):
    feed = RobotFeed(frame='base')
    yield feed
    feed.close()


def test_what_the_node_answers_is_shown_where_the_camera_stands(feed, frame):
    eventually(lambda: feed.take(0.0, 'base'))
    view = eventually(lambda: with_pose(feed.take(0.0, 'base')))
    np.testing.assert_array_equal(view.capture.frame.color, frame.color)
    np.testing.assert_allclose(view.target.T_target_optical, T_BASE_OPTICAL, atol=1e-6)
    np.testing.assert_allclose(view.frames['base'], np.eye(4))
    shown = eventually(lambda: feed.ask(Question('at 80 60'), 'base', lambda: False))
    assert shown.status == 'SUCCESS' and shown.presence == pytest.approx(0.75)
    (point,) = shown.points
    assert point.surface.position[2] == pytest.approx(1.75, abs=0.005)
    # The waypoint goes down to the wall.
    assert point.gripper is not None and point.gripper.position[2] >= 1.74
    # What was seen at the answer's stamp, or nothing is said of it being that.
    assert shown.view.frame == 'base' and {'decode', 'lift'} <= shown.stages.keys()


def with_pose(view):
    if view.target.T_target_optical is None:
        raise UserError(view.target.why_not)
    return view


def test_a_question_to_the_node_can_be_stopped(feed):
    eventually(lambda: feed.take(0.0, 'base'))
    begun = time.monotonic()
    stopped = eventually(
        lambda: feed.ask(Question('slow 60'), 'base', lambda: time.monotonic() > begun + 0.5)
    )
    assert stopped.status == 'CANCELED'


def test_a_camera_and_a_node_that_are_not_there_are_told(asking):
    feed = RobotFeed('nowhere')
    try:
        with pytest.raises(UserError, match='/nowhere/image'):
            feed.take(0.0, '')
        with pytest.raises(UserError, match='/nowhere/point_query'):
            feed.ask(Question('at 1 1'), '', lambda: False)
    finally:
        feed.close()
