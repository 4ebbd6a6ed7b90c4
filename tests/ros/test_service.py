# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What somebody gets who asks the node, which runs in a process of its own."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from molmo_ros.srv import PointQuery
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from molmo_ros.pointing.prompts import Mode
from molmo_ros.ros.answering import Status
from molmo_ros.spatial import LiftStatus

DISTANCE, OPTICAL = 1.25, 'wrist_optical_frame'


def on_the_wall(u, v):
    return DISTANCE * np.array([(u - 80) / 100, (v - 60) / 100, 1.0])


def assert_still_answers(asking):
    assert asking.ask('at 80 60').status is Status.SUCCESS


def test_a_point_is_in_metres_where_the_camera_saw_it(asking):
    answered = asking.ask('at 100 30')
    assert answered.status is Status.SUCCESS and answered.message == ''
    assert answered.frame_id == OPTICAL and answered.stamp_ns in asking.camera.stamps
    (point,) = answered.points
    assert (point.image.u, point.image.v, point.image.label) == (100, 30, 'thing at 100')
    assert (point.image.confidence, point.image.spread) == (0.5, 6.25)
    assert point.surface.status is LiftStatus.OK
    np.testing.assert_allclose(point.surface.position, on_the_wall(100, 30), atol=2e-3)
    np.testing.assert_allclose(point.surface.normal, [0, 0, -1], atol=0.05)
    assert np.all(np.linalg.eigvalsh(point.surface.covariance) > 0)
    assert point.surface.valid_pixels > 0
    assert answered.count == 1 and answered.answer == 'said so'
    assert {'frame', 'transform', 'vision', 'decode', 'lift'} <= set(answered.stage_times)


def test_an_answer_that_was_cut_off_says_so(asking):
    """A robot that picks all of them would leave some, and take the table to be clear."""
    answered = asking.ask('cut 100 30')
    assert answered.status is Status.SUCCESS and len(answered.points) == 1
    assert 'points may be missing' in answered.message


def test_the_target_frame_is_reached_through_tf_static(asking):
    answered = asking.ask('at 100 30', target_frame='base')
    assert answered.frame_id == 'base' and answered.stamp_ns in asking.camera.stamps
    x, y, z = on_the_wall(100, 30)
    (point,) = answered.points
    np.testing.assert_allclose(point.surface.position, [1 + x, 2 - y, 3 - z], atol=2e-3)
    np.testing.assert_allclose(point.surface.normal, [0, 0, 1], atol=0.05)
    (pose,) = answered.waypoints.poses
    assert answered.waypoints.header.frame_id == 'base'
    q = np.array([getattr(pose.orientation, axis) for axis in 'xyzw'])
    assert np.linalg.norm(q) == pytest.approx(1)
    # Its z axis goes into the wall, which is down in 'base'.
    assert 1 - 2 * (q[0] ** 2 + q[1] ** 2) == pytest.approx(-1, abs=0.01)


def test_an_unknown_target_frame_costs_the_3d_and_not_the_pixel(asking):
    answered = asking.ask('at 100 30', target_frame='nowhere')
    assert answered.status is Status.SUCCESS and answered.frame_id == 'nowhere'
    (point,) = answered.points
    assert (point.image.u, point.image.v) == (100, 30)
    assert point.surface.status is LiftStatus.NO_TRANSFORM
    assert "'nowhere'" in point.surface.reason and 'base' in point.surface.reason
    assert np.all(np.isnan(point.surface.position)) and not answered.waypoints.poses


def test_points_come_in_order_and_no_more_than_asked_for(asking):
    answered = asking.ask('at 10 20 at 30 40 at 50 60', max_points=2)
    assert [point.image.u for point in answered.points] == [10, 30]
    assert len(answered.waypoints.poses) == 2


def test_nothing_to_point_at_is_an_answer(asking):
    answered = asking.ask('absent')
    assert answered.status is Status.NO_POINTS and 'said so' in answered.message
    assert answered.count == 0 and not answered.points


@pytest.mark.parametrize(('query', 'belief'), [('at 100 30', 0.75), ('absent', 0.125)])
def test_the_belief_that_there_is_anything_comes_with_the_answer(asking, query, belief):
    assert asking.ask(query).presence == belief
    assert asking.start(query).result(30).presence == belief


def test_an_engine_that_does_not_know_it_is_not_taken_to_doubt(asking):
    assert np.isnan(asking.ask('says hello').presence)
    assert np.isnan(asking.ask('fail').presence)


def test_a_question_in_words_is_answered_in_words(asking):
    answered = asking.ask('says the left one', mode=Mode.ASK)
    assert answered.status is Status.SUCCESS and answered.answer == 'the left one'


def test_text_that_is_no_unicode_does_not_cost_the_answer(asking):
    answered = asking.ask('garbles', mode=Mode.ASK)
    assert answered.status is Status.SUCCESS and answered.answer == 'half a ?'


@pytest.mark.parametrize('depth_as', ['16UC1', '32FC1'])
def test_a_request_may_bring_its_own_frame(caller, request_about, depth_as):
    response = caller.call(request_about('at 100 30', depth_as))
    assert response.status == PointQuery.Response.SUCCESS
    assert (response.header.stamp.sec, response.header.stamp.nanosec) == (5, 123)
    position = response.points[0].position
    np.testing.assert_allclose(
        [position.x, position.y, position.z], on_the_wall(100, 30), atol=2e-3
    )


def test_depth_in_the_other_byte_order_is_the_same_depth(caller, request_about):
    request = request_about('at 100 30', '16UC1')
    swapped = np.frombuffer(request.depth.data, '<u2').astype('>u2').tobytes()
    request.depth.data, request.depth.is_bigendian = swapped, 1
    assert caller.call(request).points[0].position.z == pytest.approx(DISTANCE, abs=2e-3)


def _depth(value):
    def spoil(request):
        depth = np.full((request.depth.height, request.depth.width), value, np.float32)
        request.depth.data = depth.tobytes()

    return spoil


def _depth_edge(request):
    depth = np.full((request.depth.height, request.depth.width), DISTANCE, np.float32)
    depth[:, 100:] = 0.8
    depth[:, 97:104] = np.nan
    request.depth.data = depth.tobytes()


def _no_depth(request):
    request.depth = Image()


def _no_info(request):
    request.camera_info = CameraInfo()


def _uncalibrated(request):
    request.camera_info.k = np.zeros(9)


def _another_view(request):
    request.camera_info.width = 640


def _unknown_lens(request):
    request.camera_info.distortion_model = 'kaleidoscope'
    request.camera_info.d = [0.1]


def _narrow_lens(request):
    request.camera_info.distortion_model = 'plumb_bob'
    request.camera_info.d = [-0.9, 0.0, 0.0, 0.0, 0.0]


def _nowhere(request):
    request.target_frame = 'nowhere'


@pytest.mark.parametrize(
    ('spoil', 'status', 'says'),
    [
        (_no_depth, LiftStatus.NO_DEPTH, 'no depth'),
        (_depth(np.nan), LiftStatus.DEPTH_INVALID, 'no reading'),
        (_depth(0.0), LiftStatus.DEPTH_INVALID, 'no reading'),
        (_depth_edge, LiftStatus.DEPTH_INVALID, 'more than one surface'),
        (_depth(0.02), LiftStatus.OUT_OF_RANGE, 'min_range'),
        (_depth(50.0), LiftStatus.OUT_OF_RANGE, 'max_range'),
        (_depth(np.inf), LiftStatus.OUT_OF_RANGE, 'max_range'),
        (_depth(-np.inf), LiftStatus.OUT_OF_RANGE, 'min_range'),
        (_no_info, LiftStatus.NO_CAMERA_INFO, 'all zeros'),
        (_uncalibrated, LiftStatus.NO_CAMERA_INFO, 'calibrate'),
        (_another_view, LiftStatus.NO_CAMERA_INFO, '640'),
        (_unknown_lens, LiftStatus.NO_CAMERA_INFO, 'kaleidoscope'),
        (_nowhere, LiftStatus.NO_TRANSFORM, "'nowhere'"),
        (_narrow_lens, LiftStatus.OUTSIDE_DEPTH, 'no ray'),
    ],
)
def test_what_costs_the_3d_has_its_own_status_and_keeps_the_pixels(
    caller, request_about, spoil, status, says
):
    request = request_about('at 100 4')
    spoil(request)
    response = caller.call(request)
    assert response.status == PointQuery.Response.SUCCESS and response.answer == 'said so'
    (point,) = response.points
    assert (point.u, point.v, point.label) == (100, 4, 'thing at 100')
    assert LiftStatus(point.status_3d) is status and says in point.reason
    assert status.name in response.message and says in response.message
    place = [point.position, point.normal]
    assert np.isnan([[p.x, p.y, p.z] for p in place]).all()
    assert np.isnan(point.position_covariance).all() and not response.waypoints.poses


def test_a_hole_that_was_bridged_is_marked_and_said(caller, request_about):
    request = request_about('at 100 30 at 20 30')
    depth = np.full((request.depth.height, request.depth.width), DISTANCE, np.float32)
    depth[28:33, 98:103] = np.nan
    request.depth.data = depth.tobytes()
    response = caller.call(request)
    assert [point.bridged for point in response.points] == [True, False]
    assert response.points[0].position.z == pytest.approx(DISTANCE, abs=2e-3)
    assert '1 of 2 in a hole' in response.message


def test_a_point_beside_an_outline_is_marked_and_its_covariance_holds_the_jump(asking, frame):
    depth = frame.depth.copy()
    depth[:, :50] = 0.8
    answered = asking.ask('at 51.5 60 at 110 60', frame=replace(frame, depth=depth))
    beside, alone = (point.surface for point in answered.points)
    assert (beside.near_edge, alone.near_edge) == (True, False)
    assert np.sqrt(beside.covariance[2, 2]) > (DISTANCE - 0.8) / 6
    assert np.sqrt(alone.covariance[2, 2]) < 0.01
    assert '1 of 2 so near an outline' in answered.message


def _empty_query(request):
    request.query = '  '


def _unknown_mode(request):
    request.mode = 7


def _unknown_encoding(request):
    request.image.encoding = 'hsv9'


def _depth_as_color(request):
    request.image = request.depth


def _truncated(request):
    request.image.data = request.image.data[:-5]


def _only_a_header(request):
    request.image.data = []


def _short_step(request):
    request.image.step = 3


def _no_pixels(request):
    request.image.width = 0


def _unknown_depth(request):
    request.depth.encoding = 'rgb8'


def _truncated_depth(request):
    request.depth.data = request.depth.data[:100]


def _unaligned_depth(request):
    request.depth.header = Header(frame_id='infrared_optical_frame')


def _depth_alone(request):
    request.image = Image()


def _past_timeout(request):
    request.timeout = Duration(sec=-1)


@pytest.mark.parametrize(
    ('spoil', 'says'),
    [
        (_empty_query, 'query is empty'),
        (_unknown_mode, '0 (POINT)'),
        (_unknown_encoding, "'hsv9'"),
        (_depth_as_color, "'32FC1'"),
        (_truncated, 'truncated'),
        (_only_a_header, 'truncated'),
        (_short_step, 'step is 3'),
        (_no_pixels, 'no pixels'),
        (_unknown_depth, '16UC1'),
        (_truncated_depth, '100 bytes'),
        (_unaligned_depth, 'aligned'),
        (_depth_alone, 'without an image'),
        (_past_timeout, 'negative'),
    ],
)
def test_a_bad_request_is_told_what_is_wrong_and_the_next_is_answered(
    asking, caller, request_about, spoil, says
):
    request = request_about()
    spoil(request)
    response = caller.call(request)
    assert response.status == PointQuery.Response.INVALID_REQUEST
    assert says in response.message
    assert not response.points
    assert_still_answers(asking)


def test_a_question_that_the_engine_refuses_is_an_invalid_request(asking):
    answered = asking.ask('forbidden')
    assert answered.status is Status.INVALID_REQUEST and 'no question' in answered.message


def test_a_failing_engine_leaves_a_node_that_answers(asking):
    for _ in range(2):
        answered = asking.ask('fail')
        assert answered.status is Status.ENGINE_FAILED and 'out of memory' in answered.message
    assert_still_answers(asking)


def test_an_engine_that_takes_too_long_is_stopped(asking):
    answered = asking.ask('slow 30', timeout=0.2)
    assert answered.status is Status.TIMEOUT and '0.2 s' in answered.message
    assert_still_answers(asking)


def started(asking, query, stage, **kwargs):
    """A question that has come to a stage."""
    there = threading.Event()
    asked = asking.start(
        query, on_feedback=lambda at, _: there.set() if at == stage else None, **kwargs
    )
    assert there.wait(60)
    return asked


def test_nobody_waits_for_a_pass_that_cannot_be_stopped(asking, tmp_path):
    over = tmp_path / 'over'
    asked = started(asking, f'pass {over}', 'engine', timeout=1.0)
    assert asked.result(60).status is Status.TIMEOUT
    # The pass still runs, and whoever asks meanwhile waits for it as long as there is time.
    assert asking.ask('at 80 60', timeout=1.0).status is Status.BUSY
    waiting = started(asking, 'at 80 60', 'wait')
    assert not waiting.done()
    over.touch()
    assert waiting.result(60).status is Status.SUCCESS


def test_questions_wait_their_turn_until_too_many_do(asking):
    running = started(asking, 'slow 60', 'engine')
    waiting = [started(asking, 'slow 0.1', 'wait') for _ in range(3)]
    refused = asking.start('at 80 60').result(60)
    assert refused.status is Status.BUSY and 'max_waiting' in refused.message
    running.cancel()
    assert running.result(60).status is Status.CANCELED
    assert [one.result(60).status for one in waiting] == [Status.NO_POINTS] * 3
    assert_still_answers(asking)


def test_images_arrive_while_a_question_is_being_answered(asking, caller):
    """The next question is about one of them, which it says though its turn does not come."""
    running = started(asking, 'slow 60', 'engine')
    begun = time.time_ns()
    caller.wait_for(lambda: asking.ask('at 80 60', timeout=0.3).stamp_ns > begun)
    running.cancel()
    assert running.result(60).status is Status.CANCELED
