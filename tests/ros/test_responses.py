# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question is not left without its answer because its client was not yet known."""

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import rclpy
from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.srv import PointQuery
from rcl_interfaces.msg import Log
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.action.server import ServerGoalHandle
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.service import Service
from rclpy.task import Future

from molmo_ros.engine import Answer, Stopped
from molmo_ros.pointing import ImagePoint
from molmo_ros.ros import point_query_node
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.point_query_node import PointQueryNode
from molmo_ros.ros.responses import RCLError, respond_patiently
from molmo_ros.ros.spinning import Spinner

from .conftest import Caller

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


class Thinking:
    """Answers 'cup', and nothing else until it is stopped."""

    def answer(self, image, question, should_stop):
        if question.query == 'cup':
            return Answer('here', (ImagePoint(50.0, 40.0, 'cup'),), None, False)
        while not should_stop():
            time.sleep(0.01)
        raise Stopped

    def close(self):
        pass


class BusyExecutor(MultiThreadedExecutor):
    """As on a busy machine: what is left to it is begun some time later."""

    def create_task(self, callback, *arguments, **named):
        time.sleep(0.4)
        return super().create_task(callback, *arguments, **named)


@contextmanager
def running_node(namespace, executor_of=MultiThreadedExecutor):
    """A node in this process, a client of it, and what ends the node."""
    context = Context()
    rclpy.init(context=context)
    node = PointQueryNode(lambda on_progress: Thinking(), context=context, namespace=namespace)
    executor = executor_of(node.threads, context=context)
    executor.add_node(node)
    spinner = Spinner(executor)

    def end():
        node.close()
        spinner.close()
        node.destroy_node()
        rclpy.try_shutdown(context=context)

    with PointQueryClient(namespace) as client:
        assert client.wait_until_ready(60)
        yield node, client, end


def test_who_waits_when_a_node_is_closed_is_answered_before_it_is_gone(monkeypatch, frame):
    """rclpy sends a response some time after its callback, and not once spinning has ended."""
    send = Service.send_response

    def send_late(service, *arguments):
        time.sleep(0.4)
        send(service, *arguments)

    monkeypatch.setattr(Service, 'send_response', send_late)
    with (
        running_node('closed', BusyExecutor) as (node, client, end),
        ThreadPoolExecutor() as aside,
    ):
        stages = []
        started = client.start('it', frame=frame, on_feedback=lambda at, _: stages.append(at))
        Caller.wait_for(lambda: 'engine' in stages)
        asked = aside.submit(client.ask, 'another', frame=frame, timeout=20)
        Caller.wait_for(lambda: node.waiting == 1)
        end()
        assert started.result(10).status is Status.CANCELED
        assert asked.result(10).status is Status.CANCELED


def test_a_result_that_nobody_asks_for_is_not_waited_for_at_the_end(monkeypatch, frame):
    """Each further camera added its time to the end of a process that has 1.5 s: it was cut off."""
    succeed, succeeded = ServerGoalHandle.succeed, threading.Event()

    def told(goal):
        succeed(goal)
        succeeded.set()

    monkeypatch.setattr(ServerGoalHandle, 'succeed', told)
    monkeypatch.setattr(ClientGoalHandle, 'get_result_async', lambda goal: Future())
    monkeypatch.setattr(point_query_node, '_LEAVING_S', 0.05)
    with running_node('unasked') as (_, client, end):
        client.start('cup', frame=frame)
        assert succeeded.wait(60)
        time.sleep(0.1)
        waits = lambda seconds: pytest.fail('it waited')  # noqa: E731
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=waits)
        monkeypatch.setattr(point_query_node, 'time', clock)
        end()


def test_a_goal_of_which_nothing_can_be_told_meanwhile_has_its_result(monkeypatch, frame):
    """On a busy machine DDS gives up what it cannot send within 0.1 s, and rclpy raises that."""
    update = ServerGoalHandle._update_state

    def untold(goal, *event):
        if event:
            update(goal, *event)
        raise RCLError('cannot publish data')

    monkeypatch.setattr(ServerGoalHandle, '_update_state', untold)
    monkeypatch.setattr(ServerGoalHandle, 'publish_feedback', lambda goal, feedback: untold(goal))
    with running_node('untold') as (_, client, end):
        answered = client.start('cup', frame=frame).result(20)
        assert answered.status is Status.SUCCESS and answered.points[0].image.u == 50
        end()


def test_a_goal_that_is_cancelled_just_as_it_begins_has_its_result(monkeypatch, frame):
    update = ServerGoalHandle._update_state

    def late(goal, event):
        if event.name == 'EXECUTE':
            Caller.wait_for(lambda: goal.is_cancel_requested)
        update(goal, event)

    monkeypatch.setattr(ServerGoalHandle, '_update_state', late)
    with running_node('hasty') as (_, client, end):
        asked = client.start('plate', frame=frame)
        asked.cancel()
        assert asked.result(20).status is Status.CANCELED
        end()
