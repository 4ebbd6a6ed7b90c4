# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth images as metres along the optical axis, as REP-117 and REP-118 have them.

The unit follows from the encoding (16UC1 is millimetres, 32FC1 is metres) or is given; it is never
guessed. In what comes out, NaN is no reading, -Inf nearer and +Inf farther than the camera can
tell.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.errors import shortened

from .depth_unit import FLOATS, step_of
from .rvl import decode_rvl

Metres = NDArray[np.float32]

_TYPES = {'16UC1': 'u2', 'mono16': 'u2', '32FC1': 'f4', '64FC1': 'f8'}
_CONFIG = struct.Struct('<iff')
_LARGEST = 1 << 26
_MAGIC = {b'\x89PNG\r\n\x1a\n': 'png', b'\xff\xd8\xff': 'JPEG'}


class UnsupportedDepth(ValueError):
    """The depth image is of an encoding, or in a state, that has no meaning in metres."""


def depth_to_metres(array: NDArray, encoding: str, unit: float | None = None) -> Metres:
    """Metres (H, W) float32 of the pixels (H, W) of a sensor_msgs/Image.

    encoding: '16UC1' or 'mono16' (0 is no reading), '32FC1' or '64FC1'. unit: metres a step of the
    numbers; None: what REP 118 says, millimetres of integers and metres of floats.
    Raises UnsupportedDepth.
    """
    _type_of(encoding)
    if array.ndim != 2:
        raise UnsupportedDepth(f'a depth image has one channel, this one has shape {array.shape}')
    if (array.dtype.kind == 'f') != (encoding in FLOATS):
        raise UnsupportedDepth(f"pixels of type {array.dtype} are not of encoding '{encoding}'")
    step = np.float32(step_of(encoding, unit))
    if array.dtype.kind == 'f':
        with np.errstate(over='ignore'):
            metres = array.astype(np.float32) * step
        nothing = (metres <= 0) & np.isfinite(metres)
    else:
        metres = array * step
        nothing = array == 0
    metres[nothing] = np.nan
    return metres


def depth_from_bytes(
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    height: int,
    width: int,
    step: int,
    encoding: str,
    is_bigendian: bool,
    unit: float | None = None,
) -> Metres:
    """Metres (H, W) float32 of the fields of a sensor_msgs/Image as they came.

    step: bytes from one row to the next, padding included. unit: as of depth_to_metres.
    Raises UnsupportedDepth.
    """
    dtype = np.dtype(_type_of(encoding)).newbyteorder('>' if is_bigendian else '<')
    buffer = np.frombuffer(data, np.uint8)
    used = width * dtype.itemsize
    if height < 1 or width < 1 or step < used or len(buffer) < step * (height - 1) + used:
        raise UnsupportedDepth(
            f'{len(buffer)} bytes are no {width}x{height} image of {encoding} with rows of {step} '
            'bytes: the driver or the recording is broken'
        )
    rows = np.lib.stride_tricks.as_strided(buffer, (height, used), (step, 1), writeable=False)
    pixels = np.ascontiguousarray(rows).view(dtype)
    return depth_to_metres(pixels.astype(dtype.newbyteorder('=')), encoding, unit)


def depth_from_compressed(
    data: bytes | NDArray[np.uint8], format: str, unit: float | None = None
) -> Metres:
    """Metres (H, W) float32 of a sensor_msgs/CompressedImage of a depth image.

    format: '16UC1; compressedDepth', with ' png' or ' rvl' after it, or the same of 32FC1, whose
    pixels are quantised inverse depths. Bare 16-bit PNGs, without the header of that transport, are
    read too, whatever the format calls them. unit: as of depth_to_metres. Raises UnsupportedDepth.
    """
    encoding, _, transport = (part.strip() for part in format.partition(';'))
    if encoding.lower() in ('', 'png', 'rvl'):
        encoding, transport = '16UC1', encoding.lower() or transport
    if encoding not in ('16UC1', 'mono16', '32FC1'):
        raise UnsupportedDepth(
            f"compressed depth of format '{shortened(format)}' is not 16UC1 or 32FC1: remap "
            "depth to the driver's compressedDepth"
        )
    data = bytes(data)
    header, payload = _split(data)
    pixels = _decompressed(payload, transport)
    if encoding != '32FC1':
        return depth_to_metres(pixels, encoding, unit)
    a, b = header
    if not (np.isfinite(a) and np.isfinite(b) and a > 0):
        raise UnsupportedDepth(
            'compressed depth of 32FC1 says no quantisation, so it has no metres: publish it with '
            'compressed_depth_image_transport, or as 16UC1'
        )
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        metres = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    metres[pixels == 0] = np.nan
    return depth_to_metres(metres, encoding, unit)


def _type_of(encoding: str) -> str:
    if encoding not in _TYPES:
        raise UnsupportedDepth(
            f"depth encoding '{shortened(encoding)}' is not 16UC1 (millimetres) or 32FC1 (metres): "
            "remap depth to the driver's depth image"
        )
    return _TYPES[encoding]


def _split(data: bytes) -> tuple[tuple[float, float], bytes]:
    """The transport's two parameters, NaN where it wrote no header, and what is compressed."""
    if not data:
        raise UnsupportedDepth('the compressed depth image is empty')
    if data.startswith(tuple(_MAGIC)):
        return (np.nan, np.nan), data
    if len(data) <= _CONFIG.size:
        raise UnsupportedDepth('the compressed depth image breaks off')
    _, a, b = _CONFIG.unpack_from(data)
    return (a, b), data[_CONFIG.size :]


def _decompressed(data: bytes, transport: str) -> NDArray[np.uint16]:
    kind = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), '')
    if not kind:
        said = transport.removeprefix('compressedDepth').strip().split()
        kind = said[0] if said else 'png'
    if kind == 'rvl':
        return _from_rvl(data)
    if kind == 'JPEG':
        raise UnsupportedDepth(
            'the compressed depth image is a JPEG, which has lost the depth: publish it by the '
            'transport compressedDepth, or as PNG'
        )
    if kind != 'png':
        raise UnsupportedDepth(f"compressed depth of kind '{kind}' is neither png nor rvl")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise UnsupportedDepth('the compressed depth image is no PNG, or it breaks off')
    if image.dtype != np.uint16 or image.ndim != 2:
        channels = 1 if image.ndim == 2 else image.shape[2]
        raise UnsupportedDepth(
            f'the compressed depth image has {channels} x {8 * image.itemsize} bits a pixel, as a '
            'picture of depth for people has: publish depth of one channel of 16 bits'
        )
    return np.asarray(image, np.uint16)


def _from_rvl(data: bytes) -> NDArray[np.uint16]:
    if len(data) < 8:
        raise UnsupportedDepth('the compressed depth image breaks off')
    width, height = struct.unpack_from('<II', data)
    if not 0 < width * height <= _LARGEST:
        raise UnsupportedDepth(f'the compressed depth image says it is {width}x{height}')
    try:
        return decode_rvl(data[8:], width * height).reshape(height, width)
    except ValueError as error:
        raise UnsupportedDepth(str(error)) from error
