# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One node with several cameras: each with topics, frames and a service of its own, one model."""

import threading
import time

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter

from molmo_ros.engine import Answer
from molmo_ros.pointing import ImagePoint
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.point_query_node import PointQueryNode

from .conftest import Caller, spinning

PATIENCE = 60.0


class Middle:
    """Points at the middle, and counts how often it was loaded; `hold` makes it wait."""

    def __init__(self):
        self.loaded, self.hold, self.asked = 0, threading.Event(), threading.Event()
        self.hold.set()

    def load(self, progress):
        self.loaded += 1
        return self

    def answer(self, image, question, should_stop):
        self.asked.set()
        assert self.hold.wait(PATIENCE)
        height, width = image.shape[:2]
        return Answer('', (ImagePoint(width / 2, height / 2, question.query),), None, False)

    def close(self):
        pass


def running_node(engine, cameras, *words, **parameters):
    given = {'cameras': cameras, **parameters}
    return spinning(
        lambda context: PointQueryNode(
            engine.load,
            context=context,
            cli_args=['--ros-args', *words],
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        )
    )


def answer(client):
    """Once its camera is heard."""
    end = time.monotonic() + PATIENCE
    while (answered := client.ask('mug')).status is Status.NO_FRAME:
        assert time.monotonic() < end, answered.message
    assert answered.status is Status.SUCCESS, answered.message
    return answered


@pytest.fixture(scope='module')
def engine():
    return Middle()


@pytest.fixture(scope='module')
def pair(engine):
    """A node in a namespace, with two cameras, of which one has other topics and a frame's name."""
    words = ['-r', '__ns:=/duo', '-r', 'right/image:=/elsewhere/image']
    others = {'right.optical_frame': 'right_eye', 'max_waiting': 1}
    with running_node(engine, ['left', 'right'], *words, **others) as node:
        yield node


def test_each_camera_answers_under_its_name_with_one_model(pair, engine, wall_camera, frame):
    with (
        wall_camera('duo/left'),
        wall_camera('elsewhere', streams=('image',)),
        PointQueryClient('duo/left') as left,
        PointQueryClient('duo/right') as right,
        PointQueryClient('duo') as own,
    ):
        assert all(client.wait_until_ready(PATIENCE) for client in (left, right, own))
        seen = answer(left)
        assert seen.points[0].surface.position is not None
        other = answer(right)
        assert other.frame_id == 'right_eye'
        assert other.points[0].surface.status.name == 'NO_CAMERA_INFO'
        # The node itself goes on as it is: about pictures that are brought, for one.
        assert own.ask('mug', frame=frame).status is Status.SUCCESS
        assert engine.loaded == 1


def test_a_camera_that_is_deactivated_says_how_to_have_it_answer_and_the_other_goes_on(pair, frame):
    """Its questions ended as CANCELED, though nobody had cancelled them."""
    manager = Caller('duo/left', ChangeState, 'molmo_point_query/change_state')
    with PointQueryClient('duo/left') as left, PointQueryClient('duo/right') as right:
        assert left.wait_until_ready(PATIENCE)
        for transition in Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE:
            request = ChangeState.Request(transition=Transition(id=transition))
            assert manager.call(request).success
            told = left.ask('mug', frame=frame)
            if transition == Transition.TRANSITION_DEACTIVATE:
                assert told.status is Status.NOT_READY
                assert 'lifecycle set /duo/left/molmo_point_query activate' in told.message
            else:
                assert told.status is Status.SUCCESS
            assert right.ask('mug', frame=frame).status is Status.SUCCESS
    manager.close()


def test_one_camera_s_questions_do_not_make_another_busy(pair, engine, frame):
    with PointQueryClient('duo/left') as left, PointQueryClient('duo/right') as right:
        assert left.wait_until_ready(PATIENCE) and right.wait_until_ready(PATIENCE)
        engine.asked.clear()
        engine.hold.clear()
        frames = [np.full_like(frame.color, shade) for shade in (10, 20, 30)]

        def ask(client, color):
            return client.start('mug', frame=type(frame)(color, None, None, 1, 'eye'))

        running = [ask(left, frames[0])]
        assert engine.asked.wait(PATIENCE)
        running.append(ask(left, frames[1]))
        while not pair.waiting:
            time.sleep(0.01)
        # `max_waiting` is 1: one more of the left camera has no room, one of the right camera has.
        refused = ask(left, frames[2]).result(PATIENCE)
        assert refused.status is Status.BUSY and 'max_waiting' in refused.message
        late = ask(right, frames[2])
        engine.hold.set()
        assert late.result(PATIENCE).status is Status.SUCCESS
        assert [one.result(PATIENCE).status for one in running] == [Status.SUCCESS] * 2


@pytest.mark.parametrize('names', ['left left', 'two/parts', '9', ' '.join('abcdefghi')])
def test_names_that_cannot_be_namespaces_are_refused(names, engine):
    with (
        pytest.raises(ValueError, match='cameras names'),
        running_node(engine, names, '-r', '__ns:=/nobody'),
    ):
        pass
