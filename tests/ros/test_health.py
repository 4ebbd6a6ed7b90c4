# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an operator is told: that the node is ill, of what, what to do; and that it is well."""

import signal
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.parameter import Parameter

from molmo_ros.engine import Answer, EngineError, Question
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.engine_worker import (
    EngineHealth,
    EngineNotReady,
    EnginePhase,
    EngineState,
    EngineWorker,
)
from molmo_ros.ros.health import HealthSettings, Level, QuestionLog, engine_finding

from .conftest import Caller

IMAGE = np.zeros((4, 4, 3), np.uint8)
READY = EngineState(EnginePhase.READY)


class Watch:
    """A clock that goes as the test says."""

    def __init__(self):
        self.now = 5000.0

    def __call__(self):
        return self.now


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def log(watch):
    return QuestionLog(watch)


def test_when_every_question_fails_the_cause_and_a_cure_are_told_until_one_is_answered(log):
    for _ in range(2):
        log.add('NO_FRAME', 'no image from /front/image: it is 7.5 s old', 1.0)
    assert log.finding().level is Level.OK, 'two say little'
    log.add('NO_FRAME', 'no image from /front/image: it is 9.5 s old', 1.0)
    ill = log.finding()
    assert ill.level is Level.ERROR
    assert 'NO_FRAME' in ill.message and '9.5 s old' in ill.message and 'camera' in ill.message
    log.add('SUCCESS', '', 0.4)
    assert log.finding().level is Level.WARN
    for _ in range(3):
        log.add('NO_POINTS', 'the model pointed at nothing', 0.4)
    assert log.finding().level is Level.OK


def test_what_failed_long_ago_is_no_longer_told(log, watch):
    for _ in range(9):
        log.add('TIMEOUT', 'no answer within 3 s', 3.0)
    watch.now += 61
    assert log.finding().level is Level.ERROR, 'it is asked once a minute'
    watch.now += 600
    assert log.finding().level is Level.OK


def test_mistakes_of_those_who_ask_do_not_make_the_node_ill(log):
    for _ in range(7):
        log.add('INVALID_REQUEST', 'query is empty', 0.0)
        log.add('CANCELED', 'canceled', 0.1)
    assert log.finding().level is Level.OK
    assert log.summary()['INVALID_REQUEST'] == '7'


def test_who_asked_while_it_loaded_does_not_count_once_it_answers(log):
    for _ in range(5):
        log.add('NOT_READY', 'the model is loading (weights, 40%)', 0.0)
    assert log.finding().level is Level.ERROR
    log.add('SUCCESS', '', 0.5)
    assert log.finding().level is Level.OK


def test_answers_over_the_budget_are_told_with_the_stage_that_takes_the_time(log):
    for _ in range(4):
        log.add('SUCCESS', '', 2.5, {'frame': 0.1, 'vision': 1.9, 'decode': 0.4})
    assert log.finding(3.0).level is Level.OK
    slow = log.finding(1.5)
    assert slow.level is Level.WARN and '2.50 s' in slow.message
    assert '1.90 s' in slow.message and 'max_crops' in slow.message
    for _ in range(20):
        log.add('SUCCESS', '', 1.0, {'vision': 0.9})
    assert log.finding(1.5).level is Level.OK


def test_percentiles_are_those_of_the_stages_and_reasons_are_few(log):
    for number in range(100):
        log.add('SUCCESS', '', 0.01 * (number + 1), {'decode': 0.002 * (number + 1)})
    for number in range(40):
        log.add('TIMEOUT', f'no answer within {number} s: longer', 1.0)
        log.add('ENGINE_FAILED', f'the model failed {"x" * number}: so', 1.0)
    summary = log.summary()
    assert summary['TIMEOUT: no answer within ... s'] == '40'
    assert summary['latency p99 (s)'] == '0.990'
    assert summary['decode p50 / p95 / p99 (ms)'] == '101.0 / 190.1 / 198.0'
    assert summary['other reasons'] == '31', 'the list would grow for ever'


SETTINGS = HealthSettings(hang_timeout=20.0, reload_after=45.0)


@pytest.mark.parametrize(
    ('health', 'told', 'ready'),
    [
        (EngineHealth(quiet=33.0), ('hangs', '33 s', 'start the node again'), False),
        (EngineHealth(failures=1, error='CUDA out of memory. Tried'), ('max_crops',), True),
        (EngineHealth(failures=1, error='CUDA error: device-side assert'), ('lost',), False),
        (EngineHealth(failures=4, error='server gone'), ('4', 'server gone', '45 s'), True),
    ],
)
def test_an_ill_engine_is_told_with_what_to_do(health, told, ready):
    finding = engine_finding(READY, health, SETTINGS)
    assert finding.level is Level.ERROR and all(words in finding.message for words in told)
    assert finding.message.startswith('ready') == ready, 'clients wait for that'
    well = engine_finding(READY, EngineHealth(quiet=5.0), SETTINGS)
    assert (well.level, well.message) == (Level.OK, 'ready')


class Moody:
    """Fails until it is another."""

    made = 0

    def __init__(self):
        self.number = Moody.made = Moody.made + 1
        self.closed = False

    def answer(self, image, question, should_stop):
        if self.number == 1:
            raise EngineError('worn out')
        return Answer(f'from {self.number}', (), None, True)

    def close(self):
        self.closed = True
        if self.number == 1:
            raise RuntimeError('not even that')


def asked(worker, query='mug'):
    try:
        return worker.submit(IMAGE, Question(query), lambda: False).result(30).text
    except (EngineError, EngineNotReady) as error:
        return str(error)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.005)


def test_an_engine_that_only_fails_is_closed_and_loaded_anew_again_and_again():
    """Even if it cannot be at the first try."""
    Moody.made, engines, tries = 0, [], []

    def load(on_progress):
        tries.append(1)
        if len(tries) == 2:
            raise OSError('the disk is busy')
        engines.append(Moody())
        return engines[-1]

    worker = EngineWorker(load, lambda: 0.02)
    wait_for(lambda: worker.state.phase is EnginePhase.READY)
    wait_for(lambda: asked(worker) == 'from 2')
    assert engines[0].closed and not engines[1].closed and len(tries) == 3
    assert worker.health.reloads == 2 and worker.health.failures == 0
    assert worker.close(10) and engines[1].closed


def test_some_failures_do_not_cost_the_engine():
    Moody.made = 0
    worker = EngineWorker(lambda on_progress: Moody(), lambda: 30.0)
    wait_for(lambda: worker.state.phase is EnginePhase.READY)
    assert {asked(worker) for _ in range(50)} == {'worn out'}
    assert worker.health.failures == 50 and worker.health.reloads == 0
    assert worker.close(10) and worker.state.phase is EnginePhase.CLOSED


class Slow:
    """Makes one long pass, until `go`, and then many short ones until `end`."""

    def __init__(self):
        self.go, self.end = threading.Event(), threading.Event()

    def answer(self, image, question, should_stop):
        assert self.go.wait(60)
        while not self.end.is_set():
            should_stop()
        return Answer('at last', (), None, True)

    def close(self):
        pass


def test_a_pass_is_silent_and_the_next_is_a_sign_of_life():
    engine = Slow()
    worker = EngineWorker(lambda on_progress: engine)
    wait_for(lambda: worker.state.phase is EnginePhase.READY)
    assert worker.health.quiet == 0
    future = worker.submit(IMAGE, Question('mug'), lambda: False)
    wait_for(lambda: worker.health.quiet > 0.4)
    engine.go.set()
    wait_for(lambda: worker.health.quiet < 0.2)
    engine.end.set()
    assert future.result(30).text == 'at last'
    wait_for(lambda: worker.health.quiet == 0)
    assert worker.close(10)


class Lingering:
    """Keeps the last look whether to stop, as an engine with threads of its own may."""

    def answer(self, image, question, should_stop):
        self.should_stop = should_stop
        return Answer('', (), None, True)

    def close(self):
        pass


def test_a_look_after_the_answer_is_no_answer_that_hangs():
    """Else the process of a node that nobody asks is ended after hang_timeout."""
    engine = Lingering()
    worker = EngineWorker(lambda on_progress: engine)
    wait_for(lambda: worker.state.phase is EnginePhase.READY)
    assert worker.submit(IMAGE, Question('mug'), lambda: False).result(30)
    wait_for(lambda: worker.health.quiet == 0)
    engine.should_stop()
    assert worker.health.quiet == 0
    assert worker.close(10)


ILL = [
    *('-r', '__ns:=/ill', '-p', 'diagnostics_period:=0.1', '-p', 'frame_wait:=0.3'),
    *('-p', 'hang_timeout:=1.0', '-p', 'lift.radus:=9.0'),
]
NAME = 'ill/molmo_point_query'


@pytest.fixture(scope='module')
def ill(node, wall_camera):
    """A client of a node that is easily ill, and its camera."""
    with node(*ILL), wall_camera('ill', ['image']) as camera, PointQueryClient('ill') as client:
        assert client.wait_until_ready(120)
        wait_for(lambda: client.ask('at 80 60').status is Status.SUCCESS)
        yield client, camera


def is_level(level, *words):
    return lambda status, _: (
        status.level == bytes([level]) and all(word in status.message for word in words)
    )


def test_failing_questions_are_told_and_clear(ill, listening):
    client, _ = ill
    with listening() as listener:
        for _ in range(20):
            client.ask('fail')
        listener.wait_for(f'{NAME}: questions', is_level(Level.ERROR, 'ENGINE_FAILED'))
        listener.wait_for(f'{NAME}: engine', is_level(Level.ERROR, 'out of memory'))
        for _ in range(20):
            client.ask('at 80 60')
        listener.wait_for(f'{NAME}: questions', is_level(Level.OK))
        listener.wait_for(f'{NAME}: engine', is_level(Level.OK, 'ready'))


def test_a_pass_that_hangs_is_told_and_clears(ill, listening):
    client, _ = ill
    with listening() as listener:
        # It hears the node before that hangs, however long they take to find each other.
        listener.wait_for(f'{NAME}: engine', is_level(Level.OK))
        pending = client.start('stuck 3', timeout=30)
        listener.wait_for(f'{NAME}: engine', is_level(Level.ERROR, 'hangs', 'hang_timeout'))
        assert pending.result(60).status is Status.NO_POINTS
        listener.wait_for(f'{NAME}: engine', is_level(Level.OK))


def test_a_camera_that_stops_is_told_until_it_is_back(client_of, wall_camera, listening):
    client_of('lonely')
    name = 'lonely/molmo_point_query: image'
    with listening() as listener:
        for _ in range(2):
            with wall_camera('lonely', ['image']):
                listener.wait_for(name, is_level(Level.OK, 'arriving'))
            listener.wait_for(name, is_level(Level.ERROR, 'nobody publishes /lonely/image'))


def test_slow_answers_are_told(ill, listening):
    """The budget is set here alone: on a busy machine the other tests' answers are slow, too."""
    client, _ = ill
    service = 'molmo_point_query/set_parameters'
    with listening() as listener, closing(Caller('ill', SetParameters, service)) as caller:
        budget = Parameter('latency_budget', value=0.4).to_parameter_msg()
        (done,) = caller.call(SetParameters.Request(parameters=[budget])).results
        assert done.successful
        for _ in range(4):
            client.ask('slow 0.5')
        listener.wait_for(f'{NAME}: questions', is_level(Level.WARN, 'latency_budget'))


def test_what_is_held_is_told(ill, listening):
    def has_figures(status, values):
        return float(values['RSS (MiB)']) > 20 and float(values['frames (MiB)']) > 0.05

    with listening() as listener:
        listener.wait_for(f'{NAME}: process', has_figures)


def test_a_parameter_that_does_not_exist_is_told(ill, listening):
    with listening() as listener:
        listener.wait_for(f'{NAME}: parameters', is_level(Level.WARN, 'lift.radus', 'lift.radius'))


def test_another_node_of_the_same_name_is_told_until_it_is_gone(ill, listening):
    import rclpy
    from rclpy.node import Node

    context = Context()
    rclpy.init(context=context)
    namesake = Node('molmo_point_query', namespace='ill', context=context)
    with listening() as listener:
        listener.wait_for(f'{NAME}: name', is_level(Level.WARN, '__node:='))
        namesake.destroy_node()
        rclpy.try_shutdown(context=context)
        listener.wait_for(f'{NAME}: name', is_level(Level.OK))


def test_a_process_that_is_beyond_help_ends_if_it_is_to(node, wall_camera):
    arguments = ['-r', '__ns:=/doomed', '-p', 'exit_when_dead:=true', '-p', 'hang_timeout:=0.3']
    with wall_camera('doomed', ['image']), PointQueryClient('doomed') as client:
        with node(*arguments, '-p', 'diagnostics_period:=0.1') as process:
            assert client.wait_until_ready(120)
            wait_for(lambda: client.ask('at 80 60').status is Status.SUCCESS)
            asked = client.start('stuck 50', timeout=100)
            assert process.wait(30) in (0, -signal.SIGTERM)
        assert asked.result(30).status is Status.CANCELED
