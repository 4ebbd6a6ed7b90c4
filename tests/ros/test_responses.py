# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question is not left without its answer because its client was not yet known."""

import time
import warnings

import pytest
import rclpy
from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.srv import PointQuery
from rcl_interfaces.msg import Log
from rclpy.action import ActionClient, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.responses import PatientActionServer, respond_patiently
from molmo_ros.ros.spinning import Spinner

GoalEvent = rclpy_implementation.GoalEvent
# A client of this asks, and hears no response: the node's are not kept for those who come later.
DEAF = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def lone_node():
    context = Context()
    rclpy.init(context=context)
    node = Node('lone', context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_a_response_that_was_dropped_is_sent_again(lone_node):
    service = lone_node.create_service(PointQuery, 'lone', lambda request, response: response)
    sent = []

    def send(response, header):
        sent.append((response, header))
        if len(sent) < 3:
            warnings.warn(
                'failed to send response (timeout): client will not receive response',
                RuntimeWarning,
                stacklevel=1,
            )

    service.send_response = send
    respond_patiently(lone_node)
    service.send_response('response', 'header')
    assert sent == [('response', 'header')] * 3
    service.send_response('next', 'header')
    assert len(sent) == 4


def test_a_goal_that_is_cancelled_as_it_begins_has_a_result(lone_node, monkeypatch):
    """Its client would wait for ever."""
    update, events = ServerGoalHandle._update_state, []

    def cancelled_before(goal, event):
        if event == GoalEvent.EXECUTE:
            update(goal, GoalEvent.CANCEL_GOAL)
        events.append(event)
        update(goal, event)

    def execute(goal):
        assert goal.is_cancel_requested
        goal.canceled()
        return PointQueryAction.Result(status=int(Status.CANCELED))

    monkeypatch.setattr(ServerGoalHandle, '_update_state', cancelled_before)
    server = PatientActionServer(
        lone_node,
        PointQueryAction,
        'hasty/point_query',
        execute,
        cancel_callback=lambda goal: CancelResponse.ACCEPT,
    )
    executor = SingleThreadedExecutor(context=lone_node.context)
    executor.add_node(lone_node)
    spinner = Spinner(executor)
    try:
        with PointQueryClient('hasty') as client:
            assert client.start('a cup').result(20).status is Status.CANCELED
        assert events == [GoalEvent.EXECUTE, GoalEvent.CANCELED]
    finally:
        spinner.close()
        server.destroy()


def test_a_client_that_cannot_hear_is_told_of_and_holds_up_nobody(asking, caller):
    told = []
    caller.node.create_subscription(Log, '/rosout', lambda log: told.append(log.msg), 100)
    deaf = caller.node.create_client(PointQuery, 'point_query', qos_profile=DEAF)
    deaf_too = ActionClient(
        caller.node, PointQueryAction, 'point_query', goal_service_qos_profile=DEAF
    )

    def asked_in_vain():
        return all(
            any(text.startswith(f'a client of {one} asked and cannot') for text in told)
            for one in ('the service /point_query', 'the action point_query')
        )

    def all_told():
        deaf.call_async(PointQuery.Request())
        deaf_too.send_goal_async(PointQueryAction.Goal())
        assert asking.ask('at 80 60').status is Status.SUCCESS
        time.sleep(0.5)
        return asked_in_vain()

    caller.wait_for(all_told)
