# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The things of an answer as a picture and as a cloud, for whoever plans around them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.grounding.picking import seeing_camera
from molmo_ros.spatial import Extent
from molmo_ros.spatial.windows import Floats

_MOST = 255  # things that a picture of 8 bits tells apart


def object_mask(
    points: Sequence[GroundedPoint], capture: Capture, target: TargetFrame
) -> NDArray[np.uint8]:
    """(H, W) like the picture: 0, or the number, from 1, of the point whose thing a pixel shows.

    Of points on the same thing the last counts; more than 255 are not told.
    """
    height, width = capture.frame.color.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for number, point in enumerate(points[:_MOST], 1):
        extent = point.pick.extent
        if extent is not None and len(extent.pixels):
            mask[_covered(extent, capture, target)] = number
    return mask


def object_cloud(
    points: Sequence[GroundedPoint], capture: Capture, target: TargetFrame
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint32]]:
    """What is seen of the things: (N, 3) metres in the target frame, (N, 3) RGB, and (N,) numbers.

    Those are, from 1, of the point that each is of.
    """
    xyz, rgb, numbers = [np.empty((0, 3))], [np.empty((0, 3), np.uint8)], [np.empty(0, np.uint32)]
    for number, point in enumerate(points, 1):
        extent = point.pick.extent
        if extent is not None:
            column, row = _in_picture(extent.points, capture, target).T
            xyz.append(extent.points)
            rgb.append(capture.frame.color[row, column])
            numbers.append(np.full(len(extent.points), number, np.uint32))
    return np.concatenate(xyz).astype(np.float32), np.concatenate(rgb), np.concatenate(numbers)


def _covered(extent: Extent, capture: Capture, target: TargetFrame) -> NDArray[np.bool_]:
    """(H, W) the picture's pixels that show a thing."""
    height, width = capture.frame.color.shape[:2]
    covered = np.zeros((height, width), np.uint8)
    camera, T = capture.frame.camera, target.T_target_optical
    depth = capture.frame.depth
    assert camera is not None and T is not None and depth is not None
    if capture.registration is None:
        scale = width / depth.shape[1]
        column, row = ((extent.pixels.T + 0.5) * scale).astype(int)
        pitch = extent.pitch * scale
    else:
        column, row = _in_picture(extent.points, capture, target).T
        seen_by = seeing_camera(capture, camera, T)[0]
        thinned = np.sqrt(len(extent.pixels) / len(extent.points))
        pitch = extent.pitch * thinned * camera.K[0, 0] / seen_by.K[0, 0]
    covered[row.clip(0, height - 1), column.clip(0, width - 1)] = 1
    size = int(np.ceil(pitch))
    if size > 1:
        # Each stands for a square; between squares nothing is left out.
        kernel = np.ones((size + 1, size + 1), np.uint8)
        covered = np.asarray(cv2.morphologyEx(covered, cv2.MORPH_CLOSE, kernel), np.uint8)
        covered = np.asarray(cv2.dilate(covered, np.ones((size | 1, size | 1), np.uint8)), np.uint8)
    return covered > 0


def _in_picture(points: Floats, capture: Capture, target: TargetFrame) -> NDArray[np.intp]:
    """(N, 2) columns and rows of points (N, 3) of the target frame; at the border if outside."""
    camera, T = capture.frame.camera, target.T_target_optical
    assert camera is not None and T is not None
    optical = (points - T[:3, 3]) @ T[:3, :3]
    height, width = capture.frame.color.shape[:2]
    pixels = np.nan_to_num(camera.project(optical), nan=0.0, posinf=0.0, neginf=0.0)
    return np.rint(np.clip(pixels, 0, (width - 1, height - 1))).astype(np.intp)
