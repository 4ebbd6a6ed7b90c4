# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages by their fields, so that those of a recording are read where there is no ROS.

Types and meanings are those of sensor_msgs; `data` is anything that gives its bytes as a buffer.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Image(Protocol):
    """sensor_msgs/Image."""

    header: Any
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


@runtime_checkable
class CompressedImage(Protocol):
    """sensor_msgs/CompressedImage."""

    header: Any
    format: str
    data: Any


@runtime_checkable
class CameraInfo(Protocol):
    """sensor_msgs/CameraInfo."""

    header: Any
    height: int
    width: int
    distortion_model: str
    d: Any
    k: Any
    r: Any
    p: Any
    binning_x: int
    binning_y: int
    roi: Any


def stamp_ns(message: Any) -> int:
    """The stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
