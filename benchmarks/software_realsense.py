# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings as librealsense's recorder writes them, of a software device in place of a camera."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.librealsense import load_librealsense
from molmo_ros.spatial import CameraModel

SERIAL = '042042042042'
RATE = 30
_FIRST_MS = 1000.0


def record(
    path: Path,
    frames: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint16]]],
    color_camera: CameraModel,
    depth_camera: CameraModel,
    T_color_depth: NDArray[np.float64],
    unit: float,
) -> None:
    """Record color (H, W, 3) and depth counts (h, w) of `unit` metres, at 30 frames a second.

    path: ends in .db3. T_color_depth: (4, 4) pose of the depth camera in the color camera.
    """
    rs = load_librealsense()
    device = rs.software_device()
    device.register_info(rs.camera_info.name, 'Software RealSense')
    device.register_info(rs.camera_info.serial_number, SERIAL)
    sensors = [device.add_sensor('Depth'), device.add_sensor('Color')]
    sensors[0].add_read_only_option(rs.option.depth_units, unit)
    streams = [
        _stream(rs, rs.stream.depth, 1, rs.format.z16, 2, depth_camera),
        _stream(rs, rs.stream.color, 2, rs.format.rgb8, 3, color_camera),
    ]
    profiles = [
        sensor.add_video_stream(stream).as_video_stream_profile()
        for sensor, stream in zip(sensors, streams, strict=True)
    ]
    profiles[0].register_extrinsics_to(profiles[1], _extrinsics(rs, T_color_depth))
    recorder = rs.recorder(str(path), device)
    recorded, queue = recorder.query_sensors(), rs.frame_queue(2)
    for sensor in recorded:
        sensor.open(sensor.get_stream_profiles())
        sensor.start(queue)
    for number, (color, counts) in enumerate(frames, 1):
        both: tuple[NDArray, NDArray] = (counts, color)
        for sensor, profile, pixels in zip(sensors, profiles, both, strict=True):
            frame = rs.software_video_frame()
            frame.pixels = np.ascontiguousarray(pixels)
            frame.bpp = pixels.nbytes // (pixels.shape[0] * pixels.shape[1])
            frame.stride, frame.profile = pixels.shape[1] * frame.bpp, profile
            frame.timestamp = _FIRST_MS + 1000.0 * number / RATE
            frame.domain, frame.frame_number = rs.timestamp_domain.system_time, number
            if profile is profiles[0]:
                frame.depth_units = unit
            sensor.on_video_frame(frame)
        # The recording is played back at the pace at which it was written.
        time.sleep(1 / RATE)
    for sensor in recorded:
        sensor.stop()
        sensor.close()


def _stream(rs: Any, kind: Any, uid: int, form: Any, size: int, camera: CameraModel) -> Any:
    stream = rs.video_stream()
    stream.type, stream.index, stream.uid, stream.fmt, stream.bpp = kind, 0, uid, form, size
    stream.width, stream.height, stream.fps = camera.width, camera.height, RATE
    own = rs.intrinsics()
    own.width, own.height = camera.width, camera.height
    own.fx, own.fy, own.ppx, own.ppy = (camera.K[i] for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    own.model = rs.distortion.brown_conrady
    own.coeffs = list(np.pad(camera.D, (0, 5 - len(camera.D))))
    stream.intrinsics = own
    return stream


def _extrinsics(rs: Any, T: NDArray[np.float64]) -> Any:
    extrinsics = rs.extrinsics()
    extrinsics.rotation = T[:3, :3].T.ravel().tolist()  # column by column
    extrinsics.translation = T[:3, 3].tolist()
    return extrinsics
