# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node at its start, and where streams are late, missing, or not what they should be."""

import itertools
import re
import signal
import subprocess
import sys
import threading
import time
from array import array

import cv2
import numpy as np
import pytest
from molmo_ros.srv import PointQuery
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient, ServiceUnavailable
from molmo_ros.ros.conversions import depth_message
from molmo_ros.ros.messages import stamp_message
from molmo_ros.ros.qos import LATCHED
from molmo_ros.spatial import LiftStatus


def ask_until(client, query, accept, **kwargs):
    """Ask again while discovery and the first messages take their time."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        answered = client.ask(query, **kwargs)
        if accept(answered):
            return answered
        time.sleep(0.05)
    pytest.fail(f'last: {answered.status.name}, {answered.message}')


def start_running(client, query):
    """Start a question and wait until the engine is at it."""
    running = threading.Event()
    asked = client.start(
        query, on_feedback=lambda stage, _: running.set() if stage == 'engine' else None
    )
    assert running.wait(60)
    return asked


def test_starting_the_node_imports_no_torch():
    code = 'import sys, molmo_ros.ros.point_query_node; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_streams_that_are_missing_are_named(client_of, wall_camera):
    client = client_of('lonely')
    answered = client.ask('at 80 60')
    assert answered.status is Status.NO_FRAME
    assert 'nobody publishes /lonely/image' in answered.message
    with wall_camera('lonely', ['image']):
        answered = ask_until(client, 'at 80 60', lambda a: a.status is not Status.NO_FRAME)
        assert answered.points[0].surface.status is LiftStatus.NO_CAMERA_INFO
        assert 'nobody publishes /lonely/camera_info' in answered.message
    with wall_camera('lonely', ['image', 'camera_info']):
        answered = ask_until(client, 'at 80 60', lambda a: 'NO_DEPTH' in a.message)
        assert answered.points[0].image.u == 80
        assert answered.points[0].surface.status is LiftStatus.NO_DEPTH
        assert 'nobody publishes /lonely/depth' in answered.message
    answered = ask_until(client, 'at 80 60', lambda a: a.status is Status.NO_FRAME)
    assert 's old' in answered.message


def test_unreadable_images_and_unaligned_depth_are_told_apart(client_of, wall_camera):
    client = client_of('lonely')
    with wall_camera('lonely') as camera:
        ask_until(client, 'at 80 60', lambda a: a.points and a.message == '')
        half = depth_message(np.ones((60, 80), np.float32), '16UC1', Header(frame_id='imager'))
        camera.messages['depth'] = half
        answered = ask_until(client, 'at 80 60', lambda a: "'imager'" in a.message)
        assert answered.points[0].surface.status is LiftStatus.NO_DEPTH
        assert 'depth_aligned' in answered.message
        assert '/lonely/depth_camera_info' in answered.message
        camera.messages['image'].encoding = 'infrared'
        answered = ask_until(client, 'at 80 60', lambda a: a.status is not Status.SUCCESS)
        assert answered.status is Status.NO_FRAME and "'infrared'" in answered.message
        camera.messages['image'].encoding = 'rgb8'
        ask_until(client, 'at 80 60', lambda a: a.status is Status.SUCCESS)


def test_depth_of_another_frame_and_the_same_size_is_taken_as_aligned_and_this_is_said(
    client_of, wall_camera
):
    """As from drivers that align depth and leave its frame as it was."""
    client = client_of('lonely')
    with wall_camera('lonely') as camera:
        camera.messages['depth'].header = Header(frame_id='stereo_optical_frame')
        answered = ask_until(client, 'at 80 60', lambda a: a.assumed and a.message == '')
        assert answered.points[0].surface.status is LiftStatus.OK
        # On a loaded machine a calibration that is late may be named beside it.
        (assumed,) = (one for one in answered.assumed if 'depth_aligned' in one)
        assert "'stereo_optical_frame'" in assumed
        # Half a metre off it cannot be of the same device.
        apart = (0.0, 0.5, 0.0), (0.0, 0.0, 0.0, 1.0)
        camera.stand('wrist_optical_frame', *apart, 'stereo_optical_frame')
        answered = ask_until(client, 'at 80 60', lambda a: 'stereo_optical' in a.message)
        assert answered.points[0].surface.status is LiftStatus.NO_DEPTH
        assert answered.assumed == ()


def test_depth_that_has_a_calibration_of_its_own_is_not_taken_as_aligned(client_of, wall_camera):
    """The camera_info beside it says so, though nobody remapped it."""
    client = client_of('beside')
    with wall_camera('beside', ['image', 'camera_info']) as camera:
        camera.node.create_publisher(CameraInfo, 'imager/camera_info', 10)
        images = camera.node.create_publisher(Image, 'imager/image', 10)
        depth = camera.messages['depth']

        def publish_and_see(answered):
            stamp = stamp_message(max(camera.stamps))
            depth.header = Header(stamp=stamp, frame_id='imager_optical_frame')
            images.publish(depth)
            return 'imager_optical_frame' in answered.message

        answered = ask_until(client, 'at 80 60', publish_and_see)
        assert answered.points[0].surface.status is LiftStatus.NO_DEPTH
        assert 'remap it to /beside/imager/camera_info' in answered.message


def test_the_unit_and_the_alignment_of_depth_are_as_parameters_say(client_of, wall_camera):
    """A fifth of a millimetre a step, under the name of the depth camera's frame."""
    client = client_of('fifths')
    with wall_camera('fifths') as camera:
        camera.messages['depth'].header = Header(frame_id='stereo_optical_frame')
        answered = ask_until(client, 'at 80 60', lambda a: a.points and a.message == '')
        assert answered.points[0].surface.position[2] == pytest.approx(0.25, abs=1e-4)
        assert answered.assumed == ()


def test_a_depth_far_from_what_cameras_see_is_told_with_a_likely_unit(client_of, wall_camera):
    client = client_of('lonely')
    with wall_camera('lonely') as camera:
        depth = np.full((120, 160), 31.4, np.float32)
        camera.messages['depth'].data = depth_message(depth, '16UC1', Header()).data
        answered = ask_until(client, 'at 80 60', lambda a: 'median depth' in a.message)
        assert 'depth_unit' in answered.message and '0.1mm' in answered.message


def test_a_black_picture_is_told_even_if_nothing_was_found(client_of, wall_camera):
    client = client_of('lonely')
    with wall_camera('lonely', ['image']) as camera:
        image = camera.messages['image']
        image.data = array('B', bytes(len(image.data)))
        answered = ask_until(client, 'absent', lambda a: 'black' in a.message)
        assert answered.status is Status.NO_POINTS


def test_one_scale_holds_for_all_images_of_a_camera(client_of, wall_camera):
    """Once a camera has used 12 bits, its darker images are not shown brighter than they are."""
    client = client_of('fifths')
    with wall_camera('fifths', ['image']) as camera:

        def show(largest):
            pixels = np.full((120, 160), largest, '<u2')
            camera.messages['image'] = Image(
                height=120,
                width=160,
                step=320,
                encoding='mono16',
                data=array('B', pixels.tobytes()),
            )

        # 255 is white alone, with 8 bits, and one of the darkest greys with 12.
        show(255)
        ask_until(client, 'absent', lambda a: 'nothing' in a.message and 'black' not in a.message)
        brightness = itertools.cycle([3000] * 5 + [255] * 5)
        ask_until(client, 'absent', lambda a: show(next(brightness)) or 'black' in a.message)


@pytest.mark.parametrize('namespace', ['lonely', 'apart'])
def test_depth_of_another_camera_is_registered(client_of, wall_camera, namespace):
    """By what /tf says, or the parameter depth_pose where the node has one: nobody else does."""
    client = client_of(namespace)
    streams = ['image', 'depth', 'camera_info', 'depth_camera_info']
    with wall_camera(namespace, streams) as camera:
        frame = f'{namespace}_imager'
        if namespace == 'lonely':
            camera.stand('wrist_optical_frame', (0.05, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), frame)
        camera.messages['depth'].header = Header(frame_id=frame)
        # A slanted wall, z = 1.25 + 0.2 x for the imager: an unregistered one would be 1 cm off.
        z = 1.25 / (1 - 0.2 * (np.arange(160) - 79.5) / 100)
        depth = np.tile(z.astype(np.float32), (120, 1))
        camera.messages['depth'].data = depth_message(depth, '16UC1', Header()).data
        answered = ask_until(client, 'at 80 60', lambda a: a.points and a.message == '')
        x, _, z = answered.points[0].surface.position
        assert z == pytest.approx(1.25 + 0.2 * (x - 0.05), abs=2e-3)
        assert x == pytest.approx(0.0, abs=2e-3)
        # It has the calibration of the image, as aligned depth has; depth_pose says that it is not.
        told = [sentence for sentence in answered.assumed if 'depth_aligned' in sentence]
        assert len(told) == (1 if namespace == 'lonely' else 0)


def test_depth_that_never_matches_is_named_with_its_offset_and_rate(
    client_of, wall_camera, listening
):
    """As from a camera whose depth trails: each stream is fine, together they are not."""
    client = client_of('trailing')
    late = wall_camera('trailing', ['depth'])
    name = 'trailing/molmo_point_query'
    with wall_camera('trailing', ['image', 'camera_info']) as camera, listening() as listener:

        def publish_late():
            """Some half a second late, and between two images: at their rate most would match."""
            stamps = sorted(camera.stamps.copy())
            if len(stamps) > 11:
                late.publish((stamps[-11] + stamps[-10]) // 2)

        def accept(answered):
            publish_late()
            return answered.points and 'sync_slop' in answered.message

        answered = ask_until(client, 'at 80 60', accept)
        assert answered.points[0].surface.status is LiftStatus.NO_DEPTH
        # At least what it was published late by; a busy machine adds to that.
        offset_told = re.search(r'/trailing/depth: .* is (-[0-9.]+) s off', answered.message)
        assert offset_told is not None and float(offset_told.group(1)) < -0.4

        def offset(status, values):
            publish_late()
            apart = float(values.get('offset to image (s)', 'nan'))
            return -0.8 < apart < -0.3 and float(values['rate (Hz)']) > 0

        listener.wait_for(f'{name}: depth', offset)
        listener.wait_for(
            f'{name}: depth_camera_info',
            lambda status, _: 'nobody publishes /trailing/depth_camera_info' in status.message,
        )
        listener.wait_for(
            f'{name}: image',
            lambda status, _: status.level == status.OK and 'arriving at' in status.message,
        )
        late.close()
        listener.wait_for(
            f'{name}: depth',
            lambda status, _: (
                status.level == status.WARN
                and 'nothing for' in status.message
                and 'nobody publishes /trailing/depth' in status.message
            ),
        )


def test_a_publisher_whose_qos_does_not_fit_is_named(client_of, wall_camera):
    client = client_of('deaf')
    with wall_camera('deaf'):
        answered = ask_until(client, 'at 80 60', lambda a: 'camera on /deaf/image' in a.message)
        assert answered.status is Status.NO_FRAME
        assert 'best effort publisher' in answered.message and 'qos.image' in answered.message


def test_a_model_that_loads_says_so_and_then_answers(special_nodes, wall_camera):
    expected, told = ('loading: reading the weights', 0.4), []

    def on_progress(what, share):
        # Where diagnostics come late the node is asked meanwhile, which says it in other words.
        told.append((what, share))
        if told[-1] == expected:
            special_nodes.touch()

    with wall_camera('slow'), PointQueryClient('slow') as client:
        answered = client.ask('at 80 60', timeout=60)
        assert answered.status is Status.NOT_READY
        assert 'reading the weights, 40%' in answered.message
        assert client.wait_until_ready(120, on_progress)
        assert expected in told
        ask_until(client, 'at 80 60', lambda a: a.status is Status.SUCCESS)


def test_a_model_that_cannot_be_loaded_says_why(client_of):
    client = client_of('broken')
    assert client.engine_state == 'failed: no such checkpoint: set the parameter checkpoint'
    answered = client.ask('at 80 60')
    assert answered.status is Status.NOT_READY and 'no such checkpoint' in answered.message


def test_a_node_without_room_says_busy_to_the_second(client_of, wall_camera):
    client = client_of('single')
    with wall_camera('single'):
        ask_until(client, 'at 80 60', lambda a: a.status is Status.SUCCESS)
        asked = start_running(client, 'slow 30')
        answered = client.ask('at 80 60')
        assert answered.status is Status.BUSY and 'max_waiting' in answered.message
        asked.cancel()
        assert asked.result(60).status is Status.CANCELED


def test_compressed_images_are_read(client_of, wall_camera, frame):
    client = client_of('small')
    camera = wall_camera('small', ['depth', 'camera_info'])
    publisher = camera.node.create_publisher(CompressedImage, 'image/compressed', 10)
    _, png = cv2.imencode('.png', frame.color)
    data = array('B', png.tobytes())

    def publish_and_see(answered):
        stamp = camera.node.get_clock().now().nanoseconds
        camera.publish(stamp)
        header = Header(stamp=stamp_message(stamp), frame_id='wrist_optical_frame')
        publisher.publish(CompressedImage(header=header, format='png', data=data))
        return answered.points and answered.points[0].surface.status is LiftStatus.OK

    ask_until(client, 'at 80 60', publish_and_see)
    camera.close()


def test_a_calibration_published_once_before_the_node_came_is_used_and_said(node, wall_camera):
    with wall_camera('patient', ['image', 'depth']) as camera:
        once = camera.node.create_publisher(CameraInfo, 'camera_info', LATCHED)
        camera.messages['camera_info'].header.stamp = stamp_message(1_600_000_000_000_000_000)
        once.publish(camera.messages['camera_info'])
        with node('-r', '__ns:=/patient'), PointQueryClient('patient') as client:
            assert client.wait_until_ready(120)
            answered = ask_until(client, 'at 80 60', lambda a: a.points and a.message == '')
            assert answered.points[0].surface.status is LiftStatus.OK
            (said,) = answered.assumed
            assert '/patient/camera_info' in said and "off the image's stamp" in said


def test_an_image_of_a_body_frame_is_warned_of_and_the_parameter_mends_it(client_of, wall_camera):
    """As from a simulator: the camera stands level 0.3 m before and 0.6 m above the chassis."""
    for namespace, ahead in (('lonely', False), ('simulated', True)):
        client = client_of(namespace)
        with wall_camera(namespace) as camera:
            camera.stand('chassis', (0.3, 0.0, 0.6), (0.0, 0.0, 0.0, 1.0), '/eye_link')
            camera.stand('/eye_link', (0.0, 0.0, 0.0), (-0.5, 0.5, -0.5, 0.5), 'eye_optical')
            for name in ('image', 'depth', 'camera_info'):
                camera.messages[name].header = Header(frame_id='/eye_link')

            def accept(answered, wanted="'eye_optical'" if namespace == 'lonely' else ''):
                in_space = answered.points and answered.points[0].surface.status is LiftStatus.OK
                # Until its own calibration is there, that of an earlier camera is used and named.
                return in_space and wanted in answered.message and not answered.assumed

            answered = ask_until(client, 'at 80 60', accept, target_frame='/chassis')
            position = answered.points[0].surface.position
            is_ahead = np.allclose(position, [0.3 + 1.25, 0, 0.6], atol=2e-3)
            assert is_ahead == ahead and answered.frame_id == 'chassis'
            assert ('set optical_frame' in answered.message) != ahead
            own = client.ask('at 80 60')
            assert own.frame_id == ('eye_optical' if ahead else 'eye_link')
            assert ('body frame' in own.message) != ahead


def test_a_frame_of_which_nothing_is_known_is_taken_as_optical_where_that_matters(
    client_of, wall_camera
):
    client = client_of('lonely')
    with wall_camera('lonely') as camera:
        camera.stand('bench', (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), 'spy')
        for name in ('image', 'depth', 'camera_info'):
            camera.messages[name].header = Header(frame_id='spy')
        # Until its own calibration is there, that of an earlier camera is used and named as well.
        told = ask_until(
            client, 'at 80 60', lambda a: a.points and len(a.assumed) == 1, target_frame='bench'
        )
        assert "'spy' of the image is taken as optical" in told.assumed[0] and told.message == ''
        assert client.ask('at 80 60').assumed == ()


def test_simulated_time_counts_and_may_start_again(client_of, wall_camera):
    client = client_of('sim')
    camera = wall_camera('sim')
    clock = camera.node.create_publisher(Clock, '/clock', 10)

    def seen_at(seconds):
        """The frame 'hand' is carried along the camera's x axis, by one metre a hundred seconds."""

        def accept(answered):
            stamp = int(seconds * 1e9)
            clock.publish(Clock(clock=stamp_message(stamp)))
            for near in (stamp - 100_000_000, stamp + 100_000_000):
                camera.carry(near * 1e-11, near, 'hand')
            camera.publish(stamp)
            return answered.message == '' and answered.stamp_ns == seconds * 1e9

        answered = ask_until(client, 'at 80 60', accept, target_frame='hand')
        assert answered.points[0].surface.position[0] == pytest.approx(-seconds / 100, abs=2e-3)

    seen_at(1000.0)
    # The recording starts again: what was kept lies in the future now, and is forgotten.
    seen_at(10.0)
    # A transform that was on its way meanwhile does not keep out those that follow it.
    camera.carry(10.0, int(1000.05e9), 'hand')
    seen_at(11.0)

    def refused(answered):
        clock.publish(Clock(clock=stamp_message(int(16e9))))
        return answered.status is Status.NO_FRAME

    assert '5.000 s old' in ask_until(client, 'at 80 60', refused).message
    camera.close()


def test_simulated_time_without_a_clock_is_named(node, wall_camera, listening):
    """A node set to a simulator's time while nobody publishes it: every image is of the future."""
    arguments = ['-r', '__ns:=/timeless', '-p', 'frame_wait:=0.2', '-p', 'use_sim_time:=true']
    with (
        node(*arguments),
        wall_camera('timeless'),
        PointQueryClient('timeless') as client,
        listening() as listener,
    ):
        assert client.wait_until_ready(120)
        answered = ask_until(client, 'at 80 60', lambda a: 'in the future' in a.message)
        assert answered.status is Status.NO_FRAME
        assert 'use_sim_time is set but /clock' in answered.message
        listener.wait_for(
            'timeless/molmo_point_query: clock',
            lambda status, _: status.level == status.ERROR and '/clock' in status.message,
        )


def test_whoever_waits_at_shutdown_is_answered_however_often_it_is_told(node, wall_camera):
    with PointQueryClient('ending') as client, wall_camera('ending'):
        with node('-r', '__ns:=/ending') as process:
            assert client.wait_until_ready(120)
            ask_until(client, 'at 80 60', lambda a: a.status is Status.SUCCESS)
            asked = start_running(client, 'slow 30')
            # Another follows at the end of the block, as from a terminal and a launcher at once.
            process.send_signal(signal.SIGTERM)
        assert asked.result(30).status is Status.CANCELED


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (['-p', 'timeout:=-1.0'], 'timeout is -1.0, not a number from 0.1 to 3600'),
        (['-p', 'image_transport:=pigeon'], 'image_transport'),
        (['-p', 'depth_pose:=sideways'], 'depth_pose'),
        (['-p', 'depth_unit:=furlong'], 'depth_unit'),
        (['--params-file', '/no/such.yaml'], '/no/such.yaml'),
        (['-p', 'timeout'], '-p timeout'),
        (['image:=/left/image'], 'image:=/left/image'),
    ],
)
def test_what_it_cannot_start_with_is_told_in_a_sentence(arguments, named):
    ended = subprocess.run(
        [sys.executable, '-m', 'molmo_ros.ros.point_query_node', '--ros-args', *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1 and 'Traceback' not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith('cannot start: ') and named in last and '.c:' not in last


def test_a_client_without_a_node_says_where_to_look():
    with (
        PointQueryClient('nobody_here') as client,
        pytest.raises(ServiceUnavailable, match='/nobody_here/point_query'),
    ):
        client.ask('at 80 60', timeout=0.2)


def test_the_statuses_are_those_of_the_interface():
    for status in Status:
        assert getattr(PointQuery.Response, status.name) == status
