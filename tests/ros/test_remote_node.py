# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node with a server in place of a checkpoint, named by the parameter."""

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest

from benchmarks.stub_server import Stub, serving
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.point_query_node import PointQueryNode

from .conftest import spinning

PATIENCE = 60.0


@contextmanager
def node_for(stub, *parameters):
    """The node that asks it, and its namespace."""
    namespace = f'remote_{uuid4().hex[:8]}'
    given = [word for one in (f'checkpoint:={stub.url}', *parameters) for word in ('-p', one)]
    arguments = ['--ros-args', '-r', f'__ns:=/{namespace}', *given]
    with spinning(lambda context: PointQueryNode(cli_args=arguments, context=context)):
        yield namespace


def disc_at(frame, x):
    """The frame with a red disc at x percent from the left, in the middle of the height."""
    height, width = frame.color.shape[:2]
    color = np.full_like(frame.color, 180)
    v, u = np.mgrid[:height, :width] + 0.5
    color[(u - x / 100 * width) ** 2 + (v - height / 2) ** 2 < 10**2] = (230, 10, 10)
    return replace(frame, color=color)


def test_frames_of_several_robots_are_asked_about_together_each_with_its_own_answer(frame):
    with serving(Stub()) as stub, node_for(stub) as namespace, ExitStack() as stack:
        clients = [
            stack.enter_context(PointQueryClient(namespace, f'robot_{index}')) for index in range(4)
        ]
        assert all(client.wait_until_ready(PATIENCE) for client in clients)
        stub.most_running = 0
        several = threading.Event()

        def answer(prompt):
            """Looks at the picture when three are asked about."""
            if stub.most_running >= 3:
                several.set()
            several.wait(PATIENCE)
            return ''

        stub.answer = answer
        frames = [disc_at(frame, 20 * (index + 1)) for index in range(4)]
        asked = [
            client.start('the lid', frame=one) for client, one in zip(clients, frames, strict=True)
        ]
        answers = [one.result(PATIENCE) for one in asked]
        assert [answered.status for answered in answers] == [Status.SUCCESS] * 4
        assert several.is_set()
        for index, answered in enumerate(answers):
            assert answered.points[0].image.u == pytest.approx(32 * (index + 1), abs=1.5)
            assert not any('self_test' in one for one in answered.assumed)


def test_a_question_that_is_cancelled_or_out_of_time_ends_at_the_server_too(frame):
    with (
        serving(Stub()) as stub,
        node_for(stub) as namespace,
        PointQueryClient(namespace) as client,
    ):
        assert client.wait_until_ready(PATIENCE)
        # Of these there is no end, so that it is the server's part that takes the time.
        stub.token_s, stub.answer = 0.1, lambda prompt: ' on' * 5000
        late = client.ask('the lid', frame=disc_at(frame, 40), timeout=2.0)
        assert late.status == Status.TIMEOUT
        sent = len(stub.requests)
        asked = client.start('the lid', frame=disc_at(frame, 60))
        while len(stub.requests) == sent:
            time.sleep(0.01)
        asked.cancel()
        assert asked.result(PATIENCE).status == Status.CANCELED
        while stub.running:
            time.sleep(0.01)
        assert stub.aborted == 2


def test_a_server_that_points_wrong_is_not_ready_and_says_by_how_much(frame):
    with serving(Stub(moved=lambda x, y: (x + 6, y))) as stub:
        with node_for(stub) as namespace, PointQueryClient(namespace) as client:
            assert not client.wait_until_ready(PATIENCE)
            answered = client.ask('the lid', frame=frame)
            assert answered.status == Status.NOT_READY
            assert 'self-test failed' in answered.message and '+6.0 % in x' in answered.message
        # Whoever wants it nevertheless is told with each answer. YAML makes a truth value of `on`.
        with node_for(stub, 'self_test:=warn') as namespace, PointQueryClient(namespace) as client:
            assert client.wait_until_ready(PATIENCE)
            answered = client.ask('the lid', frame=disc_at(frame, 50))
            assert answered.status == Status.SUCCESS
            assert any('self-test failed' in one for one in answered.assumed)
        with node_for(stub, 'self_test:=off') as namespace, PointQueryClient(namespace) as client:
            assert client.wait_until_ready(PATIENCE)
            answered = client.ask('the lid', frame=disc_at(frame, 50))
            assert any('self_test is off' in one for one in answered.assumed)
