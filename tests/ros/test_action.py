# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The action, which goes by the same name as the service."""

import threading

import pytest

from molmo_ros.ros.answering import Status
from molmo_ros.spatial import LiftStatus


def test_the_action_tells_its_stages_and_ends_as_the_service_does(asking):
    told = []
    asked = asking.start('at 100 30 at 40 50', on_feedback=lambda *feedback: told.append(feedback))
    answered = asked.result(60)
    assert answered.status is Status.SUCCESS
    assert answered.points[0].image == asking.ask('at 100 30').points[0].image
    stages = [stage for stage, _ in told]
    assert stages[:2] == ['frame', 'transform'] and stages[-1] == 'lift'
    # First where they are in the image, then in space too.
    in_image, lifted = (points for stage, points in told if stage == 'lift')
    assert [point.image.u for point in in_image] == [point.image.u for point in lifted] == [100, 40]
    assert all('not lifted' in point.surface.reason for point in in_image)
    assert all(point.surface.status is LiftStatus.OK for point in lifted)


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
