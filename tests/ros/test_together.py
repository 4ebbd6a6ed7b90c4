# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about one frame, asked of the node by several clients at once, share their passes.

The node and the engine are the real ones, in this process; the checkpoint is tiny and untaught, and
points at (61.5, 61.5) percent, whatever it is asked.
"""

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest
import rclpy
from rclpy.context import Context

from benchmarks.random_molmo import (
    ONE_POINT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.engine import InvalidQuestion, Question, QueuedQuestion, Stopped
from molmo_ros.engine.decoding import Decoder
from molmo_ros.engine.local import LocalEngine
from molmo_ros.model.loading import load_molmo
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.engine_worker import EnginePhase, EngineWorker
from molmo_ros.ros.point_query_node import PointQueryNode, make_executor
from molmo_ros.ros.spinning import Spinner

PATIENCE = 60.0


class Gate:
    """Holds the engine where it asks for the n-th time whether it shall stop."""

    def __init__(self, at):
        self.left = at
        self.reached, self.open = threading.Event(), threading.Event()

    def passed(self):
        self.left -= 1
        if self.left == 0:
            self.reached.set()
            assert self.open.wait(PATIENCE)


class Watched(LocalEngine):
    """Notes what it is asked together and what it told; waits at the gates of questions."""

    def __init__(self, loaded):
        super().__init__(loaded)
        self.rounds, self.told, self.gates = [], {}, {}

    def answer_each(self, image, asked):
        self.rounds.append({one.question.query for one in asked})
        super().answer_each(image, [self._watched(one) for one in asked])

    def _watched(self, one):
        def tell(outcome):
            self.told[one.question.query] = outcome
            one.tell(outcome)

        def should_stop():
            if one.question.query in self.gates:
                self.gates[one.question.query].passed()
            return one.should_stop()

        return QueuedQuestion(one.question, tell, should_stop)


@pytest.fixture(scope='module')
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    tokenizer, model = tiny_tokenizer(), random_molmo(tiny_config('qwen2'), seed=0)
    tilt(model, tokenizer, [ONE_POINT])
    save_checkpoint(model, tokenizer, folder)
    return load_molmo(folder)


@pytest.fixture(scope='module')
def watched(loaded):
    """An engine, and the node that asks it."""
    engine, context = Watched(loaded), Context()
    rclpy.init(context=context)
    arguments = ['--ros-args', '-r', '__ns:=/together', '-p', 'max_waiting:=8']
    node = PointQueryNode(lambda on_progress: engine, cli_args=arguments, context=context)
    executor = make_executor(node)
    executor.add_node(node)
    spinner = Spinner(executor)
    yield engine, node
    node.close()
    spinner.close()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.fixture
def another_frame(frame):
    """Makes frames that no engine has seen."""
    pixels = np.random.default_rng()
    return lambda: replace(frame, color=pixels.integers(0, 256, frame.color.shape, np.uint8))


@pytest.fixture
def clients(watched):
    """As many as there are questions at once, for each waits for its own."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(PointQueryClient('together', f'client_{index}'))
            for index in range(5)
        ]
        assert all(client.wait_until_ready(PATIENCE) for client in clients)
        yield clients


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.005)


@contextmanager
def busy(watched, client, frame):
    """The engine is at another question meanwhile, and then answers what has come in."""
    engine, _ = watched
    engine.rounds.clear()
    engine.told.clear()
    gate = engine.gates['other'] = Gate(1)
    other = client.start('other', frame=frame)
    try:
        assert gate.reached.wait(PATIENCE)
        yield
    finally:
        gate.open.set()
    assert other.result(PATIENCE).status is Status.SUCCESS


def test_questions_about_one_frame_are_one_batch_and_of_another_are_not(
    watched, clients, another_frame
):
    engine, node = watched
    frame, second = another_frame(), another_frame()
    with busy(watched, clients[0], another_frame()):
        # A frame again for each: that the bytes are the same is what counts.
        asked = {
            query: client.start(query, frame=replace(frame, color=frame.color.copy()))
            for query, client in zip(['mug', 'cup', 'bowl'], clients[1:], strict=False)
        }
        asked['spoon'] = clients[4].start('spoon', frame=second)
        wait_for(lambda: node.waiting == 4)
    for query, one in asked.items():
        answered = one.result(PATIENCE)
        assert answered.status is Status.SUCCESS, answered.message
        assert answered.points[0].image.label == query
    assert sorted(engine.rounds, key=len) == [{'other'}, {'spoon'}, {'mug', 'cup', 'bowl'}]
    together = [engine.told[query] for query in ('mug', 'cup', 'bowl')]
    # As many passes as one of them takes that has no room to try digits; it was encoded once.
    assert max(answer.passes for answer in together) <= 6
    assert {answer.work['crops'] for answer in together} == {engine.told['spoon'].work['crops']}


def test_services_are_answered_together_too(watched, clients, another_frame):
    engine, node = watched
    frame, statuses = another_frame(), {}

    def ask(client, query):
        statuses[query] = client.ask(query, frame=frame).status

    threads = [
        threading.Thread(target=ask, args=(client, f'mug{index}'))
        for index, client in enumerate(clients[1:])
    ]
    with busy(watched, clients[0], another_frame()):
        for thread in threads:
            thread.start()
        wait_for(lambda: node.waiting == 4)
    for thread in threads:
        thread.join(PATIENCE)
    assert list(statuses.values()) == [Status.SUCCESS] * 4
    assert engine.rounds == [{'other'}, set(statuses)]


def test_an_image_too_small_is_a_status_and_the_next_question_is_answered(
    clients, another_frame, frame
):
    tiny = replace(frame, color=frame.color[:8, :8].copy(), depth=None, camera=None)
    refused = clients[0].ask('mug', frame=tiny)
    assert refused.status is Status.INVALID_REQUEST and 'at least 16 pixels' in refused.message
    assert clients[0].ask('mug', frame=another_frame()).status is Status.SUCCESS


def test_one_that_is_cancelled_late_or_wrong_does_not_touch_the_others(
    watched, clients, another_frame
):
    engine, node = watched
    frame, too_long = another_frame(), 'red spoon ' * 100
    with busy(watched, clients[0], another_frame()):
        good = clients[1].start('red mug', frame=frame)
        cancelled = clients[2].start('red cup', frame=frame)
        late = clients[3].start('red bowl', frame=frame, timeout=4)
        wrong = clients[4].start(too_long, frame=frame)
        wait_for(lambda: node.waiting == 4)
        gate = engine.gates['red mug'] = Gate(4)  # between the first and the second pass
    try:
        assert gate.reached.wait(PATIENCE)
        assert wrong.result(PATIENCE).status is Status.INVALID_REQUEST
        cancelled.cancel()
        assert cancelled.result(PATIENCE).status is Status.CANCELED
        assert late.result(PATIENCE).status is Status.TIMEOUT
    finally:
        gate.open.set()
    answered = good.result(PATIENCE)
    assert answered.status is Status.SUCCESS and answered.points[0].image.label == 'red mug'
    assert engine.rounds == [{'other'}, {'red mug', 'red cup', 'red bowl', too_long}]
    assert all(isinstance(engine.told[f'red {query}'], Stopped) for query in ('cup', 'bowl'))
    assert isinstance(engine.told[too_long], InvalidQuestion)
    assert 1 < engine.told['red mug'].passes <= 8


def test_cameras_that_ask_meanwhile_share_the_passes_of_the_first(loaded, monkeypatch):
    """Each about its own picture; in the order of turns."""
    about, read = [], Decoder.read

    def noted(self, lines):
        about.append(len({line.frame for line in lines}))
        return read(self, lines)

    monkeypatch.setattr(Decoder, 'read', noted)
    worker = EngineWorker(lambda on_progress: LocalEngine(loaded, patience=0))
    assert worker.wait_until_loaded().phase is EnginePhase.READY
    pixels, gate = np.random.default_rng(7), Gate(2)  # before its picture is looked at

    def ask(source, should_stop=lambda: False):
        image = pixels.integers(0, 256, (60, 80, 3), np.uint8)
        return worker.submit(image, Question(f'the {source} lid'), should_stop, source)

    futures = [ask('first', gate.passed)]
    assert gate.reached.wait(PATIENCE)
    futures += [ask('left'), ask('right')]
    gate.open.set()
    answers = [future.result(PATIENCE) for future in futures]
    assert worker.close(PATIENCE)
    assert all(len(answer.points) == 1 for answer in answers)
    # All but the first pass of each.
    assert max(about) == 3 and len(about) < sum(answer.passes - 1 for answer in answers) / 2
