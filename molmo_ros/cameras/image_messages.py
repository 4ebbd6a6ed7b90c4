# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays of image and camera messages, with numpy and OpenCV alone.

A message is anything with the fields of one: rclpy's, or what a recording was read into.
`step`, `is_bigendian` and the encoding are honoured; what does not fit is refused with a
ConversionError that says what to do. Encodings are those of sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.message_fields import CameraInfo, CompressedImage, Image
from molmo_ros.errors import shortened
from molmo_ros.grounding.brightness import bits_used, eight_bits
from molmo_ros.grounding.image_file import UPRIGHT, UnreadableImage, decode_image
from molmo_ros.spatial import (
    CameraModel,
    UnsupportedDepth,
    depth_from_bytes,
    depth_from_compressed,
)


class ConversionError(ValueError):
    """The message is not an image we can read; the text says why and what to do."""


@dataclass(frozen=True)
class _Layout:
    """dtype and channels of a pixel, and OpenCV's code to RGB (None: it is RGB already)."""

    dtype: str
    channels: int
    to_rgb: int | None = None


_BGR, _BGRA, _RGBA = cv2.COLOR_BGR2RGB, cv2.COLOR_BGRA2RGB, cv2.COLOR_RGBA2RGB
_GREY, _UYVY, _YUYV = cv2.COLOR_GRAY2RGB, cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUY2
# OpenCV names a Bayer pattern by its second row and column, ROS by its first.
_BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
_COLOR = {
    'rgb8': _Layout('u1', 3),
    'rgb16': _Layout('u2', 3),
    'bgr8': _Layout('u1', 3, _BGR),
    'bgr16': _Layout('u2', 3, _BGR),
    '8UC3': _Layout('u1', 3, _BGR),
    '16UC3': _Layout('u2', 3, _BGR),
    'rgba8': _Layout('u1', 4, _RGBA),
    'rgba16': _Layout('u2', 4, _RGBA),
    'bgra8': _Layout('u1', 4, _BGRA),
    'bgra16': _Layout('u2', 4, _BGRA),
    '8UC4': _Layout('u1', 4, _BGRA),
    '16UC4': _Layout('u2', 4, _BGRA),
    'mono8': _Layout('u1', 1, _GREY),
    '8UC1': _Layout('u1', 1, _GREY),
    'mono16': _Layout('u2', 1, _GREY),
    'yuv422': _Layout('u1', 2, _UYVY),
    'uyvy': _Layout('u1', 2, _UYVY),
    'yuv422_yuy2': _Layout('u1', 2, _YUYV),
    'yuyv': _Layout('u1', 2, _YUYV),
    **{f'bayer_{pattern}8': _Layout('u1', 1, code) for pattern, code in _BAYER.items()},
    **{f'bayer_{pattern}16': _Layout('u2', 1, code) for pattern, code in _BAYER.items()},
}
# A plane of brightness, then one of color: bytes of the whole in rows of `step`, as a fraction.
_PLANES = {'nv12': (3, 2), 'nv21': (3, 2), 'nv24': (3, 1)}


def is_empty(message: Image | CameraInfo) -> bool:
    """Whether an optional message of a request was left out (all of its fields unset)."""
    if isinstance(message, CameraInfo):
        return not (message.width or message.height or np.any(message.k))
    return not (message.width or message.height or len(message.data))


def color_array(message: Image | CompressedImage, bits: int = 0) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 RGB image of a message. Raises ConversionError.

    bits: that the numbers of a 16-bit image use; the upper 8 of them are seen. 0: as many as its
    largest needs (8, 10, 12, 14 or 16).
    """
    return color_pixels(message).rgb(bits)


@dataclass(frozen=True, eq=False)
class ColorPixels:
    """What a message has of a picture, before it is cut to 8 bits.

    pixels: (H, W, 3) RGB, uint8 or uint16. orientation: EXIF's of a compressed image that is
    stored turned; pixels are as stored.
    """

    pixels: NDArray
    orientation: int = UPRIGHT

    @property
    def bits(self) -> int:
        """That its numbers need: 8 of a uint8 image, else 8, 10, 12, 14 or 16."""
        return bits_used(self.pixels)

    def rgb(self, bits: int = 0) -> NDArray[np.uint8]:
        """(H, W, 3) uint8: the upper 8 of `bits` bits; 0: of those that it needs."""
        return eight_bits(self.pixels, bits or self.bits)


def color_pixels(message: Image | CompressedImage) -> ColorPixels:
    """The picture in a message. Raises ConversionError."""
    if isinstance(message, CompressedImage):
        return _decompressed(message)
    return ColorPixels(own_pixels(message))


def own_pixels(message: Image) -> NDArray:
    """(H, W, 3) RGB, uint8 or uint16, of a raw image. Raises ConversionError."""
    if message.encoding in _PLANES:
        return _from_planes(message)
    layout = _COLOR.get(message.encoding)
    if layout is None:
        raise ConversionError(
            f"image encoding '{shortened(message.encoding)}' is not a color encoding this "
            f'node reads: publish one of {", ".join([*_COLOR, *_PLANES])}'
        )
    return _to_rgb(_pixels(message, layout), layout.to_rgb, message.encoding)


def depth_array(message: Image | CompressedImage, unit: float | None = None) -> NDArray[np.float32]:
    """Metres (H, W) float32 along the optical axis, NaN where invalid. Raises ConversionError.

    unit: metres a step of the numbers; None: integers are millimetres and floats are metres.
    """
    try:
        if isinstance(message, CompressedImage):
            data = np.frombuffer(message.data, np.uint8)
            return depth_from_compressed(data, message.format, unit)
        return depth_from_bytes(
            memoryview(message.data),
            message.height,
            message.width,
            message.step,
            message.encoding,
            bool(message.is_bigendian),
            unit,
        )
    except UnsupportedDepth as error:
        raise ConversionError(str(error)) from error


def depth_encoding(message: Image | CompressedImage) -> str:
    """What a depth message says that its numbers are: '16UC1', '32FC1', ...; '' for nothing."""
    if isinstance(message, CompressedImage):
        return message.format.partition(';')[0].strip()
    return message.encoding


def camera_model(
    message: CameraInfo, image_size: tuple[int, int], *, rectified: bool = False
) -> CameraModel:
    """The camera model of a camera_info for an image of (width, height) pixels.

    rectified: the image is rectified, so that P holds; otherwise K and D.
    Raises molmo_ros.spatial's UncalibratedCamera, UnsupportedDistortion, CameraSizeMismatch.
    """
    roi = message.roi
    return CameraModel.from_camera_info_fields(
        message.width,
        message.height,
        message.k.tolist(),
        list(message.d),
        message.distortion_model,
        R=message.r.tolist(),
        P=message.p.tolist(),
        binning_x=message.binning_x,
        binning_y=message.binning_y,
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
        rectified=rectified,
        image_size=image_size,
    )


def _pixels(message: Image, layout: _Layout, rows: int = 0) -> NDArray:
    """The pixels (H, W) or (H, W, channels) of a raw image, in this machine's byte order.

    rows: H, where the data has more rows than the image.
    """
    dtype = np.dtype(layout.dtype).newbyteorder('>' if message.is_bigendian else '<')
    width, height, step = message.width, rows or message.height, message.step
    row = width * layout.channels * dtype.itemsize
    if not width or not height:
        raise ConversionError(f'the image is {width}x{height}: it has no pixels')
    if step < row:
        raise ConversionError(
            f'step is {step} bytes but a row of {width} {message.encoding} pixels takes {row}: '
            'set step to the length of a row in bytes'
        )
    if len(message.data) < step * (height - 1) + row:
        raise ConversionError(
            f'the image data is truncated: {len(message.data)} bytes where height x step is '
            f'{height} x {step} = {height * step}: send the whole image'
        )
    shape: tuple[int, ...] = (height, width)
    strides: tuple[int, ...] = (step, layout.channels * dtype.itemsize)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, dtype.itemsize)
    data = np.frombuffer(message.data, np.uint8)
    pixels: NDArray = np.ndarray(shape, dtype, buffer=data, strides=strides)
    return pixels.astype(dtype.newbyteorder('='), copy=False)


def _to_rgb(pixels: NDArray, code: int | None, what: str) -> NDArray:
    """(H, W, 3) RGB of pixels as they came. Raises ConversionError."""
    if code is None:
        return np.ascontiguousarray(pixels)
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code))
    except cv2.error as error:
        height, width = pixels.shape[:2]
        raise ConversionError(
            f'a {width}x{height} image cannot be {shortened(what)}: {error.err}'
        ) from error


def _from_planes(message: Image) -> NDArray[np.uint8]:
    """RGB of a plane of brightness with one of both colors after it. Raises ConversionError."""
    width, height = message.width, message.height
    times, over = _PLANES[message.encoding]
    if over == 2 and (width % 2 or height % 2):
        raise ConversionError(
            f'a {width}x{height} image cannot be {message.encoding}: both must be even'
        )
    planes = np.ascontiguousarray(_pixels(message, _Layout('u1', 1), height * times // over))
    if message.encoding != 'nv24':
        nv12 = message.encoding == 'nv12'
        code = cv2.COLOR_YUV2RGB_NV12 if nv12 else cv2.COLOR_YUV2RGB_NV21
        return np.asarray(_to_rgb(planes, code, message.encoding), np.uint8)
    # OpenCV has no such code: each pixel twice makes it a 4:2:2 image, which it has.
    colors = planes[height:].reshape(height, width, 2)
    double = np.empty((height, 2 * width, 2), np.uint8)
    double[:, 0::2, 0], double[:, 1::2, 0] = colors[..., 0], colors[..., 1]
    double[:, 0::2, 1] = double[:, 1::2, 1] = planes[:height]
    rgb = _to_rgb(double, _UYVY, message.encoding)
    return np.ascontiguousarray(rgb[:, ::2], np.uint8)


def _decompressed(message: CompressedImage) -> ColorPixels:
    """As image_transport's compressed writes it: 'ENCODING; CODEC compressed ORDER'."""
    try:
        stored = decode_image(np.frombuffer(message.data, np.uint8))
    except UnreadableImage as error:
        raise ConversionError(
            f"the compressed image (format '{shortened(message.format)}', {len(message.data)} "
            f'bytes) cannot be decoded: it {error}'
        ) from error
    return ColorPixels(
        _to_rgb(stored.pixels, _stored_order(stored.pixels, message.format), message.format),
        stored.orientation,
    )


def _stored_order(pixels: NDArray, format: str) -> int | None:
    """OpenCV's code to RGB for what it decoded, as image_transport's compressed writes it:
    'ENCODING; CODEC compressed ORDER'."""
    encoding, _, codec = (part.strip() for part in format.partition(';'))
    if pixels.ndim == 2:
        layout = _COLOR.get(encoding) if encoding.startswith('bayer_') else None
        return layout.to_rgb if layout is not None else _GREY
    # A picture has its colors by itself, unless they were swapped before it was made.
    if 'compressed rgb' in codec:
        return None if pixels.shape[2] == 3 else _RGBA
    return _BGR if pixels.shape[2] == 3 else _BGRA
