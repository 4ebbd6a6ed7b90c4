# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""On a busy machine DDS cannot send a message now and then: that costs this message alone."""

import threading
import time
from copy import deepcopy

import numpy as np
import pytest
from rclpy.client import Client
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher

from benchmarks.software_realsense import record
from molmo_ros.engine import Answer
from molmo_ros.pointing import ImagePoint
from molmo_ros.ros import diagnostics, realsense_camera
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.point_query_node import PointQueryNode
from molmo_ros.ros.readiness import EngineWatch
from molmo_ros.ros.realsense_camera import RealSenseCameraNode
from molmo_ros.ros.responses import RCLError
from molmo_ros.spatial import CameraModel
from molmo_ros.tabletop.camera_node import TabletopCameraNode

from .conftest import Caller, spinning


class Sent:
    """What nodes of these tests publish, by topic; the messages named in `fail` are not.

    fail: topic to the numbers of its messages, from 0, that raise `error`.
    """

    OWN = '/unsent', '/tf_static', '/diagnostics'  # other tests have a camera in this process, too

    def __init__(self, monkeypatch, error, **fail):
        self._lock, self._tried, self._messages = threading.Lock(), {}, {}
        publish = Publisher.publish

        def publish_some(publisher, message):
            if not publisher.topic_name.startswith(self.OWN):
                return publish(publisher, message)
            name = publisher.topic_name.rpartition('/')[2]
            with self._lock:
                number = self._tried[name] = self._tried.get(name, -1) + 1
            if number in fail.get(name, ()):
                raise error
            publish(publisher, message)
            with self._lock:
                self._messages.setdefault(name, []).append(deepcopy(message))

        monkeypatch.setattr(Publisher, 'publish', publish_some)

    def of(self, name):
        with self._lock:
            return list(self._messages.get(name, ()))


def running(make, *parameters, **named):
    overrides = [Parameter(name, value=value) for name, value in parameters]
    return spinning(
        lambda context: make(context=context, parameter_overrides=overrides, **named),
        lambda node: MultiThreadedExecutor(4, context=node.context),
    )


class Pointing:
    def answer(self, image, question, should_stop):
        return Answer('here', (ImagePoint(50.0, 40.0, 'cup'),), None, False)

    def close(self):
        pass


def test_a_viewer_sees_the_rest_of_an_answer(monkeypatch, frame):
    sent = Sent(monkeypatch, RCLError('cannot publish data'), markers={0}, annotated_image={1})
    with (
        running(lambda **named: PointQueryNode(lambda _: Pointing(), **named), namespace='unsent'),
        PointQueryClient('unsent') as client,
    ):
        assert client.wait_until_ready(60)
        for number in (1, 2):
            assert client.ask('cup', frame=frame).points
            Caller.wait_for(lambda number=number: len(sent.of('waypoints')) == number)
        Caller.wait_for(lambda: sent.of('markers') and sent.of('annotated_image'))


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """A third of a second of a board before a RealSense."""
    path = tmp_path_factory.mktemp('realsense') / 'board.db3'
    camera = CameraModel(160, 120, np.array([[120.0, 0, 80], [0, 120.0, 60], [0, 0, 1]]))
    color, counts = np.full((120, 160, 3), 90, np.uint8), np.full((120, 160), 600, np.uint16)
    record(path, [(color, counts)] * 10, camera, camera, np.eye(4), 0.001)
    return path


@pytest.mark.parametrize('error', [RCLError('cannot publish data'), ValueError('not foreseen')])
def test_a_realsense_goes_on_publishing(error, monkeypatch, recording):
    """Its thread ended, and with it all images, until somebody started the node again."""
    monkeypatch.setattr(realsense_camera, '_RETRY_S', 0.1)
    sent = Sent(monkeypatch, error, tf_static={0}, image={0, 3}, camera_info={1})
    with running(RealSenseCameraNode, ('recording', str(recording)), namespace='unsent_camera'):
        Caller.wait_for(lambda: len(sent.of('depth_camera_info')) > 5)
    assert sent.of('tf_static')
    if isinstance(error, RCLError):  # of these frames there is all the rest
        images = [message.header.stamp for message in sent.of('image')]
        alone = [one for one in sent.of('depth') if one.header.stamp not in images]
        assert len(alone) >= 2


def test_where_a_camera_stands_is_told_again(monkeypatch):
    """Another table is seen from elsewhere: with the old pose all positions would be wrong."""
    sent = Sent(monkeypatch, RCLError('cannot publish data'), tf_static={0, 2, 3}, image={2})
    small = [('width', 160), ('height', 120), ('rate', 20.0)]
    with running(TabletopCameraNode, *small, namespace='unsent_table') as camera:
        Caller.wait_for(lambda: sent.of('image') and len(sent.of('depth')) > 3)
        camera.set_parameters([Parameter('seed', value=7)])
        Caller.wait_for(lambda: len(sent.of('tf_static')) == 2)
    first, second = (message.transforms[0].transform for message in sent.of('tf_static'))
    assert first != second
    images = [message.header.stamp for message in sent.of('image')]
    assert any(one.header.stamp not in images for one in sent.of('depth'))


class Calls:
    """Counts what services are asked, and has the calls numbered in `fail` fail."""

    def __init__(self, monkeypatch, fail=()):
        self.count, self._fail, self._call = 0, fail, Client.call_async
        monkeypatch.setattr(Client, 'call_async', self._counted(self._call))

    def _counted(self, call):
        def counted(client, request):
            self.count += 1
            if self.count - 1 in self._fail:
                raise RCLError('cannot send request')
            return call(client, request)

        return counted


def test_a_question_that_cannot_be_sent_at_once_is_sent_a_moment_later(client_of, monkeypatch):
    client = client_of('lonely')
    calls = Calls(monkeypatch, fail={0, 1})
    assert client.ask('at 1 1', timeout=20).status is Status.NO_FRAME
    assert calls.count == 3


def test_a_node_is_found_ready_though_it_cannot_be_asked_at_once(client_of, monkeypatch):
    """A bridge between domains shows neither its name nor its diagnostics: it is asked."""
    client_of('lonely')
    monkeypatch.setattr(EngineWatch, '_find_servers', lambda watch: None)
    calls = Calls(monkeypatch, fail={0})
    with PointQueryClient('lonely') as client:
        assert client.wait_until_ready(60) and calls.count > 1


def test_a_standing_question_whose_calls_cannot_be_sent_ends_all_the_same(client_of, monkeypatch):
    """It raised out of `with`, and went on being heard for as long as the process lived."""
    client, ended = client_of('lonely'), []
    destroy = Node.destroy_subscription
    watch = client.watch('at 1 1', lease=0.3)
    monkeypatch.setattr(
        Node, 'destroy_subscription', lambda node, one: ended.append(destroy(node, one))
    )
    calls = Calls(monkeypatch, fail=range(10_000))
    Caller.wait_for(lambda: calls.count > 1)
    watch.close()
    assert ended == [True]


def test_a_lease_of_the_node_s_own_is_renewed_no_more_often_than_another(client_of, monkeypatch):
    """With a lease of 0 the client asked without a pause."""
    client = client_of('lonely')
    with client.watch('at 1 1', lease=0):
        calls = Calls(monkeypatch)
        time.sleep(1.0)
        assert calls.count < 5


def test_a_node_whose_model_hangs_is_seen_whatever_can_be_sent(monkeypatch):
    """The watchdog looked after it had published, and did not where that failed."""
    sent = Sent(monkeypatch, RCLError('cannot publish data'), diagnostics=range(10_000))
    looked = threading.Event()
    monkeypatch.setattr(diagnostics, 'why_dead', lambda *_: looked.set())
    with running(
        lambda **named: PointQueryNode(lambda _: Pointing(), **named),
        ('diagnostics_period', 0.1),
        namespace='unsent_watchdog',
    ):
        assert looked.wait(30) and not sent.of('diagnostics')
