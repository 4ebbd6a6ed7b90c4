# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image and camera messages to and from arrays, with numpy and OpenCV alone.

`step`, `is_bigendian` and the encoding are honoured; what does not fit is refused with a
ConversionError that says what to do. Encodings are those of sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

import array
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

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


_COLOR = {
    'rgb8': _Layout('u1', 3),
    'rgb16': _Layout('u2', 3),
    'bgr8': _Layout('u1', 3, cv2.COLOR_BGR2RGB),
    'bgr16': _Layout('u2', 3, cv2.COLOR_BGR2RGB),
    '8UC3': _Layout('u1', 3, cv2.COLOR_BGR2RGB),
    'rgba8': _Layout('u1', 4, cv2.COLOR_RGBA2RGB),
    'bgra8': _Layout('u1', 4, cv2.COLOR_BGRA2RGB),
    '8UC4': _Layout('u1', 4, cv2.COLOR_BGRA2RGB),
    'mono8': _Layout('u1', 1, cv2.COLOR_GRAY2RGB),
    '8UC1': _Layout('u1', 1, cv2.COLOR_GRAY2RGB),
    'mono16': _Layout('u2', 1, cv2.COLOR_GRAY2RGB),
    'yuv422': _Layout('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': _Layout('u1', 2, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': _Layout('u1', 2, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': _Layout('u1', 2, cv2.COLOR_YUV2RGB_YUY2),
    # OpenCV names a Bayer pattern by its second row and column, ROS by its first.
    'bayer_rggb8': _Layout('u1', 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': _Layout('u1', 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': _Layout('u1', 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': _Layout('u1', 1, cv2.COLOR_BayerGB2RGB),
}


def is_empty(message: Image | CameraInfo) -> bool:
    """Whether an optional message of a request was left out (all of its fields unset)."""
    if isinstance(message, CameraInfo):
        return not (message.width or message.height or np.any(message.k))
    return not (message.width or message.height or len(message.data))


def color_array(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 RGB image of a message. Raises ConversionError."""
    if isinstance(message, CompressedImage):
        return _decompressed(message)
    layout = _COLOR.get(message.encoding)
    if layout is None:
        raise ConversionError(
            f"image encoding '{message.encoding}' is not a color encoding this node reads: "
            f'publish one of {", ".join(_COLOR)}'
        )
    pixels = _pixels(message, layout)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if layout.to_rgb is None:
        return np.ascontiguousarray(pixels)
    try:
        rgb = cv2.cvtColor(np.ascontiguousarray(pixels), layout.to_rgb)
    except cv2.error as error:
        raise ConversionError(
            f'a {message.width}x{message.height} image cannot be {message.encoding}: {error.err}'
        ) from error
    return np.asarray(rgb, np.uint8)


def depth_array(message: Image | CompressedImage) -> NDArray[np.float32]:
    """Metres (H, W) float32 along the optical axis, NaN where invalid. Raises ConversionError."""
    try:
        if isinstance(message, CompressedImage):
            return depth_from_compressed(np.frombuffer(message.data, np.uint8), message.format)
        return depth_from_bytes(
            memoryview(message.data),
            message.height,
            message.width,
            message.step,
            message.encoding,
            bool(message.is_bigendian),
        )
    except UnsupportedDepth as error:
        raise ConversionError(str(error)) from error


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


def color_message(rgb: NDArray[np.uint8], header: Header) -> Image:
    """An rgb8 message of an (H, W, 3) uint8 RGB image."""
    return _message(rgb, 'rgb8', header)


def depth_message(metres: NDArray[np.float32], encoding: str, header: Header) -> Image:
    """A depth message of metres (H, W); encoding: '16UC1' (mm, 0 invalid) or '32FC1' (m, NaN)."""
    if encoding == '32FC1':
        return _message(metres.astype('<f4'), encoding, header)
    if encoding != '16UC1':
        raise ConversionError(f"depth encoding '{encoding}' is neither 16UC1 nor 32FC1")
    millimetres = np.round(np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0) * 1000)
    inside = (millimetres > 0) & (millimetres < 65536)
    return _message(np.where(inside, millimetres, 0).astype('<u2'), encoding, header)


def camera_info_message(camera: CameraModel, header: Header) -> CameraInfo:
    """The camera_info of a camera without rectification (R the identity, P from K)."""
    P = np.zeros((3, 4))
    P[:, :3] = camera.K
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=(camera.D if len(camera.D) else np.zeros(5)).tolist(),
        k=camera.K.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=P.ravel().tolist(),
    )


def _pixels(message: Image, layout: _Layout) -> NDArray:
    """The pixels (H, W) or (H, W, channels) of a raw image, in this machine's byte order."""
    dtype = np.dtype(layout.dtype).newbyteorder('>' if message.is_bigendian else '<')
    width, height, step = message.width, message.height, message.step
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


def _decompressed(message: CompressedImage) -> NDArray[np.uint8]:
    data = np.frombuffer(message.data, np.uint8)
    # Molmo points at the pixels as stored, so a picture's EXIF rotation must not be applied.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ConversionError(
            f"the compressed image (format '{message.format}', {len(data)} bytes) cannot be "
            'decoded: send a whole JPEG or PNG'
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _message(pixels: NDArray, encoding: str, header: Header) -> Image:
    # rclpy checks every element of anything but an array.array.
    data = array.array('B')
    data.frombytes(pixels.tobytes())
    return Image(
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=pixels.strides[0] if pixels.flags.c_contiguous else pixels.nbytes // pixels.shape[0],
        data=data,
    )
