# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth images as metres along the optical axis, as REP-117 and REP-118 have them.

The unit follows from the encoding and is never guessed: 16UC1 is millimetres, 32FC1 is metres.
In what comes out, NaN is no reading, -Inf nearer and +Inf farther than the camera can tell.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from .rvl import decode_rvl

Metres = NDArray[np.float32]

_TYPES = {'16UC1': 'u2', 'mono16': 'u2', '32FC1': 'f4', '64FC1': 'f8'}
_CONFIG = struct.Struct('<iff')
_LARGEST = 1 << 26
_PLAUSIBLE = (0.03, 100.0)
_SCARCE = 0.01


class UnsupportedDepth(ValueError):
    """The depth image is of an encoding, or in a state, that has no meaning in metres."""


def depth_to_metres(array: NDArray, encoding: str) -> Metres:
    """Metres (H, W) float32 of the pixels (H, W) of a sensor_msgs/Image.

    encoding: '16UC1' or 'mono16' (millimetres, 0 is no reading), '32FC1' or '64FC1' (metres).
    Raises UnsupportedDepth.
    """
    _type_of(encoding)
    if array.ndim != 2:
        raise UnsupportedDepth(f'a depth image has one channel, this one has shape {array.shape}')
    if (array.dtype.kind == 'f') != (encoding in ('32FC1', '64FC1')):
        raise UnsupportedDepth(f"pixels of type {array.dtype} are not of encoding '{encoding}'")
    if array.dtype.kind == 'f':
        metres = array.astype(np.float32)
        nothing = (metres <= 0) & np.isfinite(metres)
    else:
        metres = array * np.float32(0.001)
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
) -> Metres:
    """Metres (H, W) float32 of the fields of a sensor_msgs/Image as they came.

    step: bytes from one row to the next, padding included. Raises UnsupportedDepth.
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
    return depth_to_metres(pixels.astype(dtype.newbyteorder('=')), encoding)


def depth_from_compressed(data: bytes | NDArray[np.uint8], format: str) -> Metres:
    """Metres (H, W) float32 of a sensor_msgs/CompressedImage of the compressedDepth transport.

    format: '16UC1; compressedDepth', with ' png' or ' rvl' after it, or the same of 32FC1, whose
    pixels are quantised inverse depths. Raises UnsupportedDepth.
    """
    encoding, _, transport = (part.strip() for part in format.partition(';'))
    if encoding not in ('16UC1', 'mono16', '32FC1'):
        raise UnsupportedDepth(f"compressed depth of format '{format}' is not 16UC1 or 32FC1")
    data = bytes(data)
    if len(data) <= _CONFIG.size:
        raise UnsupportedDepth('the compressed depth image is empty')
    _, a, b = _CONFIG.unpack_from(data)
    pixels = _decompressed(data[_CONFIG.size :], transport)
    if encoding != '32FC1':
        return depth_to_metres(pixels, encoding)
    with np.errstate(divide='ignore', invalid='ignore'):
        metres = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    metres[pixels == 0] = np.nan
    return depth_to_metres(metres, encoding)


def depth_warning(metres: Metres) -> str | None:
    """What is implausible about a depth image, in words; None if nothing is."""
    some = metres[::4, ::4]
    readings = some[np.isfinite(some)]
    if len(readings) < _SCARCE * some.size:
        return (
            f'only {100 * len(readings) / max(some.size, 1):.1f} % of the depth image has readings'
        )
    median = float(np.median(readings))
    if median > _PLAUSIBLE[1]:
        return (
            f'the median depth is {median:.0f} m: the driver seems to publish millimetres as 32FC1 '
            '(REP-118 has metres)'
        )
    if median < _PLAUSIBLE[0]:
        return (
            f'the median depth is {1e3 * median:.2f} mm: the driver seems to publish metres, or '
            'disparities, as 16UC1 (REP-118 has millimetres)'
        )
    return None


def _type_of(encoding: str) -> str:
    if encoding not in _TYPES:
        raise UnsupportedDepth(
            f"depth encoding '{encoding}' is not 16UC1 (millimetres) or 32FC1 (metres): remap "
            "depth to the driver's depth image"
        )
    return _TYPES[encoding]


def _decompressed(data: bytes, transport: str) -> NDArray[np.uint16]:
    kind = transport.removeprefix('compressedDepth').strip() or 'png'
    if kind == 'rvl':
        return _from_rvl(data)
    if kind != 'png':
        raise UnsupportedDepth(f"compressed depth of kind '{kind}' is neither png nor rvl")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise UnsupportedDepth('the compressed depth image holds no 16 bit PNG')
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
