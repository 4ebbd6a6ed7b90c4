# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Photos are seen as people see them or as they are stored; what is no picture is named."""

import struct

import cv2
import numpy as np
import pytest

from molmo_ros.grounding.image_file import UnreadableImage, decode_image, picture_notes

# One corner of each colour, so that every way to turn it gives another picture.
CORNERS = np.full((24, 32, 3), 128, np.uint8)
CORNERS[:8, :8], CORNERS[:8, -8:], CORNERS[-8:, :8] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
# What is at the top left, at the top right and at the bottom left when it is shown.
SHOWN = {
    1: 'rgb',
    2: 'gr-',
    3: '-bg',
    4: 'b-r',
    5: 'rbg',
    6: 'br-',
    7: '-gb',
    8: 'g-r',
}


def tags(orientation, order):
    head = b'MM\0*' if order == '>' else b'II*\0'
    entries = (0x010F, 2, 1, 0, 0), (0x0112, 3, 1, orientation, 0)
    body = b''.join(struct.pack(f'{order}HHIHH', *entry) for entry in entries)
    return head + struct.pack(f'{order}IH', 8, len(entries)) + body


def jpeg(orientation, order):
    plain = cv2.imencode('.jpg', CORNERS[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    exif = b'Exif\0\0' + tags(orientation, order)
    other = b'http://ns.adobe.com/xap/1.0/\0 of another program'
    parts = (b'\xff\xe1' + struct.pack('>H', len(p) + 2) + p for p in (other, exif))
    return plain[:2] + b''.join(parts) + plain[2:]


def png(orientation, order):
    plain = cv2.imencode('.png', CORNERS[..., ::-1])[1].tobytes()
    exif = tags(orientation, order)
    chunk = struct.pack('>I', len(exif)) + b'eXIf' + exif + struct.pack('>I', 0)
    return plain[:33] + chunk + plain[33:]


def corners(picture):
    """The colours at the top left, at the top right and at the bottom left."""
    pixels = picture[3, 3], picture[3, -4], picture[-4, 3]
    return ''.join('rgb'[np.argmax(pixel)] if pixel.max() > 200 else '-' for pixel in pixels)


@pytest.mark.parametrize('orientation', SHOWN)
@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('encode', [jpeg, png])
def test_a_turned_photo_is_seen_as_it_is_shown_or_as_it_is_stored(encode, order, orientation):
    image = decode_image(encode(orientation, order))
    assert image.orientation == orientation
    assert image.rgb(as_shown=False).shape == CORNERS.shape
    assert corners(image.rgb(as_shown=False)) == 'rgb'
    shown = image.rgb(as_shown=True)
    assert shown.shape[:2] == ((24, 32) if orientation < 5 else (32, 24))
    assert corners(shown) == SHOWN[orientation]
    assert shown.flags.c_contiguous


@pytest.mark.parametrize('broken', [b'', b'MM\0*', b'II*\0\xff\xff\xff\xff', tags(9, '<'), b'no'])
def test_a_broken_exif_turns_nothing(broken):
    plain = cv2.imencode('.jpg', CORNERS)[1].tobytes()
    part = b'Exif\0\0' + broken
    data = plain[:2] + b'\xff\xe1' + struct.pack('>H', len(part) + 2) + part + plain[2:]
    assert decode_image(data).orientation == 1


def test_a_turned_picture_is_told_either_way():
    assert picture_notes(CORNERS) == ()
    (stored,) = picture_notes(CORNERS, 6)
    (shown,) = picture_notes(CORNERS, 6, as_shown=True)
    assert 'orientation 6' in stored and 'orientation 6' in shown and stored != shown


@pytest.mark.parametrize(
    ('stored', 'expected'),
    [
        (CORNERS[..., 0], np.repeat(CORNERS[..., :1], 3, 2)),
        (np.dstack([CORNERS[..., ::-1], CORNERS[..., 0]]), CORNERS),
        (CORNERS[..., ::-1].astype(np.uint16) * 257, CORNERS),
        (CORNERS[..., ::-1].astype(np.uint16) * 4 + 3, CORNERS),
    ],
    ids=['grey', 'alpha', '16 bits', '10 bits'],
)
def test_pictures_of_all_kinds_are_three_channels_of_8_bits(stored, expected):
    data = cv2.imencode('.png', np.ascontiguousarray(stored))[1].tobytes()
    np.testing.assert_array_equal(decode_image(data).rgb(as_shown=True), expected)


def box(brand):
    return struct.pack('>I', 24) + b'ftyp' + brand + bytes(4) + b'isom' + brand


@pytest.mark.parametrize(
    ('data', 'name'),
    [
        (box(b'heic'), 'HEIC'),
        (box(b'mif1'), 'HEIC'),
        (box(b'mp42'), 'video'),
        (box(b'qt  '), 'video'),
        (b'RIFF\x10\0\0\0AVI LIST', 'video'),
        (b'\x1a\x45\xdf\xa3\x01', 'video'),
        (b'%PDF-1.7\n', 'PDF'),
        (b'GIF89a\1\0\1\0', 'GIF'),
        (b'RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0' + bytes(10) + b'ANIM\x06\0\0\0', 'animation'),
        (b'\x93NUMPY\x01\0', 'NumPy'),
        (b'  <svg xmlns="">', 'SVG'),
        (b'<!DOCTYPE html><title>Not found</title>', 'web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid', 'git lfs pull'),
        (b'\x89MCAP0\r\n', 'recording'),
        (b'', 'empty'),
        (b'hello', 'not an image'),
        (cv2.imencode('.tiff', np.ones((4, 4), np.float32))[1].tobytes(), 'depth'),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(data, name):
    with pytest.raises(UnreadableImage, match=name):
        decode_image(data)
