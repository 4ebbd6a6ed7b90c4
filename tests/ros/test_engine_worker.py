# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who asks while the node shuts down is told so, and does not wait for nothing."""

import threading
import time
import weakref

import numpy as np
import pytest

from molmo_ros.engine import Answer, Engine, EngineError, Question, Stopped
from molmo_ros.ros import engine_host
from molmo_ros.ros.engine_host import EngineHost
from molmo_ros.ros.engine_worker import AT_ONCE, EngineNotReady, EnginePhase, EngineWorker

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


def test_a_question_that_is_taken_back_takes_its_picture_along_at_once():
    """Else who asks with little patience during a long pass fills the memory."""
    engine = Busy()
    worker = ready_worker(engine)
    worker.submit(IMAGE, Question('mug'), lambda: False)
    assert engine.begun.wait(10)
    image = IMAGE + 1
    seen = weakref.ref(image)
    hasty, patient = (worker.submit(image, Question(q), lambda: False) for q in ('lid', 'fork'))
    del image
    assert worker.waiting == 2 and hasty.cancel() and worker.waiting == 1 and seen() is not None
    assert patient.cancel() and worker.waiting == 0
    del hasty, patient
    assert seen() is None
    assert worker.close(10)


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


class Noted(Engine):
    """Notes in which order it is asked; begins when it is let."""

    def __init__(self):
        self.go, self.order = threading.Event(), []

    def answer_each(self, image, questions):
        assert self.go.wait(10)
        for one in questions:
            self.order.append(one.question.query)
            one.tell(Answer('', (), None, True))

    def close(self):
        pass


def test_who_asks_much_does_not_keep_those_waiting_who_ask_little():
    """One robot in a loop, and others now and then: each is next after one of the loop's."""
    engine = Noted()
    worker = ready_worker(engine)

    def ask(source, count):
        image = np.full((4, 4, 3), len(futures), np.uint8)
        futures.append(worker.submit(image, Question(f'{source}{count}'), lambda: False, source))

    futures = []
    for count in range(4):
        ask('a', count)
    ask('b', 0)
    ask('c', 0)
    ask('b', 1)
    engine.go.set()
    for future in futures:
        future.result(10)
    assert worker.close(10)
    assert engine.order == ['a0', 'b0', 'c0', 'a1', 'b1', 'a2', 'a3']


class Joining(Noted):
    """Takes what waits beside the first, picture by picture."""

    def __init__(self):
        super().__init__()
        self.together = []

    def answer_frames(self, first, more):
        assert self.go.wait(10)
        asked = [first]
        while (further := more()) is not None:
            asked.append(further)
        self.together.append([[one.question.query for one in few.questions] for few in asked])
        for few in asked:
            self.answer_each(few.image, few.questions)


def test_what_is_asked_beside_a_picture_is_next_by_turn_and_in_bounds():
    """Whoever has waited longest, one's own by arrival, and no more than a pass can carry."""
    engine = Joining()
    worker = ready_worker(engine)
    asked = [('a0', 0), ('a1', 1), ('a1 too', 1), ('b0', 2), ('c0', 3)]
    asked += [(f'd{n}', 4) for n in range(AT_ONCE)] + [('e0', 5)]
    futures = [
        worker.submit(IMAGE + picture, Question(query), lambda: False, query[0])
        for query, picture in asked
    ]
    taken_back = worker.submit(IMAGE + 9, Question('f0'), lambda: False, 'f')
    assert taken_back.cancel()
    engine.go.set()
    for future in futures:
        future.result(10)
    assert worker.close(10)
    assert engine.order[:4] == ['a0', 'b0', 'c0', 'd0']
    assert len(engine.together[0]) > 3
    for few in engine.together:
        assert sum(map(len, few)) <= AT_ONCE
    assert any(['a1', 'a1 too'] in few for few in engine.together)
    assert 'f0' not in engine.order


class Broken(Joining):
    """Fails, whatever it is asked."""

    def answer_each(self, image, questions):
        raise EngineError('out of order')


def test_all_that_an_engine_took_are_told_that_it_failed():
    engine = Broken()
    worker = ready_worker(engine)
    futures = [worker.submit(IMAGE + n, Question(str(n)), lambda: False, str(n)) for n in range(3)]
    engine.go.set()
    for future in futures:
        with pytest.raises(EngineError, match='out of order'):
            future.result(10)
    assert worker.close(10)


class ManyAtOnce(Noted):
    """Looks at three images at the same time."""

    at_once = 3

    def __init__(self):
        super().__init__()
        self.together = threading.Barrier(3)

    def answer_each(self, image, questions):
        self.together.wait(10)
        super().answer_each(image, questions)


def test_an_engine_that_can_is_asked_about_several_images_at_a_time():
    engine = ManyAtOnce()
    engine.go.set()
    worker = ready_worker(engine)
    futures = [worker.submit(IMAGE + n, Question(str(n)), lambda: False) for n in range(6)]
    for future in futures:
        assert future.result(10).absent
    assert worker.close(10)


def test_what_is_closed_as_its_loading_fails_stays_closed(monkeypatch):
    """Else a node that ends loads its model once more, which nobody gives back."""
    loaded = []

    def load(on_progress):
        loaded.append(1)
        raise RuntimeError('no such checkpoint')

    host = EngineHost(load, '/node', lambda: 0.0)

    class ClosedMeanwhile(EngineWorker):
        def wait_until_loaded(self):
            state = super().wait_until_loaded()
            assert host.close(10)
            return state

    monkeypatch.setattr(engine_host, 'EngineWorker', ClosedMeanwhile)
    for _ in range(2):
        with pytest.raises(EngineNotReady):
            host.load()
        with pytest.raises(EngineNotReady, match='shutting down'):
            host.require_ready()
    assert len(loaded) == 1


class Doubted(Engine):
    """Finds out, as it is asked two things, that it may be wrong; answers the second later."""

    def __init__(self):
        self.begin, self.go_on = threading.Event(), threading.Event()

    def answer_each(self, image, questions):
        assert self.begin.wait(10)
        if len(questions) == 2:
            self.assumed = ('the test failed, so this may be wrong',)
        for one in questions:
            one.tell(Answer('', (), None, True))
            assert len(questions) == 1 or self.go_on.wait(10)

    def close(self):
        pass


def test_what_an_engine_finds_out_of_itself_counts_for_the_answer_that_it_gives_then():
    """Else a server that was changed for one that points wrong is believed once more."""
    engine = Doubted()
    worker = ready_worker(engine)
    before = worker.submit(IMAGE + 1, Question('mug'), lambda: False)
    mug, lid = (worker.submit(IMAGE, Question(query), lambda: False) for query in ('mug', 'lid'))
    engine.begin.set()
    assert before.result(10) and mug.result(10)
    assert worker.assumed == ('the test failed, so this may be wrong',)
    engine.go_on.set()
    assert lid.result(10) and worker.close(10)
    assert worker.assumed == ('the test failed, so this may be wrong',)
