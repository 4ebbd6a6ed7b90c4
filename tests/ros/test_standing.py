# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Standing questions: followed at the camera's rate, between others' questions, and let go of."""

import subprocess
import sys
import threading
from contextlib import ExitStack
from textwrap import dedent

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Duration
from molmo_ros.msg import GroundedPoint
from molmo_ros.srv import Watch
from rclpy.context import Context
from visualization_msgs.msg import MarkerArray

from molmo_ros.ros.answering import Refused, Request, Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.client_watch import WatchRefused
from molmo_ros.ros.standing import StandingBook
from molmo_ros.spatial import LiftStatus

from .conftest import OPTICAL, Caller


class Heard:
    """Collects what is told of a standing question."""

    def __init__(self):
        self.all = []
        self._lock = threading.Lock()

    def __call__(self, followed):
        with self._lock:
            self.all.append(followed)

    @property
    def seen(self):
        with self._lock:
            return [one for one in self.all if one.points]

    def wait_for(self, number):
        Caller.wait_for(lambda: len(self.seen) >= number)
        return self.seen


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture(scope='module')
def watched(node, wall_camera):
    """A client of a node of its own that allows two standing questions, and sees the wall."""
    namespace = ['-r', '__ns:=/watched', '-p', 'max_standing:=2']
    with (
        node(*namespace),
        wall_camera(namespace='watched') as camera,
        PointQueryClient('watched') as client,
    ):
        client.camera = camera
        assert client.wait_until_ready(120)
        Caller.wait_for(lambda: client.ask('at 80 60').points)
        yield client


def test_points_come_with_every_image_and_keep_their_ids(watched, heard):
    with watched.watch('at 70 50 at 100 65', heard, period=0.4):
        heard.wait_for(25)
        Caller.wait_for(lambda: len({one.answered_ns for one in heard.seen}) > 1)
    seen = heard.seen
    stamps = [one.stamp_ns for one in seen]
    assert stamps == sorted(set(stamps)) and set(stamps) <= watched.camera.stamps
    ids = {tuple(point.id for point in one.points) for one in seen}
    assert len(ids) == 1 and len(set(*ids)) == 2 and 0 not in ids.pop()
    assert all(one.status is Status.SUCCESS for one in seen)
    assert all(one.answered_ns in watched.camera.stamps for one in seen)
    answers = {one.answered_ns for one in seen}
    assert len(answers) < len(stamps), 'it was told only when answered'


def test_what_was_answered_is_told_from_what_was_carried(watched, heard):
    with watched.watch('at 90 40', heard, period=0.5):
        # Whoever begins to listen may miss the first ones.
        Caller.wait_for(lambda: [one.points[0].answered for one in heard.seen].count(True) > 1)
    seen = heard.seen
    marks = [one.points[0].answered for one in seen]
    assert False in marks
    drifts = [one.points[0].drift for one in seen]
    pairs = zip(drifts[:-1], drifts[1:], marks[1:], strict=True)
    assert all(later > earlier for earlier, later, answered in pairs if not answered)
    assert all(np.hypot(*_off(one.points[0], (90, 40))) < 1 for one in seen)


def _off(followed, pixel):
    return followed.point.image.u - pixel[0], followed.point.image.v - pixel[1]


def test_points_are_lifted_in_the_frame_asked_for(watched, heard):
    # As its child: another parent would take the camera from those that other tests know.
    watched.camera.stand(OPTICAL, (-0.5, -1.0, 2.0), (1.0, 0.0, 0.0, 0.0), 'ceiling')
    with watched.watch('at 80 60', heard, target_frame='ceiling'):
        Caller.wait_for(lambda: any(_in_space(one) for one in heard.seen))
    one = next(one for one in heard.seen if _in_space(one))
    assert one.frame_id == 'ceiling' and len(one.waypoints.poses) == 1
    # The wall is 1.25 m before the camera, which looks down from the ceiling's origin.
    assert one.points[0].point.surface.position == pytest.approx([0.5, -1.0, 0.75], abs=0.02)


def _in_space(followed):
    return followed.points[0].point.surface.status is LiftStatus.OK


def test_two_stand_at_once_and_a_third_is_told_what_to_do(watched, heard):
    other = Heard()
    with watched.watch('at 30 30', heard), watched.watch('at 120 90 at 60 90', other):
        assert len(heard.wait_for(5)[-1].points) == 1
        assert len(other.wait_for(5)[-1].points) == 2
        with pytest.raises(WatchRefused, match='max_standing') as refused:
            watched.watch('at 80 60')
        assert refused.value.status is Status.BUSY
        ids = {point.id for one in (*heard.seen, *other.seen) for point in one.points}
        assert len(ids) == 3
    with watched.watch('at 80 60', heard):
        heard.wait_for(10)


def test_a_question_in_between_is_answered(watched, heard):
    with watched.watch('at 30 30', heard), watched.watch('slow 3'):
        heard.wait_for(3)
        answered = watched.ask('at 110 30', timeout=30)
        assert answered.status is Status.SUCCESS and answered.points[0].image.u == 110


def test_a_failing_model_is_told_and_points_are_none(watched, heard):
    with watched.watch('fail', heard):
        Caller.wait_for(lambda: any(one.status is Status.ENGINE_FAILED for one in heard.all))
    assert 'out of memory, say' in heard.all[-1].message
    assert not heard.seen


def test_without_a_camera_it_is_told_why(client_of, heard):
    with client_of('lonely').watch('at 80 60', heard):
        Caller.wait_for(lambda: heard.all)
    assert {one.status for one in heard.all} == {Status.NO_FRAME}
    assert 'nobody publishes /lonely/image' in heard.all[0].message
    assert heard.all[0].stamp_ns == 0 and not heard.all[0].points


def test_nothing_found_is_told(watched, heard):
    with watched.watch('absent', heard):
        Caller.wait_for(lambda: any(one.status is Status.NO_POINTS for one in heard.all))


def test_a_client_that_is_killed_makes_room(watched, heard):
    script = dedent("""
        import time
        from molmo_ros.ros.client import PointQueryClient
        client = PointQueryClient('watched', node_name='doomed')
        client.watch('at 20 20', lease=1.0)
        client.watch('at 40 20', lease=1.0)
        print('standing', flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen(
        [sys.executable, '-c', script], stdout=subprocess.PIPE, text=True
    ) as doomed:
        assert doomed.stdout.readline() == 'standing\n'
        with pytest.raises(WatchRefused):
            watched.watch('at 80 60')
        doomed.kill()
    with ExitStack() as stack:
        Caller.wait_for(lambda: _stands(watched, stack, heard))
        heard.wait_for(2)


def _stands(client, stack, heard):
    try:
        stack.enter_context(client.watch('at 80 60', heard))
    except WatchRefused:
        return False
    return True


@pytest.fixture(scope='module')
def watch_caller(watched):
    caller = Caller('watched', Watch, 'point_query/watch')
    yield caller
    caller.close()


@pytest.mark.parametrize(
    ('request_', 'told'),
    [
        (Watch.Request(query='  '), 'query is empty'),
        (Watch.Request(query='at 1 1', mode=9), 'mode 9 is not one of'),
        (Watch.Request(query='at 1 1', period=Duration(sec=-2)), 'period is -2 s'),
        (Watch.Request(query='at 1 1', lease=Duration(sec=200_000)), 'lease is 200000 s'),
        (Watch.Request(query='at 1 1', id='x' * 300), 'id has more than'),
        (Watch.Request(id='nobody', stop=True), "no standing question has the id 'nobody'"),
    ],
)
def test_what_cannot_stand_is_refused_with_a_reason(watch_caller, request_, told):
    response = watch_caller.call(request_)
    assert response.status == Status.INVALID_REQUEST and told in response.message


def test_it_can_be_set_from_the_command_line_without_an_id(watch_caller):
    response = watch_caller.call(Watch.Request(query='at 10 10'))
    assert response.status == Status.SUCCESS and response.id and response.lease.sec == 10
    assert response.topic == '/watched/molmo_point_query/tracked'
    assert watch_caller.call(Watch.Request(id=response.id, stop=True)).status == Status.SUCCESS


def test_markers_follow(watched, heard):
    context = Context()
    rclpy.init(context=context)
    shown = []
    caller = Caller('watched')
    caller.node.create_subscription(
        MarkerArray, '/watched/molmo_point_query/markers', shown.append, 10
    )
    other = Heard()
    with watched.watch('at 50 50', heard), watched.watch('at 90 90', other):
        Caller.wait_for(lambda: any(_spheres(one) == 2 for one in shown))
    caller.close()
    assert all(marker.header.frame_id == OPTICAL for marker in shown[-1].markers)


def _spheres(array):
    return len({marker.id for marker in array.markers if marker.ns == 'points'})


def test_a_lease_ends_and_a_renewal_keeps_it():
    now = [100.0]
    book = StandingBook(1, clock=lambda: now[0])
    book.set('a', Request('the cup'), 0.0, 5.0)
    now[0] = 104.0
    book.set('a', Request('the cup'), 0.0, 5.0)
    now[0] = 108.5
    with pytest.raises(Refused, match=r'0\.5 s at the earliest') as full:
        book.set('b', Request('the fork'), 0.0, 5.0)
    assert full.value.status is Status.BUSY
    assert [one.id for one in book.living()] == ['a']
    now[0] = 109.5
    assert book.living() == ()
    assert book.set('b', Request('the fork'), 0.0, 5.0).until == 114.5
    book.close()
    with pytest.raises(Refused, match='shutting down'):
        book.set('b', Request('the fork'), 0.0, 5.0)


def test_an_answer_to_a_single_question_has_no_track(caller, request_about):
    point = caller.call(request_about('at 80 60')).points[0]
    assert point.track_id == 0 and point.source == GroundedPoint.ANSWERED
