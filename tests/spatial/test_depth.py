# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth comes in millimetres and metres, in either byte order, padded and compressed."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from molmo_ros.spatial import (
    UnsupportedDepth,
    depth_from_bytes,
    depth_from_compressed,
    depth_remarks,
    depth_to_metres,
    depth_warning,
    read_unit,
)

MILLIMETRES = np.array([[0, 1, 999], [1000, 40000, 65535]], np.uint16)
METRES = np.array([[np.nan, 0.001, 0.999], [1.0, 40.0, 65.535]], np.float32)


def png(image: np.ndarray) -> bytes:
    """The image as PNG."""
    return cv2.imencode('.png', image)[1].tobytes()


def test_millimetres_become_metres_and_zero_is_no_reading() -> None:
    """16UC1 is millimetres whatever a parameter says."""
    np.testing.assert_allclose(depth_to_metres(MILLIMETRES, '16UC1'), METRES, rtol=1e-6)


def test_float_keeps_metres_and_the_infinities_of_rep_117() -> None:
    """Too near and no return are told from no reading; zero and less are none."""
    values = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.5, 1.25]], np.float32)
    expected = np.array([[np.nan, np.inf, -np.inf, np.nan, np.nan, 1.25]], np.float32)
    np.testing.assert_array_equal(depth_to_metres(values, '32FC1'), expected)
    assert values[0, 3] == 0.0


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', ['16UC1', '32FC1'])
def test_bytes_of_either_order_with_padded_rows(big: bool, padding: int, encoding: str) -> None:
    """The fields of an image message are enough; the last row may lack its padding."""
    pixels = MILLIMETRES if encoding == '16UC1' else METRES
    rows = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    data = b''.join(row.tobytes() + b'\xff' * padding for row in rows)
    step = 3 * pixels.itemsize + padding
    for raw in (data, data[: len(data) - padding], np.frombuffer(data, np.uint8)):
        metres = depth_from_bytes(raw, 2, 3, step, encoding, big)
        np.testing.assert_allclose(metres, METRES, rtol=1e-6)
        assert metres.dtype == np.float32


@pytest.mark.parametrize(
    ('data', 'size', 'step'), [(b'', (2, 3), 6), (bytes(11), (2, 3), 6), (bytes(12), (2, 3), 5)]
)
def test_bytes_that_are_no_image_are_refused(data: bytes, size: tuple[int, int], step: int) -> None:
    """A cut message is not read beyond its end."""
    with pytest.raises(UnsupportedDepth, match='broken'):
        depth_from_bytes(data, *size, step, '16UC1', False)


@pytest.mark.parametrize('encoding', ['rgb8', '8UC1', '16SC1', '32FC3', ''])
def test_other_encodings_are_refused_with_advice(encoding: str) -> None:
    """A color image remapped to depth is not taken for metres."""
    with pytest.raises(UnsupportedDepth, match='remap'):
        depth_to_metres(np.zeros((2, 2), np.uint8), encoding)


def test_pixels_that_contradict_the_encoding_are_refused() -> None:
    """Converted pixels with the old encoding's name would be a thousand times off."""
    with pytest.raises(UnsupportedDepth):
        depth_to_metres(METRES, '16UC1')
    with pytest.raises(UnsupportedDepth):
        depth_to_metres(np.zeros((2, 2, 3), np.uint16), '16UC1')


def scene_in_millimetres() -> np.ndarray:
    """Runs of zeros, jumps and slopes, as a depth image has them."""
    rng = np.random.default_rng(0)
    image = (800 + 300 * rng.random((48, 64)).cumsum(1) / 64).astype(np.uint16)
    image[10:20, 5:30] = 0
    image[30:, 40:] = 65535
    image[0, 0] = 0
    return image


def rvl(image: np.ndarray) -> bytes:
    """An RVL stream, from the description of the code in its paper."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while True:
            low, number = number & 7, number >> 3
            nibbles.append(low | (8 if number else 0))
            if not number:
                return

    flat, at, previous = image.reshape(-1).astype(int), 0, 0
    while at < len(flat):
        for wanted in (True, False):
            start = at
            while at < len(flat) and (flat[at] == 0) == wanted:
                at += 1
            put(at - start)
        for value in flat[start:at]:
            difference = value - previous
            put(2 * difference if difference >= 0 else -2 * difference - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        int(''.join(f'{n:x}' for n in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)
    ]
    return struct.pack('<II', image.shape[1], image.shape[0]) + struct.pack(
        f'<{len(words)}I', *words
    )


@pytest.mark.parametrize(
    ('kind', 'encode'), [('', png), (' png', png), (' rvl', rvl)], ids=['old', 'png', 'rvl']
)
def test_compressed_millimetres_are_exact(kind: str, encode) -> None:
    """Lossless codes lose nothing."""
    image = scene_in_millimetres()
    data = struct.pack('<iff', 0, 0.0, 0.0) + encode(image)
    metres = depth_from_compressed(data, f'16UC1; compressedDepth{kind}')
    np.testing.assert_array_equal(metres, depth_to_metres(image, '16UC1'))


@pytest.mark.parametrize(('kind', 'encode'), [('png', png), ('rvl', rvl)])
def test_compressed_metres_are_within_their_quantum(kind: str, encode) -> None:
    """32FC1 is sent as quantised inverse depth with its two parameters in the header."""
    depth = np.linspace(0.3, 9.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    depth[3, 4] = np.nan
    quantum, farthest = 100.0, 10.0
    a = quantum * (quantum + 1)
    b = 1 - a / farthest
    codes = np.where(np.isnan(depth), 0, a / np.nan_to_num(depth, nan=1.0) + b).astype(np.uint16)
    data = struct.pack('<iff', 0, a, b) + encode(codes)
    metres = depth_from_compressed(data, f'32FC1; compressedDepth {kind}')
    assert np.isnan(metres[3, 4])
    assert np.nanmax(np.abs(metres - depth) / depth**2) <= 1.01 / a


@pytest.mark.parametrize(
    'format',
    ['16UC1; compressedDepth png', '16UC1; png compressed ', 'mono16; png', '16UC1', 'png', ''],
)
def test_a_bare_png_of_16_bits_is_depth_whatever_it_is_called(format: str) -> None:
    """Not every publisher writes the transport's header of 12 bytes."""
    image = scene_in_millimetres()
    metres = depth_from_compressed(png(image), format, 0.00025)
    np.testing.assert_array_equal(metres, depth_to_metres(image, '16UC1', 0.00025))


@pytest.mark.parametrize(
    ('data', 'says'),
    [
        (b'', 'empty'),
        (cv2.imencode('.jpg', np.zeros((8, 8), np.uint8))[1].tobytes(), 'JPEG'),
        (png(np.zeros((8, 8), np.uint8)), '1 x 8 bits'),
        (png(np.zeros((8, 8, 3), np.uint16)), '3 x 16 bits'),
        (png(np.zeros((8, 8), np.uint16))[:30], 'breaks off'),
    ],
    ids=['nothing', 'jpeg', 'grey', 'color', 'half'],
)
@pytest.mark.parametrize('head', [b'', bytes(12)], ids=['bare', 'header'])
def test_what_is_compressed_but_no_depth_is_called_what_it_is(
    data: bytes, says: str, head: bytes
) -> None:
    """A picture of depth for people has no metres in it."""
    if head and not data:
        says = 'breaks off'
    with pytest.raises(UnsupportedDepth, match=says):
        depth_from_compressed(head + data, '16UC1; compressedDepth png')


@pytest.mark.parametrize('head', [b'', struct.pack('<iff', 0, 0.0, 0.0)], ids=['bare', 'zeros'])
def test_compressed_metres_without_their_quantum_are_refused(head: bytes) -> None:
    """They would all be one value."""
    with pytest.raises(UnsupportedDepth, match='quantisation'):
        depth_from_compressed(head + png(scene_in_millimetres()), '32FC1; compressedDepth png')


@pytest.mark.parametrize('cut', [0, 12, 20, 60])
@pytest.mark.parametrize('kind', ['png', 'rvl'])
def test_compressed_depth_that_breaks_off_is_refused(kind: str, cut: int) -> None:
    """A broken message is an error with a reason, never garbage or a crash."""
    whole = struct.pack('<iff', 0, 0, 0) + (rvl if kind == 'rvl' else png)(scene_in_millimetres())
    with pytest.raises(UnsupportedDepth):
        depth_from_compressed(whole[:cut], f'16UC1; compressedDepth {kind}')


@pytest.mark.parametrize('format', ['jpeg', '16UC1; compressedDepth zstd', 'bgr8; jpeg compressed'])
def test_compressed_color_is_refused(format: str) -> None:
    """The wrong transport is named."""
    with pytest.raises(UnsupportedDepth):
        depth_from_compressed(bytes(40), format)


def test_a_stream_that_claims_a_giant_image_is_refused() -> None:
    """A corrupt header does not allocate all memory."""
    data = struct.pack('<iff', 0, 0, 0) + struct.pack('<II', 1 << 20, 1 << 20) + bytes(64)
    with pytest.raises(UnsupportedDepth):
        depth_from_compressed(data, '16UC1; compressedDepth rvl')


@pytest.mark.parametrize(
    ('unit', 'step'),
    [
        ('mm', 0.001),
        ('m', 1.0),
        ('0.1mm', 1e-4),
        ('.25 mm', 2.5e-4),
        ('1/5000', 2e-4),
        ('1/256', 1 / 256),
        ('1/4000 m', 2.5e-4),
        ('100um', 1e-4),
        ('cm', 0.01),
        ('1e-4', 1e-4),
        (0.002, 0.002),
        (1, 1.0),
    ],
)
def test_units_are_read_as_people_write_them(unit: str | float, step: float) -> None:
    """By name, as a share of a metre, or as metres."""
    assert read_unit(unit) == pytest.approx(step)
    image = np.array([[0, 500]], np.uint16)
    expected = np.array([[np.nan, 500 * step]])
    np.testing.assert_allclose(
        depth_to_metres(image, '16UC1', read_unit(unit)), expected, rtol=1e-6
    )


@pytest.mark.parametrize(
    'unit', ['furlong', '/5000', '1/0', '0', '-1', 'nan', '5000', 'mm/2', '1e']
)
def test_what_is_no_unit_is_refused(unit: str) -> None:
    """A factor the wrong way round among them."""
    with pytest.raises(ValueError, match=r'0\.1mm'):
        read_unit(unit)


def test_a_unit_holds_for_floats_too() -> None:
    """Simulators publish millimetres as 32FC1."""
    values = np.array([[np.nan, np.inf, -3.0, 700.0]], np.float32)
    expected = np.array([[np.nan, np.inf, np.nan, 0.7]], np.float32)
    np.testing.assert_allclose(depth_to_metres(values, '32FC1', 0.001), expected)


def wall(metres: float) -> np.ndarray:
    """A depth image of one distance."""
    return np.full((40, 60), metres, np.float32)


@pytest.mark.parametrize(
    ('metres', 'encoding', 'unit', 'likely'),
    [
        (44.0, '16UC1', None, '0.1mm'),
        (29.0, 'mono16', None, '1/5000'),
        (650.0, '32FC1', None, 'mm'),
        (0.0021, '16UC1', None, 'm '),
        (400.0, '16UC1', 1.0, 'mm'),
    ],
)
def test_an_implausible_depth_is_told_with_a_unit_that_would_do(
    metres: float, encoding: str, unit: float | None, likely: str
) -> None:
    """Of a unit that was given, too."""
    remarks = depth_remarks(wall(metres), encoding, unit, '--unit')
    assert f'set --unit to what it is; plausible: {likely}' in remarks.warning or (
        f', {likely}' in remarks.warning
    )
    assert remarks.assumed == ()


@pytest.mark.parametrize(
    ('metres', 'encoding', 'unit', 'assumed'),
    [
        (1.1, '16UC1', None, False),
        (4.4, '16UC1', None, True),
        (0.2, '16UC1', None, True),
        (4.4, '16UC1', 0.001, False),
        (4.4, '32FC1', None, False),
        (1.1, 'mono16', None, True),
        (1.1, '', None, True),
        (1.1, '', 0.0002, False),
    ],
)
def test_a_unit_that_nothing_said_is_named_where_it_may_matter(
    metres: float, encoding: str, unit: float | None, assumed: bool
) -> None:
    """REP 118 says 16UC1: questioned only where another unit is as likely."""
    remarks = depth_remarks(wall(metres), encoding, unit)
    assert remarks.warning == '' and bool(remarks.assumed) is assumed
    assert all('depth_unit' in sentence for sentence in remarks.assumed)


def test_warnings_name_what_is_wrong_with_the_unit() -> None:
    """Drivers against REP-118 are found out, plausible scenes are not blamed."""
    assert depth_warning(np.full((48, 64), 0.8, np.float32)) is None
    assert 'millimetres as 32FC1' in str(depth_warning(np.full((48, 64), 800, np.float32)))
    assert '16UC1' in str(depth_warning(np.full((48, 64), 0.0008, np.float32)))
    assert 'readings' in str(depth_warning(np.full((48, 64), np.nan, np.float32)))
