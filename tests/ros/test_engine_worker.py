# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who asks while the node shuts down is told so, and does not wait for nothing."""

import threading
import time

import numpy as np
import pytest

from molmo_ros.engine import Answer, Engine, EngineError, Question, Stopped
from molmo_ros.ros.engine_worker import EngineNotReady, EnginePhase, EngineWorker

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Busy:
    """Answers nothing until it is stopped."""

    def __init__(self):
        self.begun = threading.Event()

    def answer(self, image, question, should_stop):
        self.begun.set()
        while not should_stop():
            time.sleep(0.01)
        raise Stopped

    def close(self):
        pass


def ready_worker(engine):
    worker = EngineWorker(lambda progress: engine)
    while worker.state.phase is not EnginePhase.READY:
        time.sleep(0.01)
    return worker


def test_a_question_that_still_waits_at_shutdown_is_told():
    engine = Busy()
    worker = ready_worker(engine)
    running = worker.submit(IMAGE, Question('mug'), lambda: False)
    assert engine.begun.wait(10)
    waiting = worker.submit(IMAGE + 1, Question('mug'), lambda: False)
    assert worker.close(10)
    with pytest.raises(Stopped):
        running.result(10)
    with pytest.raises(EngineNotReady, match='shutting down'):
        waiting.result(10)
    with pytest.raises(EngineNotReady, match='shutting down'):
        worker.submit(IMAGE, Question('mug'), lambda: False)


class OneAtATime:
    """The least that can answer; waits with the first answer until `go`."""

    def __init__(self):
        self.go, self.closed = threading.Event(), False

    def answer(self, image, question, should_stop):
        assert self.go.wait(10)
        if should_stop():
            raise Stopped('nobody wants to know')
        if question.query == 'fail':
            raise RuntimeError('out of order')
        return Answer(question.query, (), None, True)

    def close(self):
        self.closed = True


def test_what_knows_one_question_at_a_time_answers_each_that_waits():
    engine = OneAtATime()
    worker = ready_worker(engine)
    plate, spoon, fork, lid = (
        worker.submit(IMAGE, Question(query), lambda query=query: query == 'fork')
        for query in ('plate', 'fail', 'fork', 'lid')
    )
    engine.go.set()
    assert [plate.result(10).text, lid.result(10).text] == ['plate', 'lid']
    with pytest.raises(RuntimeError, match='out of order'):
        spoon.result(10)
    with pytest.raises(Stopped):
        fork.result(10)
    assert worker.close(10) and engine.closed


class Forgetful(Engine):
    """Tells nobody anything."""

    def answer_each(self, image, questions):
        pass

    def close(self):
        pass


def test_nobody_waits_for_an_engine_that_forgot_to_answer():
    worker = ready_worker(Forgetful())
    with pytest.raises(EngineError, match='without an answer'):
        worker.submit(IMAGE, Question('plate'), lambda: False).result(10)
    assert worker.close(10)
