# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What standing questions tell where an answer and an image come at the same moment."""

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from unittest.mock import Mock

import numpy as np
import pytest
from molmo_ros.srv import Watch

from molmo_ros.engine import Answer, Stopped
from molmo_ros.grounding.capture import OPTICAL, Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing import ImagePoint
from molmo_ros.ros import watching as watching_module
from molmo_ros.ros.answering import Request, Status
from molmo_ros.ros.engine_worker import EngineNotReady
from molmo_ros.ros.node_settings import read_settings
from molmo_ros.ros.parameters import POINT_QUERY
from molmo_ros.ros.responses import RCLError
from molmo_ros.ros.standing import StandingBook
from molmo_ros.ros.sync import StreamState
from molmo_ros.ros.watch_service import WatchService
from molmo_ros.ros.watching import Watching

from .conftest import Caller

LONG_S = 60.0
SETTINGS = read_settings({parameter.name: parameter.default for parameter in POINT_QUERY})
PICTURE = np.random.default_rng(3).integers(0, 255, (90, 120, 3), np.uint8)


class Feed:
    """A camera whose images come one by one, as a test says."""

    jumps = 0

    def __init__(self):
        self.number = self.taken = 1  # of its newest image; and of the one that was taken

    def state(self, stream):
        return StreamState(self.number + self.jumps, None, 30.0, 0.0)

    def capture(self, settings):
        self.taken = self.number
        return Capture(Frame(PICTURE, None, None, self.taken * 50_000_000, 'eye'))


class Model:
    """Answers when a test says so."""

    waiting, assumed = 0, ()

    def __init__(self):
        self.asked = []
        self.refuses, self.gone = 0, False
        self._changed = threading.Condition()

    def require_ready(self):
        if self.gone:
            raise EngineNotReady('the node is inactive: activate it')

    def submit(self, image, question, should_stop):
        with self._changed:
            if len(self.asked) == self.refuses - 1:
                self.refuses = 0
                raise EngineNotReady('the node is inactive: activate it')
            future = Future()
            future.set_running_or_notify_cancel()
            self.asked.append((question, future, should_stop))
            self._changed.notify_all()
        return future

    def wait_for(self, questions):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= questions, LONG_S)

    def answer(self, number, *pixels):
        points = tuple(ImagePoint(u, v, 'cup') for u, v in pixels)
        self.asked[number][1].set_result(Answer('', points, None, not points))


class Told:
    """What was told, of which one waits for more."""

    def __init__(self):
        self.all = []
        self._changed = threading.Condition()

    def __call__(self, sightings):
        with self._changed:
            self.all += sightings
            self._changed.notify_all()

    def wait_for(self, condition):
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(condition, self.all)), LONG_S)

    def wait_for_more(self, number, condition, after):
        """After the first so many, that number of others."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(map(condition, self.all[after:])) >= number, LONG_S
            )


class Book(StandingBook):
    """Has something happen when the thread that follows looks what still stands."""

    meanwhile = staticmethod(lambda: None)

    def living(self):
        if threading.current_thread().name == 'standing-follow':
            self.meanwhile()
        return super().living()


@pytest.fixture
def watching():
    """watching(book, model, feed, told): at work until the test is over."""

    @contextmanager
    def made(book, model, feed, told):
        errors = []
        watching = Watching(
            book, model, feed, lambda *_: OPTICAL, lambda: SETTINGS, told, errors.append
        )
        try:
            yield
        finally:
            assert watching.close(LONG_S)
        assert not errors

    return made


def test_an_answer_is_told_with_its_own_points(watching):
    """SUCCESS without the points of that answer: who takes the first of them finds none."""
    book, model, feed, told = Book(4), Model(), Feed(), Told()

    def meanwhile():
        if feed.taken == 2:  # which has been looked at, and is not told yet
            book.meanwhile = lambda: None
            model.answer(0, (30.0, 40.0))
            model.wait_for(2)  # the answer has been taken

    with watching(book, model, feed, told):
        book.set('cup', Request('the cup'), 0.0, LONG_S)
        model.wait_for(1)
        told.wait_for(lambda one: one.capture is not None)
        book.meanwhile = meanwhile
        feed.number = 2
        told.wait_for(lambda one: one.capture and one.capture.frame.stamp == 100_000_000)
        feed.number = 3
        told.wait_for(lambda one: one.points)
    for one in told.all:
        assert (one.last.status is Status.SUCCESS) == bool(one.points)


def test_a_question_set_anew_goes_by_its_new_period(watching):
    """Else a slow one that is set to be quick is not asked before its old time."""
    book, model, feed, told = Book(4), Model(), Feed(), Told()
    with watching(book, model, feed, told):
        book.set('cup', Request('the cup'), 5000.0, LONG_S)
        model.wait_for(1)
        model.answer(0, (30.0, 40.0))
        book.set('cup', Request('the cup'), 0.0, LONG_S)
        model.wait_for(2)
        book.set('cup', Request('the cup'), 5000.0, LONG_S)
        model.answer(1, (30.0, 40.0))
        book.set('fork', Request('the fork'), 5000.0, LONG_S)
        model.wait_for(3)
        model.answer(2)
        book.end('cup')
        book.set('knife', Request('the knife'), 0.0, LONG_S)
        model.wait_for(4)  # it has been seen that there is no cup any more
        book.end('knife')
        model.answer(3)
        book.set('cup', Request('the cup'), 5000.0, LONG_S)
        model.wait_for(5)
    assert [question.query for question, *_ in model.asked][3:] == ['the knife', 'the cup']


def test_an_engine_that_goes_between_two_questions_is_told(watching):
    """A node that is being deactivated; the answer to what it took before counts."""
    book, model, feed, told = Book(4), Model(), Feed(), Told()
    model.refuses = 2

    def meanwhile():  # before the first image
        book.meanwhile = lambda: None
        book.set('fork', Request('the fork'), 0.0, LONG_S)

    book.meanwhile = meanwhile
    with watching(book, model, feed, told):
        book.set('cup', Request('the cup'), 0.0, LONG_S)
        model.wait_for(1)
        model.answer(0, (30.0, 40.0))
        model.wait_for(2)
        feed.number = 2
        told.wait_for(lambda one: 'is inactive' in one.last.message)
        told.wait_for(lambda one: one.points)


def test_a_camera_that_pauses_keeps_its_points(watching, monkeypatch):
    """A simulation that is held: its last image, still fresh by its clock, is no other time."""
    monkeypatch.setattr(watching_module, '_SILENCE_S', 0.05)
    book, model, feed, told = Book(4), Model(), Feed(), Told()
    with watching(book, model, feed, told):
        book.set('cup', Request('the cup'), 0.0, LONG_S)
        model.wait_for(1)
        model.answer(0, (30.0, 40.0))
        model.wait_for(2)  # it has been taken
        feed.number = 2
        told.wait_for(lambda one: one.points)
        paused = len(told.all)
        told.wait_for_more(3, lambda one: one.last.status is Status.NO_FRAME, paused)
        feed.number = 3
        told.wait_for(lambda one: one.capture and one.capture.frame.stamp == 150_000_000)
    before, after = (
        next(one for one in told.all if one.capture and one.capture.frame.stamp == stamp)
        for stamp in (100_000_000, 150_000_000)
    )
    assert [one.id for one in after.tracked] == [one.id for one in before.tracked] == [1]
    assert {one.last.status for one in told.all[paused:-1]} == {Status.NO_FRAME}


@pytest.mark.parametrize('back', [0, 1], ids=['the same', 'earlier'])
def test_images_are_followed_wherever_time_has_jumped_to(watching, back):
    """A recording of less than a second that loops, or of one image: told once, and no more."""
    book, model, feed, told = Book(4), Model(), Feed(), Told()
    with watching(book, model, feed, told):
        book.set('cup', Request('the cup'), 5000.0, LONG_S)
        model.wait_for(1)
        model.answer(0, (30.0, 40.0))

        def followed():
            feed.number += 1
            return any(one.points for one in told.all)

        Caller.wait_for(followed)
        newest = feed.number * 50_000_000
        told.wait_for(lambda one: one.capture and one.capture.frame.stamp == newest)
        before = len(told.all)
        feed.number, feed.jumps = feed.number - back, 1
        told.wait_for_more(1, lambda one: one.capture is not None, before)
        model.wait_for(2)  # for the points of before are forgotten
    assert told.all[-1].capture.frame.stamp == newest - back * 50_000_000
    assert told.all[-1].last.status is Status.NOT_READY


def test_a_loop_that_is_shorter_than_an_answer_takes_is_told(watching):
    """No answer ever counts: its image is forgotten when it comes. It would say nothing of that."""
    book, model, feed, told = Book(4), Model(), Feed(), Told()
    feed.number = 30
    with watching(book, model, feed, told):
        book.set('cup', Request('the cup'), 5000.0, LONG_S)
        model.wait_for(1)
        feed.number, feed.jumps = 2, 1
        told.wait_for(lambda one: one.capture and one.capture.frame.stamp == 100_000_000)
        model.answer(0, (30.0, 40.0))
        model.wait_for(2)  # at once
        feed.number = 3
        told.wait_for(lambda one: one.capture and one.capture.frame.stamp == 150_000_000)
    last = told.all[-1].last
    assert last.status is Status.NOT_READY and 'time jumped back' in last.message


def test_an_engine_that_goes_amid_a_question_is_not_kept_at_it(watching):
    """A node that is deactivated answers no more, standing questions as little as others."""
    book, model, feed, told = Book(4), Model(), Feed(), Told()
    with watching(book, model, feed, told):
        book.set('cup', Request('the cup'), 0.0, 5000.0)
        model.wait_for(1)
        model.gone = True
        _, future, should_stop = model.asked[0]
        Caller.wait_for(should_stop)
        future.set_exception(Stopped('stopped'))
        model.gone = False
        model.wait_for(2)


class Publisher:
    """Cannot send its third message."""

    topic_name = '~/tracked'

    def __init__(self):
        self.tried = []

    def get_subscription_count(self):
        return 1

    def publish(self, message):
        self.tried.append(message)
        if len(self.tried) == 3:
            raise RCLError('cannot publish data')


def test_a_message_that_cannot_be_sent_costs_that_one_only():
    """On a busy machine: the rest about its image was not sent, and nothing for a second."""
    feed, model, said = Feed(), Model(), []
    tracked, markers, waypoints = Publisher(), Publisher(), Publisher()
    node = Mock(create_publisher=lambda *_: tracked)
    node.get_logger().warning = lambda text, **_: said.append(text)
    service = WatchService(
        node, model, feed, lambda *_: OPTICAL, lambda: SETTINGS, markers, waypoints, pytest.fail
    )
    _, _, on_request = node.create_service.call_args.args
    on_request(Watch.Request(query='the cup'), Watch.Response())
    model.wait_for(1)
    model.answer(0, (30.0, 40.0))

    def shown():
        feed.number += 1
        return len(waypoints.tried) > 5

    Caller.wait_for(shown)
    assert service.close(LONG_S)
    told = [one.header.stamp for one in tracked.tried if one.answered.nanosec]
    assert told == [one.header.stamp for one in waypoints.tried]
    assert len(markers.tried) == len(told) and len(said) == 3
    assert all('could not be sent: cannot publish data' in text for text in said)
    assert not node.get_logger().error.called
