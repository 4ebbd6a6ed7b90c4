# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who asks while the node shuts down is told so, and does not wait for nothing."""

import threading
import time

import numpy as np
import pytest

from molmo_ros.engine import Question, Stopped
from molmo_ros.ros.engine_worker import EngineNotReady, EnginePhase, EngineWorker

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Busy:
    """An engine that answers nothing until it is stopped."""

    def __init__(self):
        self.begun = threading.Event()

    def answer(self, image, question, should_stop):
        self.begun.set()
        while not should_stop():
            time.sleep(0.01)
        raise Stopped

    def close(self):
        pass


def test_a_question_that_still_waits_at_shutdown_is_told():
    engine = Busy()
    worker = EngineWorker(lambda progress: engine)
    while worker.state.phase is not EnginePhase.READY:
        time.sleep(0.01)
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
