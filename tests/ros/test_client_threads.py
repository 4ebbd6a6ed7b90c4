# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The client where several threads have it: closed while others wait, used in its own callbacks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import rclpy
from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.msg import TrackedPoints
from molmo_ros.srv import PointQuery, Watch
from rclpy.action import ActionServer
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from molmo_ros.ros import client as client_module
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient, ServiceUnavailable
from molmo_ros.ros.spinning import Spinner

LONG_S = 30


class Server:
    """A node whose answers come when a test says so."""

    def __init__(self):
        self.asked = threading.Semaphore(0)
        self.leave = threading.Event()
        self.renewals = 0
        self.renewed = threading.Event()
        self.ended = threading.Event()
        self.order = []
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node('slow', namespace='threads', context=self._context)
        several = {'callback_group': ReentrantCallbackGroup()}
        self._node.create_service(PointQuery, 'point_query', self._answer, **several)
        self._node.create_service(Watch, 'point_query/watch', self._watch, **several)
        self._action = ActionServer(
            self._node, PointQueryAction, 'point_query', self._execute, **several
        )
        self._tracked = self._node.create_publisher(TrackedPoints, 'tracked', 10)
        executor = MultiThreadedExecutor(8, context=self._context)
        executor.add_node(self._node)
        self._spinner = Spinner(executor)

    def _answer(self, request, response):
        self.asked.release()
        self.leave.wait(LONG_S)
        return response

    def _execute(self, goal):
        goal.publish_feedback(PointQueryAction.Feedback(stage='frame'))
        self.asked.release()
        self.leave.wait(LONG_S)
        goal.succeed()
        return PointQueryAction.Result(message='well')

    def _watch(self, request, response):
        if request.stop:
            self.order.append('end')
            self.ended.set()
        else:
            self.renewals += 1
            if self.renewals == 2:
                self.renewed.set()
                self.ended.wait(0.3)  # slower than what comes after it
            self.order.append('renewal')
            response.topic = self._tracked.topic_name
            self._tracked.publish(TrackedPoints(id=request.id))
        return response

    def close(self):
        self.leave.set()
        self._spinner.close()
        self._action.destroy()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def client():
    with PointQueryClient('threads') as client:
        yield client


def test_whoever_waits_is_told_that_the_client_was_closed(server, client):
    """Instead of waiting for ever, or for the end of its time and an exception of ROS."""
    with ThreadPoolExecutor() as aside:
        asking = aside.submit(client.ask, 'a cup', timeout=600)
        waiting = aside.submit(client.wait_until_ready, 600)
        started = client.start('a fork', timeout=600)
        for _ in range(2):
            assert server.asked.acquire(timeout=LONG_S)
        client.close()
        with pytest.raises(ServiceUnavailable, match='has been closed'):
            asking.result(LONG_S)
        with pytest.raises(ServiceUnavailable, match='has been closed'):
            started.result(LONG_S)
        assert waiting.result(LONG_S) is False
    started.cancel()
    for ask in client.ask, client.start, client.watch:
        with pytest.raises(ServiceUnavailable, match='has been closed'):
            ask('a cup')
    assert client.wait_until_ready(LONG_S) is False


def test_an_answer_that_never_comes_is_not_waited_for_without_end(server, client, monkeypatch):
    """A node that was killed says nothing any more."""
    assert client.start('a cup').done() is False
    assert server.asked.acquire(timeout=LONG_S)
    monkeypatch.setattr(client_module, '_GRACE_S', 0.1)
    asked = client.start('a cup', timeout=0.1)
    with pytest.raises(ServiceUnavailable, match='/threads/point_query did not respond'):
        asked.result()


def test_what_would_wait_for_itself_in_a_callback_says_so(server, client):
    """Asking in on_feedback waited for the thread that it was called in, for a minute."""
    told, all_told = [], threading.Event()

    def on_feedback(stage, points):
        for use in lambda: client.ask('a cup'), lambda: client.watch('a cup'), client.close:
            try:
                use()
            except RuntimeError as error:
                told.append(str(error))
        all_told.set()

    asked = client.start('a fork', on_feedback=on_feedback)
    assert all_told.wait(LONG_S)
    assert len(told) == 3 and all('in one of its own callbacks' in one for one in told)
    server.leave.set()
    answered = asked.result(LONG_S)
    assert (answered.status, answered.message) == (Status.SUCCESS, 'well')


def test_a_watch_can_be_closed_in_its_own_callback(server, client):
    closed = threading.Event()

    def on_points(followed):
        watch.close()
        closed.set()

    watch = client.watch('a cup', on_points, lease=0.3)
    assert closed.wait(LONG_S) and server.ended.wait(LONG_S)
    watch.close()


def test_a_watch_that_is_closed_as_it_is_renewed_stays_closed(server, client):
    """The renewal was told to the node before the end, and must not be taken after it."""
    watch = client.watch('a cup', lease=0.3)
    assert server.renewed.wait(LONG_S)
    watch.close()
    assert server.order == ['renewal', 'renewal', 'end']
