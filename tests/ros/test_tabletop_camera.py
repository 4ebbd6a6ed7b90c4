# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rendered camera, as a node, must be what a driver of a real one would be."""

import subprocess
import sys
import time

import numpy as np
import pytest
import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from molmo_ros.ros.answering import Status
from molmo_ros.ros.conversions import camera_model, color_array, depth_array
from molmo_ros.ros.spinning import Spinner
from molmo_ros.tabletop.world import TABLES, make_scene, render

WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope='module')
def camera(run):
    """The camera node, of a small picture, in the namespace 'table'."""
    settings = {'width': WIDTH, 'height': HEIGHT, 'rate': 20, 'depth_encoding': '32FC1'}
    arguments = [word for n, v in settings.items() for word in ('-p', f'{n}:={v}')]
    with run(
        '-m', 'molmo_ros.tabletop.camera_node', '--ros-args', '-r', '__ns:=/table', *arguments
    ):
        yield


class Viewer:
    """Sees what a camera publishes, and changes its table."""

    def __init__(self):
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = Node('viewer', namespace='table', context=self._context)
        self.seen = {}
        for name, kind in [('image', Image), ('depth', Image), ('camera_info', CameraInfo)]:
            self._node.create_subscription(
                kind, name, lambda m, name=name: self._take(name, m), qos_profile_sensor_data
            )
        self._set = self._node.create_client(SetParameters, 'tabletop_camera/set_parameters')
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        self._spinner = Spinner(executor)

    def _take(self, name, message):
        stamp = message.header.stamp
        self.seen.setdefault((stamp.sec, stamp.nanosec), {})[name] = message

    def frame(self):
        """The next frame of which all has come."""
        self.seen.clear()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for frame in list(self.seen.values()):
                if len(frame) == 3:
                    return frame
            time.sleep(0.02)
        pytest.fail('no frame with image, depth and camera_info of one stamp')

    def frame_of(self, picture):
        """The next frame that shows a picture."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            frame = self.frame()
            if np.array_equal(color_array(frame['image']), picture.color):
                return frame
        pytest.fail('another picture is shown')

    def set(self, **values):
        """What the camera says to each new value."""
        assert self._set.wait_for_service(60)
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        messages = [parameter.to_parameter_msg() for parameter in parameters]
        return self._set.call(SetParameters.Request(parameters=messages)).results

    def show(self, seed, table='easy'):
        assert all(result.successful for result in self.set(seed=seed, table=table))

    def close(self):
        self._spinner.close()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@pytest.fixture
def viewer(camera):
    viewer = Viewer()
    yield viewer
    viewer.close()


def test_it_publishes_the_picture_of_its_seed_under_one_stamp(viewer):
    viewer.show(5001)
    picture = render(make_scene(5001), WIDTH, HEIGHT, smooth=True)
    frame = viewer.frame_of(picture)
    assert frame['image'].encoding == 'rgb8' and frame['depth'].encoding == '32FC1'
    # After the namespace, so that two cameras do not say of one frame that it stands twice.
    assert {m.header.frame_id for m in frame.values()} == {'table_camera_color_optical_frame'}
    np.testing.assert_array_equal(depth_array(frame['depth']), picture.depth)
    model = camera_model(frame['camera_info'], (WIDTH, HEIGHT))
    np.testing.assert_allclose(model.K, picture.camera.K)


def test_it_shows_what_is_asked_for_and_refuses_a_table_that_there_is_none_of(viewer):
    viewer.show(5001, 'rich')
    rich = render(make_scene(5001, TABLES['rich']), WIDTH, HEIGHT, smooth=True)
    viewer.frame_of(rich)
    (refused,) = viewer.set(table='round')
    assert not refused.successful
    assert 'round' in refused.reason and 'easy, rich' in refused.reason
    viewer.frame_of(rich)


def test_started_with_a_table_that_there_is_none_of_it_ends_with_the_reason():
    command = [sys.executable, '-m', 'molmo_ros.tabletop.camera_node']
    arguments = ['--ros-args', '-p', 'table:=round', '-p', 'rate:=20']
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode != 0 and 'Traceback' not in result.stderr
    assert "table is 'round', not one of easy, rich" in result.stderr
    assert 'deprecated' not in result.stderr


@pytest.mark.parametrize('seed', [5002, 5003])
def test_what_the_node_lifts_from_it_lies_on_the_table(viewer, client_of, seed):
    viewer.show(seed)
    picture = render(make_scene(seed), WIDTH, HEIGHT)
    table = picture.instances == 0
    # Well inside of the table, as seen: no object and no edge within three pixels.
    inside = [
        (v, u)
        for v, u in zip(*np.nonzero(table), strict=True)
        if table[max(v - 3, 0) : v + 4, max(u - 3, 0) : u + 4].all()
        and 8 < v < HEIGHT - 8
        and 8 < u < WIDTH - 8
    ]
    asked = ' '.join(f'at {u + 0.5} {v + 0.5}' for v, u in inside[:: len(inside) // 10])
    client = client_of('table')
    end = time.monotonic() + 60
    while True:
        answered = client.ask(asked, target_frame='table')
        heights = [abs(point.surface.position[2]) for point in answered.points]
        if answered.status is Status.SUCCESS and heights and max(heights) < 1e-3:
            break
        assert time.monotonic() < end, (answered.message, heights)
        time.sleep(0.05)
    assert answered.frame_id == 'table'
    for point in answered.points:
        np.testing.assert_allclose(point.surface.normal, [0, 0, 1], atol=0.02)
