# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes in processes of their own, a camera, and somebody to ask: all over DDS."""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from copy import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from molmo_ros.srv import PointQuery
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from molmo_ros.grounding.frame import Frame
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.conversions import camera_info_message, color_message, depth_message
from molmo_ros.ros.messages import stamp_message
from molmo_ros.ros.point_query_node import make_executor
from molmo_ros.ros.spinning import Spinner
from molmo_ros.spatial import CameraModel

WIDTH, HEIGHT, FOCAL, DISTANCE = 160, 120, 100.0, 1.25
OPTICAL = 'wrist_optical_frame'
HERE = Path(__file__).parent


def camera_model():
    return CameraModel(WIDTH, HEIGHT, np.array([[FOCAL, 0, 79.5], [0, FOCAL, 59.5], [0, 0, 1.0]]))


@pytest.fixture(scope='session')
def frame():
    """A frame of the wall."""
    color = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    depth = np.full((HEIGHT, WIDTH), DISTANCE, np.float32)
    return Frame(color, depth, camera_model(), 5_000_000_123, OPTICAL)


class WallCamera:
    """Publishes a wall at 20 Hz, and where the camera stands on /tf_static."""

    def __init__(
        self, frame, namespace='', streams=('image', 'depth', 'camera_info'), depth_as='16UC1'
    ):
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('camera', namespace=namespace, context=self._context)
        header = Header(frame_id=OPTICAL)
        self.messages = {
            'image': color_message(frame.color, header),
            'depth': depth_message(frame.depth, '16UC1', header),
            'camera_info': camera_info_message(frame.camera, header),
            'depth_camera_info': camera_info_message(frame.camera, Header(frame_id=OPTICAL)),
        }
        kinds = {'image': Image, 'depth': Image}
        self._publishers = {
            name: self.node.create_publisher(
                kinds.get(name, CameraInfo), name, qos_profile_sensor_data
            )
            for name in streams
        }
        self.stamps = set()
        self._moving = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def publish(self, stamp_ns=None):
        stamp = self.node.get_clock().now().nanoseconds if stamp_ns is None else stamp_ns
        self.stamps.add(stamp)
        for name, publisher in self._publishers.items():
            # A copy: a test may put another message, or header, in place of this one meanwhile.
            message = copy(self.messages[name])
            message.header = Header(stamp=stamp_message(stamp), frame_id=message.header.frame_id)
            publisher.publish(message)

    def stand(self, parent, xyz, quaternion, child=OPTICAL):
        """Say on /tf_static where the camera stands."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publisher = self.node.create_publisher(TFMessage, '/tf_static', latched)
        pose = TransformStamped(child_frame_id=child)
        pose.header.frame_id = parent
        pose.transform.translation.x, pose.transform.translation.y, pose.transform.translation.z = (
            xyz
        )
        rotation = pose.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = quaternion
        publisher.publish(TFMessage(transforms=[pose]))

    def carry(self, x, stamp_ns, child):
        """Say on /tf where a frame was then, x metres before the camera's optical frame."""
        if self._moving is None:
            self._moving = self.node.create_publisher(TFMessage, '/tf', 100)
        pose = TransformStamped(child_frame_id=child)
        pose.header.frame_id, pose.header.stamp = OPTICAL, stamp_message(stamp_ns)
        pose.transform.translation.x, pose.transform.rotation.w = float(x), 1.0
        self._moving.publish(TFMessage(transforms=[pose]))

    def _run(self):
        while not self._stop.wait(0.05):
            self.publish()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        self.close()

    def close(self):
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@pytest.fixture(scope='session')
def wall_camera(frame):
    """Makes a camera before the wall; publishes while it is entered."""
    return lambda *args, **kwargs: WallCamera(frame, *args, **kwargs)


@contextmanager
def running(*command):
    """A process that must end cleanly when it is interrupted.

    It hears SIGINT, with all that it starts, even if this one runs in the background of a script.
    """
    process = subprocess.Popen(
        [sys.executable, *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, errors
    assert 'Traceback' not in errors and 'terminate called' not in errors, errors


@pytest.fixture(scope='session')
def run():
    """Runs a Python command as a process of its own."""
    return running


@pytest.fixture(scope='session')
def node():
    """Runs the node with the scripted engine: node(*ros_arguments, options=())."""

    def start(*ros_arguments, options=()):
        script = str(HERE / 'scripted_node.py')
        return running(script, *options, '--ros-args', *KNOWN_NOISE, *ros_arguments)

    return start


# Else every answer says whose noise was taken.
KNOWN_NOISE = ['-p', 'noise.stereo.disparity_sigma:=0.081']
SPECIAL = {
    'lonely': [],
    'table': [],
    'depthcam': [],
    'aligned': [],
    'deaf': ['-p', 'qos.image:=reliable'],
    'single': ['-p', 'max_waiting:=0'],
    'small': ['-p', 'image_transport:=compressed'],
    'sim': ['-p', 'use_sim_time:=true'],
    'apart': ['-p', 'depth_pose:=0.05 0 0 0 0 0 1'],
    'picking': ['-p', 'waypoint_from:=object', '-p', 'waypoint_standoff:=0.1'],
    'upright': ['-p', 'waypoint_from:=object', '-p', 'grasp.up_frame:=gravity'],
    'trailing': [],
    'simulated': ['-p', 'optical_frame:=/eye_optical'],
    'renamed': ['-r', '__node:=left_pointer'],
    'elsewhere': ['-r', '/diagnostics:=/elsewhere/diagnostics'],
    'otherwise': ['-r', 'point_query:=find'],
    'silent': ['-p', 'diagnostics_period:=60.0'],
    'mute': ['-p', 'diagnostics_period:=60.0'],
    'fifths': ['-p', 'depth_unit:=0.0002', '-p', 'depth_aligned:=true'],
    'beside': ['-r', 'depth:=imager/image'],
    'broken': [],
    'slow': [],
}


@pytest.fixture(scope='session')
def special_nodes(tmp_path_factory):
    """Nodes, each in a namespace of its name, with what SPECIAL says; 'broken' and
    'mute' cannot load their model, 'slow' loads until the file is there that this fixture is."""
    loaded = tmp_path_factory.mktemp('slow') / 'loaded'
    options = {'broken': ['--broken'], 'mute': ['--broken'], 'slow': ['--after', str(loaded)]}
    common = [*KNOWN_NOISE, '-p', 'frame_wait:=0.3']
    several = [
        (options.get(name, []), [*common, '-r', f'__ns:=/{name}', *arguments])
        for name, arguments in SPECIAL.items()
    ]
    with running(str(HERE / 'scripted_node.py'), '--several', json.dumps(several)):
        yield loaded


@pytest.fixture
def client_of(special_nodes):
    """Makes clients of special nodes, once these are ready."""
    with ExitStack() as stack:

        def make(namespace):
            client = stack.enter_context(PointQueryClient(namespace))
            assert client.wait_until_ready(120) or namespace == 'broken'
            return client

        yield make


@pytest.fixture(scope='session')
def asking(node, wall_camera):
    """A client of a node that sees the wall. The camera stands at (1, 2, 3) in 'base', turned
    half a turn about its x axis."""
    # Few may wait, so that a room is filled soon. The wall stands still, and a busy machine may
    # starve its camera for longer than an image counts as new.
    settings = ('-p', 'max_waiting:=3', '-p', 'max_frame_age:=10.0')
    with node(*settings), wall_camera() as camera, PointQueryClient() as client:
        camera.stand('base', (1.0, 2.0, 3.0), (1.0, 0.0, 0.0, 0.0))
        client.camera = camera
        assert client.wait_until_ready(120), 'the node did not come up'
        Caller.wait_for(lambda: client.ask('at 80 60').message == '')
        yield client


class Caller:
    """Sends requests as they are, of PointQuery unless another service is named."""

    def __init__(self, namespace='', kind=PointQuery, service='point_query'):
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = Node('caller', namespace=namespace, context=self._context)
        self._client = self.node.create_client(kind, service)
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self.node)
        self._spinner = Spinner(executor)

    def send(self, request):
        assert self._client.wait_for_service(30)
        return self._client.call_async(request)

    def call(self, request):
        future = self.send(request)
        self.wait_for(future.done)
        return future.result()

    @staticmethod
    def wait_for(condition, seconds=60.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, 'it never happened'
            time.sleep(0.005)

    def close(self):
        self._spinner.close()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@pytest.fixture(scope='session')
def caller(asking):
    caller = Caller()
    yield caller
    caller.close()


@pytest.fixture
def picking_caller(client_of, asking):
    """Asks a node whose waypoints go by objects, and which knows where 'base' is."""
    client_of('picking')
    caller = Caller('picking')
    yield caller
    caller.close()


@pytest.fixture
def request_about(frame):
    """A request that brings its own frame."""

    def make(query='at 80 60', depth_as='32FC1'):
        header = Header(stamp=stamp_message(frame.stamp), frame_id=OPTICAL)
        return PointQuery.Request(
            query=query,
            image=color_message(frame.color, header),
            depth=depth_message(frame.depth, depth_as, header),
            camera_info=camera_info_message(frame.camera, header),
        )

    return make


class Listener:
    """What the nodes say on /diagnostics, by name: level, message and values."""

    def __init__(self):
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node('listener', context=self._context)
        self._said = {}
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._hear, 50)

    def _hear(self, message):
        for status in message.status:
            self._said[status.name] = status

    def wait_for(self, name, accept):
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
            status = self._said.get(name)
            if status is not None:
                values = {pair.key: pair.value for pair in status.values}
                if accept(status, values):
                    return
        pytest.fail(f'never said of {name}; last: {self._said.get(name)}')

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@pytest.fixture(scope='session')
def listening():
    """Makes listeners to /diagnostics."""
    return Listener


@contextmanager
def spinning(make, executor_of=make_executor):
    """A node in this process, made with a context of its own, which spins until it is closed."""
    context = Context()
    rclpy.init(context=context)
    node = make(context)
    executor = executor_of(node)
    executor.add_node(node)
    spinner = Spinner(executor)
    try:
        yield node
    finally:
        node.close()
        spinner.close()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
