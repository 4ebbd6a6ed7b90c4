# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked has limits, and no answer repeats at length what somebody sent."""

import struct
import zlib

import numpy as np
import pytest
from molmo_ros.srv import PointQuery, Watch
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from molmo_ros.cameras.image_messages import ConversionError
from molmo_ros.engine import Answer
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.answering import Answering, AnswerSettings, Refused, Request, Status
from molmo_ros.ros.conversions import color_array, depth_array
from molmo_ros.ros.engine_worker import EnginePhase, EngineWorker
from molmo_ros.ros.tracked_messages import read_watch
from molmo_ros.ros.transforms import TransformTree
from molmo_ros.spatial import LiftStatus
from molmo_ros.spatial.transform_tree import unknown_frame

LONG = 'y' * 10_000


def _long_query(request):
    request.query = f'at 80 60 {LONG}'


def _long_target(request):
    request.target_frame = LONG


def _long_frame(request):
    request.image.header.frame_id = LONG


def _long_encoding(request):
    request.image.encoding = LONG


def _long_depth_encoding(request):
    request.depth.encoding = LONG


def _long_depth_frame(request):
    request.depth.header = Header(frame_id=LONG)


def _vast(image):
    image.width = image.height = 65_535
    image.step = 65_535 * 3


def _vast_image(request):
    _vast(request.image)


def _vast_depth(request):
    _vast(request.depth)


@pytest.mark.parametrize(
    ('spoil', 'says'),
    [
        (_long_query, 'query has 10009 characters, more than 2000'),
        (_long_target, 'target_frame has 10000 characters, more than 256'),
        (_long_frame, 'header.frame_id has 10000 characters'),
        (_long_encoding, 'yyy...'),
        (_long_depth_encoding, 'yyy...'),
        (_long_depth_frame, "it is of frame 'yyy"),
        (_vast_image, 'truncated'),
        (_vast_depth, '65535x65535'),
    ],
)
def test_what_is_too_long_or_too_large_is_refused_in_a_short_sentence(
    caller, request_about, spoil, says
):
    request = request_about()
    spoil(request)
    response = caller.call(request)
    assert response.status == PointQuery.Response.INVALID_REQUEST
    assert says in response.message and len(response.message) < 500
    assert len(response.header.frame_id) < 500
    assert caller.call(request_about()).status == PointQuery.Response.SUCCESS


def test_a_lens_and_a_frame_of_a_long_name_cost_the_3d_in_a_short_sentence(caller, request_about):
    request = request_about()
    request.camera_info.distortion_model, request.camera_info.d = LONG, [0.2]
    response = caller.call(request)
    assert response.points[0].status_3d == LiftStatus.NO_CAMERA_INFO
    assert 'yyy...' in response.message and len(response.message) < 500
    request = request_about()
    request.camera_info.header = Header(frame_id=LONG, stamp=request.image.header.stamp)
    (assumed,) = caller.call(request).assumed
    assert 'yyy...' in assumed and len(assumed) < 700
    request = request_about()
    request.target_frame = 'z' * 200
    response = caller.call(request)
    assert response.points[0].status_3d == LiftStatus.NO_TRANSFORM
    assert 'zzz...' in response.message and len(response.message) < 500


@pytest.mark.parametrize('field', ['query', 'target_frame'])
def test_a_standing_question_has_the_same_limits(field):
    with pytest.raises(Refused, match=f'{field} has 10000 characters') as refused:
        read_watch(Watch.Request(**{'query': 'the lid', field: LONG}))
    assert refused.value.status is Status.INVALID_REQUEST and len(str(refused.value)) < 500


def test_a_robot_of_many_frames_is_not_told_whole():
    told = unknown_frame('tool', [f'finger_{number}' for number in range(900)])
    assert 'finger_0, finger_1' in told and 'and 880 more' in told


def _png_of(width, height):
    """The beginning of a PNG that says it is so large."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunk = b'IHDR' + header
    return (
        b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + chunk + struct.pack('>I', zlib.crc32(chunk))
    )


@pytest.mark.parametrize(
    ('read', 'message'),
    [
        (color_array, CompressedImage(format=LONG, data=b'none')),
        (color_array, CompressedImage(format='jpeg', data=_png_of(60_000, 60_000))),
        (depth_array, CompressedImage(format=LONG, data=b'none')),
        (color_array, Image(width=3, height=2, step=9, encoding=LONG, data=bytes(18))),
    ],
)
def test_what_a_camera_sends_is_refused_in_a_short_sentence(read, message):
    with pytest.raises(ConversionError) as refused:
        read(message)
    assert len(str(refused.value)) < 700


class Talkative:
    """Points at 3,000 places, whatever was asked for, and says and fails at length."""

    def answer(self, image, question, should_stop):
        if question.query == 'fail':
            raise RuntimeError(LONG)
        if question.query == 'nothing':
            return Answer(LONG, (), None, True)
        points = tuple(ImagePoint(1.0 + number % 9, 2.0, 'it') for number in range(3000))
        return Answer('here and there', points, None, False)

    def close(self):
        pass


@pytest.fixture
def ask():
    """Asks an engine that says too much."""
    worker = EngineWorker(lambda progress: Talkative())
    while worker.state.phase is not EnginePhase.READY:
        pass
    answering = Answering(worker, TransformTree(10.0), 2, lambda told: None)
    frame = Frame(np.full((20, 20, 3), 128, np.uint8), None, None, 1, 'eye_optical')
    capture = Capture(frame, missing={LiftStatus.NO_DEPTH: 'there is none'})

    def asked(query, most=0):
        request = Request(query, max_points=most)
        return answering.answer(request, lambda deadline: capture, AnswerSettings())

    yield asked
    worker.close(5)


def test_points_end_where_they_were_to_and_in_any_case(ask):
    result = ask('it')
    assert result.status is Status.SUCCESS and len(result.points) == 1000
    assert 'the model wrote 3000 points, the first 1000 are told' in result.message
    result = ask('it', 2**32 - 1)
    assert len(result.points) == 1000 and 'wrote 3000' in result.message
    result = ask('it', 7)
    assert len(result.points) == 7 and 'wrote 3000' not in result.message


@pytest.mark.parametrize(
    ('query', 'status'), [('fail', Status.ENGINE_FAILED), ('nothing', Status.NO_POINTS)]
)
def test_what_a_model_says_at_length_is_told_in_short(ask, query, status):
    result = ask(query)
    assert result.status is status and len(result.message) < 600
