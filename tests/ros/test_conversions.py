# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a driver publishes must come out as the picture it took."""

from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from molmo_ros.ros.bridge import bridged, distribution_bridge
from molmo_ros.ros.conversions import (
    ConversionError,
    camera_info_message,
    camera_model,
    color_array,
    color_message,
    depth_array,
    depth_message,
    own_pixels,
)
from molmo_ros.spatial import CameraModel

# The distribution's cv_bridge is held to the same pixels where there is one.
CONVERTERS = [own_pixels, *([bridged] if distribution_bridge() else [])]
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
        ('16UC3', RGB[..., ::-1].astype(np.uint16) * 256 + 77),
        ('rgba16', np.dstack([RGB, RGB[..., :1]]).astype(np.uint16) * 256 + 200),
        ('bgra16', np.dstack([RGB[..., ::-1], RGB[..., :1]]).astype(np.uint16) * 256 + 200),
        ('16UC4', np.dstack([RGB[..., ::-1], RGB[..., :1]]).astype(np.uint16) * 256 + 200),
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


def mosaic(pattern, letter, value, dtype=np.uint8):
    pixels = np.zeros((8, 8), dtype)
    for place, color in enumerate(pattern):
        if color == letter:
            pixels[place // 2 :: 2, place % 2 :: 2] = value
    return pixels


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('bits', [8, 16])
def test_bayer_patterns_show_the_colour_that_their_letters_say(pattern, bits):
    red = mosaic(pattern, 'r', 200 << bits - 8, np.uint8 if bits == 8 else np.uint16)
    array = color_array(message(red, f'bayer_{pattern}{bits}'))[2:-2, 2:-2]
    assert array[..., 0].min() == 200 and array[..., 1:].max() == 0


@pytest.mark.parametrize('encoding', ['nv12', 'nv21', 'nv24'])
@pytest.mark.parametrize('padding', [0, 6])
def test_planes_show_their_colour(encoding, padding):
    """Red, in a plane of brightness before one of colours; BT.601 in its limited range."""
    y, u, v = 81, 90, 240
    colors = [v, u] if encoding == 'nv21' else [u, v]
    rows = 8 if encoding == 'nv24' else 2
    planes = np.vstack([np.full((4, 8), y), np.tile(colors, (rows, 4))]).astype(np.uint8)
    image = message(planes, encoding, padding=padding)
    image.height = 4
    np.testing.assert_allclose(color_array(image), np.tile([255, 0, 0], (4, 8, 1)), atol=3)


def test_each_pixel_of_nv24_keeps_its_own_colour():
    """Red beside blue, where 4:2:0 would mix them."""
    y, u, v = np.array([81, 41]), np.array([90, 240]), np.array([240, 110])
    planes = np.concatenate([np.tile(y, 8), np.tile(np.stack([u, v], 1).ravel(), 8)])
    image = message(planes.reshape(-1, 4).astype(np.uint8), 'nv24')
    image.height, image.width = 4, 4
    pair = [[255, 0, 0], [0, 0, 255]]
    np.testing.assert_allclose(color_array(image), np.tile(pair, (4, 2, 1)), atol=4)


@pytest.mark.parametrize('convert', CONVERTERS)
@pytest.mark.parametrize(
    ('encoding', 'pixels', 'expected'),
    [
        ('rgb8', RGB, RGB),
        ('bgr8', RGB[..., ::-1], RGB),
        ('bgra8', np.dstack([RGB[..., ::-1], RGB[..., :1]]), RGB),
        ('mono8', RGB[..., 0], np.repeat(RGB[..., :1], 3, 2)),
        ('rgb16', RGB.astype(np.uint16) * 255, RGB.astype(np.uint16) * 255),
        ('rgba16', np.dstack([RGB, RGB[..., :1]]).astype(np.uint16) * 3, RGB * np.uint16(3)),
        ('mono16', RGB[..., 0] * np.uint16(4), np.repeat(RGB[..., :1], 3, 2) * np.uint16(4)),
        ('bayer_gbrg8', np.full((6, 8), 77, np.uint8), np.full((6, 8, 3), 77)),
        ('bayer_bggr16', np.full((6, 8), 777, np.uint16), np.full((6, 8, 3), 777)),
        ('yuv422_yuy2', np.tile(np.uint8([126, 128]), (6, 8, 1)), np.full((6, 8, 3), 128)),
    ],
)
def test_every_converter_makes_the_same_pixels(convert, encoding, pixels, expected):
    pixels = np.ascontiguousarray(pixels)
    converted = convert(message(pixels, encoding))
    np.testing.assert_array_equal(converted, expected)
    assert converted.dtype == pixels.dtype


@pytest.mark.parametrize(('bits', 'largest'), [(8, 200), (10, 700), (12, 4095), (14, 9000)])
def test_a_camera_of_fewer_than_16_bits_is_not_shown_as_black(bits, largest):
    """Infrared and industrial cameras put theirs into the lower bits of mono16."""
    ramp = np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)
    array = color_array(message(ramp, 'mono16', big=True))
    np.testing.assert_array_equal(array[..., 0], ramp >> (bits - 8))


def test_the_bits_of_a_camera_that_are_given_are_not_guessed():
    """A dim picture of a 12-bit camera stays dim."""
    dim = np.full((2, 4), 800, np.uint16)
    assert color_array(message(dim, 'mono16'))[0, 0, 0] == 200
    assert color_array(message(dim, 'mono16'), bits=12)[0, 0, 0] == 50
    assert color_array(message(dim, 'mono16'), bits=9)[0, 0, 0] == 255


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_compressed_images_are_decoded(extension):
    picture = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    _, data = cv2.imencode(extension, picture[..., ::-1])
    array = color_array(CompressedImage(format='jpeg', data=data.tobytes()))
    np.testing.assert_allclose(array, picture, atol=4)


def png_of(pixels):
    return cv2.imencode('.png', pixels)[1].tobytes()


@pytest.mark.parametrize(
    ('format', 'stored'),
    [
        ('png', RGB[..., ::-1]),
        ('', RGB[..., ::-1]),
        ('rgb8; png compressed bgr8', RGB[..., ::-1]),
        ('bgra8; png compressed bgr8', np.dstack([RGB[..., ::-1], RGB[..., :1]])),
        ('rgb16; png compressed bgr16', RGB[..., ::-1].astype(np.uint16) * 256 + 9),
        ('bayer_rggb8; png compressed bgr8', RGB[..., ::-1]),
        ('rgb8; png compressed rgb8', RGB),
    ],
)
def test_the_format_of_a_compressed_image_says_the_order_of_its_colours(format, stored):
    message = CompressedImage(format=format, data=png_of(np.ascontiguousarray(stored)))
    np.testing.assert_array_equal(color_array(message), RGB)


@pytest.mark.parametrize('pattern', ['bggr', 'gbrg'])
@pytest.mark.parametrize('bits', [8, 16])
def test_a_compressed_mosaic_is_given_its_colours(pattern, bits):
    blue = mosaic(pattern, 'b', 150 << bits - 8, np.uint8 if bits == 8 else np.uint16)
    message = CompressedImage(format=f'bayer_{pattern}{bits}; png compressed ', data=png_of(blue))
    array = color_array(message)[2:-2, 2:-2]
    assert array[..., 2].min() == 150 and array[..., :2].max() == 0


def test_a_compressed_image_of_12_bits_is_not_shown_as_black():
    ramp = np.linspace(0, 4000, 48).astype(np.uint16).reshape(6, 8)
    message = CompressedImage(format='mono16; png compressed ', data=png_of(ramp))
    np.testing.assert_array_equal(color_array(message)[..., 1], ramp >> 4)


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


ENCODINGS = [
    *('rgb8', 'bgra16', 'mono16', 'yuv422', 'yuyv', 'bayer_rggb8', 'bayer_gbrg16'),
    *('nv12', 'nv21', 'nv24', '16UC3', '32FC1', '64FC1', '16UC1', 'nonsense'),
]
FORMATS = [
    *('', 'png', 'jpeg', '16UC1; compressedDepth', '16UC1; compressedDepth rvl', 'rvl'),
    *('32FC1; compressedDepth png', 'bayer_rggb8; png compressed ', 'rgb8; jpeg compressed bgr8'),
]
IMAGES = [
    png_of(RGB),
    png_of(RGB[..., 0].copy()),
    png_of(RGB[..., 0] * np.uint16(100)),
    cv2.imencode('.jpg', RGB)[1].tobytes(),
]


@given(
    st.sampled_from(FORMATS),
    st.binary(max_size=24) | st.just(bytes(12)),
    st.sampled_from(IMAGES),
    st.integers(0, 2000),
    st.integers(0, 400),
    st.integers(0, 255),
)
def test_no_compressed_message_does_worse_than_being_refused(format, head, image, cut, at, byte):
    """Whatever stands before a picture, where it breaks off, and what of it is garbled."""
    data = bytearray(image[:cut])
    if at < len(data):
        data[at] = byte
    spoiled = CompressedImage(format=format, data=head + bytes(data))
    for convert in (color_array, depth_array):
        try:
            assert convert(spoiled).size
        except ConversionError as error:
            assert str(error)


@given(
    st.sampled_from(ENCODINGS),
    *[st.integers(0, 2**32 - 1) | st.integers(0, 8)] * 3,
    st.binary(max_size=64),
    st.integers(0, 1),
    st.integers(0, 16),
)
def test_no_message_does_worse_than_being_refused(encoding, height, width, step, data, big, bits):
    spoiled = Image(
        height=height, width=width, step=step, encoding=encoding, data=data, is_bigendian=big
    )
    for convert in (partial(color_array, bits=bits), depth_array):
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
