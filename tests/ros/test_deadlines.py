# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question is answered once, by the time it gave, whatever it waits for; also at shutdown.

The waits are set to a minute, so that one that does not end fails the client's own patience.
"""

import signal
import threading

import pytest
from builtin_interfaces.msg import Duration
from molmo_ros.srv import PointQuery

from molmo_ros.engine import Answer
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundingSettings, Watch, ground
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.answering import Answering, AnswerSettings, Request, Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.engine_worker import EnginePhase, EngineWorker
from molmo_ros.ros.transforms import TransformTree
from molmo_ros.spatial import GraspSettings, LiftStatus

PATIENCE = 30  # far from the minute that a wait would take


@pytest.fixture
def patient_node(node):
    """A node that would wait a minute for frames and for transforms."""
    with node(
        *('-r', '__ns:=/patient', '-p', 'frame_wait:=60.0', '-p', 'transform_timeout:=60.0')
    ) as process:
        yield process


@pytest.fixture
def patient(patient_node):
    with PointQueryClient('patient') as client:
        assert client.wait_until_ready(120)
        yield client


def waiting_at(client, stage, **kwargs):
    """A question that has come to a stage."""
    there = threading.Event()
    asked = client.start(
        'at 80 60', on_feedback=lambda at, _: there.set() if at == stage else None, **kwargs
    )
    assert there.wait(PATIENCE)
    return asked


def test_a_question_ends_by_its_time_or_when_it_is_cancelled_wherever_it_waits(
    patient, wall_camera
):
    answered = patient.start('at 80 60', timeout=0.4).result(PATIENCE)
    assert answered.status is Status.NO_FRAME and 'nobody publishes' in answered.message
    asked = waiting_at(patient, 'frame')
    asked.cancel()
    assert asked.result(PATIENCE).status is Status.CANCELED
    with wall_camera('patient', ['image', 'camera_info']):
        late = wall_camera('patient', ['depth'])  # published, and nothing comes
        patient.wait_until_ready(PATIENCE)
        while (answered := patient.start('at 80 60', timeout=0.5).result(PATIENCE)).status in (
            Status.NO_FRAME,
            Status.SUCCESS,
        ):
            pass  # until both are discovered
        assert answered.status is Status.TIMEOUT and 'frame_wait' in answered.message
        asked = waiting_at(patient, 'frame')
        asked.cancel()
        assert asked.result(PATIENCE).status is Status.CANCELED
        late.close()
    with wall_camera('patient'):
        while (
            answered := patient.start('at 80 60', timeout=0.5, target_frame='moon').result(PATIENCE)
        ).stage_times.get('transform') is None:
            pass
        assert answered.status is Status.TIMEOUT and 'transform_timeout' in answered.message
        asked = waiting_at(patient, 'transform', target_frame='moon')
        asked.cancel()
        assert asked.result(PATIENCE).status is Status.CANCELED


def test_whoever_waits_for_a_frame_at_shutdown_is_answered_once(patient_node):
    answers = []
    with PointQueryClient('patient') as client:
        assert client.wait_until_ready(120)
        asked = [waiting_at(client, 'frame', timeout=60) for _ in range(3)]
        patient_node.send_signal(signal.SIGTERM)
        answers = [one.result(PATIENCE) for one in asked]
    assert [answer.status for answer in answers] == [Status.CANCELED] * 3


def test_more_questions_than_wait_at_shutdown_are_all_answered(node, caller, wall_camera):
    """Also those that the node has not yet looked at when it is told to end."""
    client = caller.node.create_client(PointQuery, '/crowded/point_query')
    with (
        node('-r', '__ns:=/crowded', '-p', 'max_waiting:=2') as process,
        PointQueryClient('crowded') as ready,
        wall_camera('crowded'),
    ):
        assert ready.wait_until_ready(120) and client.wait_for_service(60)
        told = []
        sent = [
            client.call_async(PointQuery.Request(query='slow 30', timeout=Duration(sec=60)))
            for _ in range(9)
        ]
        for future in sent:
            future.add_done_callback(lambda future: told.append(future.result().status))
        caller.wait_for(lambda: len(told) >= 6)  # BUSY, and three wait
        process.send_signal(signal.SIGTERM)
        caller.wait_for(lambda: all(future.done() for future in sent), PATIENCE)
    assert sorted(told) == [Status.BUSY] * 6 + [Status.CANCELED] * 3


class Everywhere:
    """Points at many places at once."""

    def answer(self, image, question, should_stop):
        points = tuple(ImagePoint(5.0 + u, 5.0 + v, 'it') for u in range(20) for v in range(20))
        return Answer('everywhere', points, None, False, 1, {})

    def close(self):
        pass


@pytest.fixture
def everywhere():
    worker = EngineWorker(lambda progress: Everywhere())
    while worker.state.phase is not EnginePhase.READY:
        pass
    yield Answering(worker, TransformTree(10.0), 2, pytest.fail)
    worker.close(5)


def a_wall(frame):
    return Capture(Frame(frame.color, frame.depth, frame.camera, frame.stamp, 'eye_optical'))


@pytest.mark.parametrize('stage', ['lift', 'object'])
def test_lifting_and_picking_end_when_nobody_wants_the_answer(everywhere, frame, stage):
    """What the model found in the image is told all the same."""
    stopped = threading.Event()
    settings = AnswerSettings(
        GroundingSettings(grasp=GraspSettings() if stage == 'object' else None)
    )
    result = everywhere.answer(
        Request('it'),
        lambda deadline: a_wall(frame),
        settings,
        should_stop=stopped.is_set,
        on_progress=lambda at, points: stopped.set() if at == stage and points else None,
    )
    assert result.status is Status.CANCELED
    assert len(result.points) == 400 and result.answer == 'everywhere'
    assert result.points[-1].image.u == 24


class Late(Watch):
    """Whose time is up."""

    def remaining(self):
        return 0.0


def test_points_that_there_was_no_time_to_lift_say_so(frame):
    points = Everywhere().answer(None, None, None).points
    found = ground(points, a_wall(frame), watch=Late())
    lifted = [point.surface.status for point in found.points].count(LiftStatus.OK)
    assert 0 < lifted < 400 and len(found.points) == 400
    assert 'the time was up' in found.points[-1].surface.reason
    assert f'{400 - lifted} of 400 without 3D' in ' '.join(found.notes)
