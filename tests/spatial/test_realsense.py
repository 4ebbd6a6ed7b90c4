# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Agreement with librealsense: its deprojection, and its alignment of depth to color.

librealsense runs on a software device; it needs libusb, which the wheel libusb-package brings.
"""

from __future__ import annotations

import ctypes
from typing import Any

import libusb_package
import numpy as np
import pytest

from molmo_ros.spatial import CameraModel, LiftSettings, LiftStatus, Registration, lift_points

ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
import pyrealsense2  # noqa: E402

rs: Any = pyrealsense2

UNIT = 0.0001
"""Metres a depth count: as fine as 16 bits allow."""

DEPTH = CameraModel(640, 480, np.array([[612.0, 0, 319.2], [0, 611.5, 241.3], [0, 0, 1]]))
COLOR = CameraModel(640, 480, np.array([[605.0, 0, 322.4], [0, 606.0, 238.7], [0, 0, 1]]))
BASELINE = np.array([0.015, 0.0004, 0.0])
"""No offset along z: librealsense copies counts and would leave it out."""


def intrinsics(camera: CameraModel, distortion: Any) -> Any:
    """The same camera as librealsense has it."""
    own = rs.intrinsics()
    own.width, own.height = camera.width, camera.height
    own.fx, own.fy = camera.K[0, 0], camera.K[1, 1]
    own.ppx, own.ppy = camera.K[0, 2], camera.K[1, 2]
    own.model = distortion
    own.coeffs = list(np.pad(camera.D, (0, 5 - len(camera.D))))
    return own


@pytest.mark.parametrize(
    ('model', 'D', 'theirs'),
    [
        ('plumb_bob', [], 'none'),
        ('plumb_bob', [-0.056, 0.066, 0.0003, -0.0002, -0.021], 'brown_conrady'),
        ('plumb_bob', [0.13, -0.4, 0.001, 0.0006, 0.36], 'brown_conrady'),
        ('equidistant', [0.02, -0.01, 0.003, -0.0006], 'kannala_brandt4'),
    ],
)
def test_deprojection(model: str, D: list[float], theirs: str) -> None:
    """A pixel and a depth are the same point by both."""
    camera = CameraModel(640, 480, COLOR.K, np.array(D), model)
    own = intrinsics(camera, getattr(rs.distortion, theirs))
    for u, v in np.random.default_rng(0).uniform((40, 40), (600, 440), (200, 2)):
        expected = rs.rs2_deproject_pixel_to_point(own, [u, v], 0.9)
        np.testing.assert_allclose(camera.ray(u, v) * 0.9, expected, atol=0.9e-4)


def aligned(counts: np.ndarray) -> np.ndarray:
    """librealsense's alignment to color of a depth image (480, 640) of counts."""
    device = rs.software_device()
    depth_sensor, color_sensor = device.add_sensor('depth'), device.add_sensor('color')
    depth = rs.video_stream()
    depth.type, depth.index, depth.uid, depth.fmt = rs.stream.depth, 0, 1, rs.format.z16
    color = rs.video_stream()
    color.type, color.index, color.uid, color.fmt = rs.stream.color, 0, 2, rs.format.rgb8
    for stream, camera, size in ((depth, DEPTH, 2), (color, COLOR, 3)):
        stream.width, stream.height, stream.fps, stream.bpp = 640, 480, 30, size
        stream.intrinsics = intrinsics(camera, rs.distortion.none)
    depth_profile = depth_sensor.add_video_stream(depth).as_video_stream_profile()
    color_profile = color_sensor.add_video_stream(color).as_video_stream_profile()
    depth_sensor.add_read_only_option(rs.option.depth_units, UNIT)
    shift = rs.extrinsics()
    shift.rotation, shift.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], list(BASELINE)
    depth_profile.register_extrinsics_to(color_profile, shift)
    queues = []
    for sensor, profile in ((depth_sensor, depth_profile), (color_sensor, color_profile)):
        queue = rs.frame_queue(4)
        sensor.open(profile)
        sensor.start(queue)
        queues.append(queue)
    for sensor, profile, pixels in (
        (depth_sensor, depth_profile, counts),
        (color_sensor, color_profile, np.zeros((480, 640, 3), np.uint8)),
    ):
        frame = rs.software_video_frame()
        frame.pixels, frame.bpp = pixels, pixels.nbytes // (640 * 480)
        frame.stride, frame.profile = 640 * frame.bpp, profile
        frame.timestamp, frame.frame_number = 1.0, 1
        frame.domain = rs.timestamp_domain.hardware_clock
        if pixels is counts:
            frame.depth_units = UNIT
        sensor.on_video_frame(frame)
    frames = [queue.wait_for_frame(2000) for queue in queues]
    result: list[np.ndarray] = []
    align = rs.align(rs.stream.color)

    def join(frame: Any, source: Any) -> None:
        both = source.allocate_composite_frame(frames)
        done = align.process(both.as_frameset())
        result.append(np.asanyarray(done.get_depth_frame().get_data()).copy())
        source.frame_ready(frame)

    block = rs.processing_block(join)
    block.start(rs.frame_queue(1))
    block.invoke(frames[0])
    for sensor in (depth_sensor, color_sensor):
        sensor.stop()
        sensor.close()
    return result[0]


def registered(depth: np.ndarray, pixels: np.ndarray) -> tuple:
    """Ours, of the same cameras."""
    T = np.eye(4)
    T[:3, 3] = BASELINE
    return lift_points(pixels, depth, COLOR, LiftSettings(), Registration(DEPTH, T))


def test_alignment_of_a_board() -> None:
    """Parallel to the cameras there is nothing to interpolate: the same depth to a count."""
    counts = np.full((480, 640), 8765, np.uint16)
    theirs = aligned(counts) * UNIT
    pixels = np.random.default_rng(1).integers((60, 40), (580, 440), (100, 2))
    points = registered((counts * UNIT).astype(np.float32), pixels.astype(float))
    own = intrinsics(COLOR, rs.distortion.none)
    for (u, v), point in zip(pixels, points, strict=True):
        expected = rs.rs2_deproject_pixel_to_point(own, [u, v], theirs[v, u])
        assert point.status == LiftStatus.OK
        np.testing.assert_allclose(point.position, expected, atol=1e-4 * theirs[v, u])


def test_alignment_of_a_scene(bodies) -> None:
    """A slope and a ball before it: the same surfaces, to a pixel of slope.

    librealsense keeps the nearest of the readings that touch a color pixel, so it is never behind.
    """
    world = bodies.World(
        (bodies.plane((0.0, -0.5, -1.0), (0, 0, 1.0)), bodies.ball((0.02, -0.02, 0.7), 0.08))
    )
    counts = np.rint(world.depth(DEPTH) / UNIT).astype(np.uint16)
    theirs = aligned(counts) * UNIT
    pixels = np.random.default_rng(2).integers((60, 40), (580, 440), (300, 2))
    points = registered((counts * UNIT).astype(np.float32), pixels.astype(float))
    differences, compared = [], 0
    for (u, v), point in zip(pixels, points, strict=True):
        around = theirs[v - 2 : v + 3, u - 2 : u + 3]
        if (around == 0).any() or np.ptp(around) > 0.02:
            continue
        compared += 1
        assert point.status == LiftStatus.OK
        differences.append(point.position[2] - theirs[v, u])
    assert compared > 200
    slope = 0.5 / COLOR.K[1, 1]
    assert -1e-4 < np.median(differences) < slope
    assert min(differences) > -slope
    assert max(differences) < 4 * slope
