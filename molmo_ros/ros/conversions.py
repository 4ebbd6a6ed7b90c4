# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Image and camera messages to and from arrays.

How they are read is in cameras.image_messages. The distribution's cv_bridge makes RGB of color
images where there is one; what it does not know, and everything where there is none, is read there.
"""

from __future__ import annotations

import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from molmo_ros.cameras import image_messages
from molmo_ros.cameras.image_messages import (
    ColorPixels,
    ConversionError,
    camera_model,
    depth_array,
    depth_encoding,
    is_empty,
    own_pixels,
)
from molmo_ros.ros.bridge import bridged
from molmo_ros.spatial import CameraModel

__all__ = [
    'ColorPixels',
    'ConversionError',
    'camera_info_message',
    'camera_model',
    'color_array',
    'color_message',
    'color_pixels',
    'depth_array',
    'depth_encoding',
    'depth_message',
    'is_empty',
    'own_pixels',
]


def color_array(message: Image | CompressedImage, bits: int = 0) -> NDArray[np.uint8]:
    """As `image_messages.color_array`, by cv_bridge where it can."""
    return color_pixels(message).rgb(bits)


def color_pixels(message: Image | CompressedImage) -> ColorPixels:
    """The picture in a message, by cv_bridge where it can. Raises ConversionError."""
    pixels = bridged(message) if isinstance(message, Image) else None
    return image_messages.color_pixels(message) if pixels is None else ColorPixels(pixels)


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
