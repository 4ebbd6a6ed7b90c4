# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The action, which goes by the same name as the service."""

import threading

import pytest
from molmo_ros.action import PointQuery as PointQueryAction

from molmo_ros.ros.answering import Status
from molmo_ros.spatial import LiftStatus


@pytest.fixture
def feedback(asking, caller):
    """All that the node tells of its goals. A client drops what comes after a goal's result."""
    heard = []
    kind = PointQueryAction.Impl.FeedbackMessage
    topic = 'point_query/_action/feedback'
    subscription = caller.node.create_subscription(kind, topic, heard.append, 50)
    caller.wait_for(lambda: asking.start('at 80 60').result(60) and heard)  # they have met
    yield heard
    caller.node.destroy_subscription(subscription)


def test_the_action_tells_its_stages_and_ends_as_the_service_does(asking, caller, feedback):
    answered = asking.start('at 100 30 at 40 50').result(60)
    assert answered.status is Status.SUCCESS
    assert answered.points[0].image == asking.ask('at 100 30').points[0].image

    def told():
        """Of the goal with two points."""
        goals = {bytes(one.goal_id.uuid) for one in feedback if len(one.feedback.points) == 2}
        return [one.feedback for one in feedback if bytes(one.goal_id.uuid) in goals]

    def lifts():
        return [one.points for one in told() if one.stage == 'lift']

    caller.wait_for(lambda: len(lifts()) == 2)
    stages = [one.stage for one in told()]
    assert stages[:2] == ['frame', 'transform'] and stages[-1] == 'lift'
    # First where they are in the image, then in space too.
    in_image, lifted = lifts()
    assert [point.u for point in in_image] == [point.u for point in lifted] == [100, 40]
    assert all('not lifted' in point.reason for point in in_image)
    assert all(point.status_3d == LiftStatus.OK for point in lifted)


def test_a_client_is_told_the_stages_in_their_order(asking):
    told = []
    asked = asking.start('slow 0.5', on_feedback=lambda stage, points: told.append((stage, points)))
    assert asked.result(60).status is Status.NO_POINTS
    order = ['frame', 'transform', 'wait', 'engine']
    assert [stage for stage, _ in told[:4]] == order and not any(points for _, points in told)


def test_a_question_can_be_cancelled_and_the_next_is_answered(asking):
    running = threading.Event()
    asked = asking.start(
        'slow 30', on_feedback=lambda stage, _: running.set() if stage == 'engine' else None
    )
    assert running.wait(60)
    asked.cancel()
    assert asked.result(60).status is Status.CANCELED
    assert asking.ask('at 80 60').status is Status.SUCCESS


def test_a_question_can_be_cancelled_before_it_was_even_accepted(asking):
    asked = asking.start('slow 30')
    asked.cancel()
    assert asked.result(60).status is Status.CANCELED


def test_who_does_not_want_to_wait_any_longer_is_told(asking):
    asked = asking.start('slow 30')
    with pytest.raises(TimeoutError, match='still being answered'):
        asked.result(0)
    asked.cancel()
    assert asked.result(60).status is Status.CANCELED


def test_a_bad_goal_says_what_is_wrong(asking):
    answered = asking.start('').result(60)
    assert answered.status is Status.INVALID_REQUEST and 'query is empty' in answered.message
