# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's states: what a manager asks for, and what whoever asks a question is told in each."""

import gc
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from types import ModuleType

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from molmo_ros.srv import PointQuery
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from molmo_ros.engine import Answer, Stopped
from molmo_ros.ros.answering import Status
from molmo_ros.ros.point_query_node import PointQueryNode, make_executor
from molmo_ros.ros.responses import RCLError
from molmo_ros.ros.spinning import Spinner

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


class Parrot:
    """Says what it is asked; about 'wait' it thinks until it is stopped."""

    def __init__(self):
        self.thinking, self.closed = threading.Event(), threading.Event()

    def answer(self, image, question, should_stop):
        if question.query == 'wait':
            self.thinking.set()
            while not should_stop():
                self.closed.wait(0.01)
            raise Stopped
        return Answer(question.query, (), None, False)

    def close(self):
        self.closed.set()


class Manager:
    """A manager of a node, and whoever asks it questions."""

    def __init__(self, namespace, request_about):
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node('manager', namespace=namespace, context=self._context)
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self.node)
        self._spinner = Spinner(executor)
        self._request_about = request_about
        self._ask = self.node.create_client(PointQuery, 'point_query')
        self._change = self.node.create_client(ChangeState, 'molmo_point_query/change_state')
        self._get = self.node.create_client(GetState, 'molmo_point_query/get_state')
        self._set = self.node.create_client(SetParameters, 'molmo_point_query/set_parameters')

    def change(self, transition):
        request = ChangeState.Request()
        request.transition.id = transition
        return self._sent(self._change, request)

    def changed(self, transition):
        future = self.change(transition)
        self.wait_for(future.done)
        return future.result().success

    def state(self):
        future = self._sent(self._get, GetState.Request())
        self.wait_for(future.done)
        return future.result().current_state.label

    def set(self, name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        future = self._sent(self._set, SetParameters.Request(parameters=[parameter]))
        self.wait_for(future.done)
        return future.result().results[0]

    def say(self, words):
        request = self._request_about(words)
        request.mode = PointQuery.Request.ASK
        return self._sent(self._ask, request)

    def said(self, words):
        future = self.say(words)
        self.wait_for(future.done)
        return future.result()

    @staticmethod
    def wait_for(condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, 'it never happened'
            time.sleep(0.01)

    def close(self):
        self._spinner.close()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _sent(self, client, request):
        assert client.wait_for_service(30)
        return client.call_async(request)


@pytest.fixture
def managed(request_about):
    """Runs a node with a loader and parameters: with managed(namespace, loader, ...) as manager."""

    @contextmanager
    def run(namespace, loader, **parameters):
        context = Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = PointQueryNode(
            loader,
            context=context,
            namespace=namespace,
            parameter_overrides=[
                Parameter(name, value=value) for name, value in parameters.items()
            ],
        )
        executor = make_executor(node)
        executor.add_node(node)
        spinner = Spinner(executor)
        manager = Manager(namespace, request_about)
        try:
            yield manager
        finally:
            manager.close()
            node.close()
            spinner.close()
            node.destroy_node()
            rclpy.try_shutdown(context=context)

    return run


def test_a_manager_has_it_load_answer_stop_and_give_back_again_and_again(managed):
    engines = []

    def load(on_progress):
        engine = Parrot()
        engines.append(weakref.ref(engine))
        return engine

    with managed('by_hand', load, autostart=False) as manager:
        told = manager.said('hello')
        assert told.status == Status.NOT_READY
        assert 'ros2 lifecycle set /by_hand/molmo_point_query configure' in told.message
        assert not engines
        for _ in range(2):
            assert manager.changed(CONFIGURE) and manager.state() == 'inactive'
            told = manager.said('hello')
            assert told.status == Status.NOT_READY
            assert 'ros2 lifecycle set /by_hand/molmo_point_query activate' in told.message
            assert manager.changed(ACTIVATE) and manager.said('hello').answer == 'hello'
            waiting = manager.say('wait')
            assert engines[-1]().thinking.wait(30)
            assert manager.changed(DEACTIVATE)
            manager.wait_for(waiting.done)
            assert waiting.result().status == Status.CANCELED
            closed = engines[-1]().closed
            assert manager.changed(CLEANUP) and manager.state() == 'unconfigured'
            assert closed.is_set()
            gc.collect()
            assert engines[-1]() is None, 'what a model occupies is not free'
        assert manager.changed(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert 'shutting down' in manager.said('hello').message


@pytest.fixture
def by_checkpoint(monkeypatch):
    """Checkpoints are there, but for those in /missing."""

    def load_engine(checkpoint, **settings):
        if '/missing' in checkpoint:
            raise FileNotFoundError(f'{checkpoint} is not there')
        return Parrot()

    monkeypatch.setattr('molmo_ros.ros.point_query_node.load_engine', load_engine)


def test_a_wrong_checkpoint_is_mended_by_a_parameter_and_configured_again(managed, by_checkpoint):
    with managed('mended', None, autostart=False, checkpoint='/missing/weights') as manager:
        assert not manager.changed(CONFIGURE) and manager.state() == 'unconfigured'
        told = manager.said('hello')
        assert told.status == Status.NOT_READY and '/missing/weights is not there' in told.message
        assert manager.set('checkpoint', '/here/weights').successful
        assert manager.changed(CONFIGURE) and manager.changed(ACTIVATE)
        assert manager.said('hello').answer == 'hello'
        refused = manager.set('checkpoint', '/other')
        assert not refused.successful and 'clean it up' in refused.reason


def test_a_node_that_starts_itself_tries_again_until_its_model_is_there(managed, monkeypatch):
    """As from a disk that is mounted late."""
    there = threading.Event()

    def load_engine(checkpoint, **settings):
        if not there.is_set():
            raise FileNotFoundError('not mounted')
        return Parrot()

    monkeypatch.setattr('molmo_ros.ros.point_query_node.load_engine', load_engine)
    with managed('late', None, reload_after=0.05) as manager:
        manager.wait_for(lambda: 'not mounted' in manager.said('hello').message)
        there.set()
        manager.wait_for(lambda: manager.said('hello').answer == 'hello')
        # It answers while it is being activated.
        manager.wait_for(lambda: manager.state() == 'active')


def test_a_checkpoint_mended_while_it_waits_to_try_again_counts_at_once(managed, by_checkpoint):
    with managed('waits', None, checkpoint='/missing', reload_after=3000.0) as manager:
        manager.wait_for(lambda: '/missing is not there' in manager.said('hello').message)
        assert manager.set('checkpoint', '/here').successful
        manager.wait_for(lambda: manager.said('hello').answer == 'hello')


def test_its_state_is_told_while_it_loads_and_no_second_transition_begins(managed):
    go, loading = threading.Event(), threading.Event()

    def load(on_progress):
        on_progress('unpacking', 0.25)
        loading.set()
        assert go.wait(60)
        return Parrot()

    with managed('patient', load, autostart=False) as manager:
        first = manager.change(CONFIGURE)
        assert loading.wait(30)
        assert manager.state() == 'configuring'
        assert 'unpacking, 25%' in manager.said('hello').message
        assert not manager.changed(CONFIGURE)
        go.set()
        manager.wait_for(first.done)
        assert first.result().success


def test_a_transition_that_cannot_be_is_refused_and_the_node_goes_on(managed):
    with managed('steady', lambda on_progress: Parrot()) as manager:
        manager.wait_for(lambda: manager.said('hello').answer == 'hello')
        assert not manager.changed(CONFIGURE)
        assert not manager.changed(213)
        assert manager.state() == 'active' and manager.said('still').answer == 'still'


class Bond:
    """As much of bondpy's as is used."""

    made = ()

    def __init__(self, node, topic, id):
        self.of, self.begun, self.ended = (topic, id), False, False
        Bond.made += (self,)

    def set_heartbeat_period(self, seconds):
        assert not self.begun

    def set_heartbeat_timeout(self, seconds):
        assert not self.begun

    def start(self):
        self.begun = True

    def shutdown(self):
        self.ended = True


def test_a_manager_that_watches_it_has_a_bond_while_it_is_active(managed, monkeypatch):
    module = ModuleType('bondpy.bondpy')
    module.Bond = Bond
    monkeypatch.setitem(sys.modules, 'bondpy', ModuleType('bondpy'))
    monkeypatch.setitem(sys.modules, 'bondpy.bondpy', module)
    monkeypatch.setattr(Bond, 'made', ())
    with managed('bound', lambda on_progress: Parrot(), autostart=False) as manager:
        assert manager.changed(CONFIGURE) and not Bond.made
        assert manager.changed(ACTIVATE)
        (bond,) = Bond.made
        # What nav2's manager listens for: the node's name without its namespace.
        assert bond.of == ('bond', 'molmo_point_query') and bond.begun and not bond.ended
        assert manager.changed(DEACTIVATE) and bond.ended


def test_a_state_that_cannot_be_told_is_entered_all_the_same(managed, monkeypatch):
    """Where many nodes start at once DDS may be too busy: it was left 'configuring' for ever."""

    class Untold:
        """As rcl does it: the state is another, and telling of it fails."""

        def __init__(self, machine):
            self._machine = machine

        def __getattr__(self, name):
            return getattr(self._machine, name)

        def trigger_transition_by_id(self, number, told):
            self._machine.trigger_transition_by_id(number, False)
            raise RCLError('Could not publish transition')

        def trigger_transition_by_label(self, label, told):
            self._machine.trigger_transition_by_label(label, False)
            raise RCLError('Could not publish transition')

    begin = LifecycleNodeMixin.__init__

    def begin_untold(node, **named):
        begin(node, **named)
        node._state_machine = Untold(node._state_machine)

    monkeypatch.setattr(LifecycleNodeMixin, '__init__', begin_untold)
    with managed('untold', lambda on_progress: Parrot(), autostart=True) as manager:
        manager.wait_for(lambda: manager.said('hello').answer == 'hello')
        assert manager.changed(DEACTIVATE) and manager.state() == 'inactive'
        assert not manager.changed(DEACTIVATE) and manager.state() == 'inactive'
