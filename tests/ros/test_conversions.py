# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a driver publishes must come out as the picture it took."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from molmo_ros.ros.conversions import (
    ConversionError,
    camera_info_message,
    camera_model,
    color_array,
    color_message,
    depth_array,
    depth_message,
)
from molmo_ros.spatial import CameraModel

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def message(pixels, encoding, *, padding=0, big=False):
    rows = pixels.reshape(pixels.shape[0], -1)
    raw = rows.astype(rows.dtype.newbyteorder('>' if big else '<')).view(np.uint8)
    raw = np.pad(raw, ((0, 0), (0, padding)), constant_values=255)
    return Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=raw.shape[1],
        data=raw.tobytes(),
    )


@pytest.mark.parametrize(
    ('encoding', 'pixels'),
    [
        ('rgb8', RGB),
        ('bgr8', RGB[..., ::-1]),
        ('8UC3', RGB[..., ::-1]),
        ('rgba8', np.dstack([RGB, RGB[..., :1]])),
        ('bgra8', np.dstack([RGB[..., ::-1], RGB[..., :1]])),
        ('8UC4', np.dstack([RGB[..., ::-1], RGB[..., :1]])),
        ('rgb16', RGB.astype(np.uint16) * 256 + 77),
        ('bgr16', RGB[..., ::-1].astype(np.uint16) * 256 + 77),
    ],
)
@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('big', [False, True])
def test_color_is_the_same_in_every_encoding(encoding, pixels, padding, big):
    padding += padding % pixels.itemsize
    array = color_array(message(np.ascontiguousarray(pixels), encoding, padding=padding, big=big))
    np.testing.assert_array_equal(array, RGB)
    assert array.dtype == np.uint8 and array.flags.c_contiguous


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey_is_grey_in_all_three_channels(encoding):
    np.testing.assert_array_equal(
        color_array(message(RGB[..., 0].copy(), encoding)), np.repeat(RGB[..., :1], 3, axis=2)
    )


def test_grey_of_16_bits_keeps_the_upper_8():
    pixels = np.array([[0x1234, 0xFF00]], np.uint16)
    assert color_array(message(pixels, 'mono16', big=True))[..., 0].tolist() == [[0x12, 0xFF]]


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
def test_yuv_shows_its_colour(encoding, order):
    # BT.601 in its limited range, as cameras send it.
    y, u, v = 81, 90, 240
    pair = [{'y': y, 'u': u, 'v': v}[letter] for letter in order]
    pixels = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (4, 3, 1))
    array = color_array(message(pixels, encoding))
    np.testing.assert_allclose(array, np.tile([255, 0, 0], (4, 6, 1)), atol=3)


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_show_the_colour_that_their_letters_say(pattern):
    red = np.zeros((8, 8), np.uint8)
    for place, letter in enumerate(pattern):
        if letter == 'r':
            red[place // 2 :: 2, place % 2 :: 2] = 200
    array = color_array(message(red, f'bayer_{pattern}8'))[2:-2, 2:-2]
    assert array[..., 0].min() == 200 and array[..., 1:].max() == 0


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_compressed_images_are_decoded(extension):
    picture = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    _, data = cv2.imencode(extension, picture[..., ::-1])
    array = color_array(CompressedImage(format='jpeg', data=data.tobytes()))
    np.testing.assert_allclose(array, picture, atol=4)


@pytest.mark.parametrize('data', [b'', b'\xff\xd8\xff\xe0 no jpeg'])
def test_broken_compressed_images_are_refused(data):
    with pytest.raises(ConversionError, match='cannot be decoded'):
        color_array(CompressedImage(format='jpeg', data=data))


def test_yuv_of_odd_width_is_refused_rather_than_crashing():
    with pytest.raises(ConversionError, match='3x2'):
        color_array(message(np.zeros((2, 3, 2), np.uint8), 'yuv422'))


@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_depth_survives_the_way_there_and_back(encoding):
    metres = np.array([[0.5, 1.234, np.nan]], np.float32)
    back = depth_array(depth_message(metres, encoding, Header()))
    np.testing.assert_allclose(back, metres, atol=5e-4)


def test_depth_that_16_bits_cannot_hold_is_no_depth():
    metres = np.array([[70.0, np.inf, -np.inf, 0.0]], np.float32)
    assert np.all(np.isnan(depth_array(depth_message(metres, '16UC1', Header()))))


@given(
    st.sampled_from(['rgb8', 'mono16', 'yuv422', 'bayer_rggb8', '32FC1', '16UC1', 'nonsense']),
    *[st.integers(0, 2**32 - 1) | st.integers(0, 8)] * 3,
    st.binary(max_size=64),
    st.integers(0, 1),
)
def test_no_message_does_worse_than_being_refused(encoding, height, width, step, data, big):
    spoiled = Image(
        height=height, width=width, step=step, encoding=encoding, data=data, is_bigendian=big
    )
    for convert in (color_array, depth_array):
        try:
            assert convert(spoiled).shape[:2] == (height, width)
        except ConversionError as error:
            assert str(error)


def test_a_camera_survives_the_way_there_and_back():
    camera = CameraModel(8, 6, np.array([[5.0, 0, 3], [0, 6, 2], [0, 0, 1]]), np.array([0.1] * 5))
    back = camera_model(camera_info_message(camera, Header()), (8, 6))
    np.testing.assert_allclose(back.ray(1.0, 2.0), camera.ray(1.0, 2.0))


def test_a_message_of_part_of_an_image_has_rows_of_that_part():
    part = RGB[:, 2:5]
    np.testing.assert_array_equal(color_array(color_message(part, Header())), part)
