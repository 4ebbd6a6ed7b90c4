# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a picture, its depth and its calibration say of each other, before anybody asks anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.capture import Capture
from molmo_ros.spatial import CameraModel
from molmo_ros.spatial.alignment import Alignment, alignment, depth_edges, registered

# Pixels, in a picture 640 wide: depth that lies better is aligned; twice as far off it is not.
# Between the two are cameras whose depth is smeared, as many are.
_ALIGNED = 2.0
_EDGE = (255, 0, 200)
_SMALL = 640


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. good: None where a person has to judge."""

    what: str
    good: bool | None
    text: str


def capture_findings(capture: Capture) -> list[Finding]:
    """Those of a capture as it is; the arrays of its frame are not changed."""
    return [
        *_calibration(capture),
        *_depth(capture),
        *_alignment(capture),
        *(Finding('picture', None, note) for note in capture.notes),
        *(Finding('assumed', None, sentence) for sentence in capture.assumed),
    ]


def aligned_depth(capture: Capture) -> NDArray[np.float32] | None:
    """(H, W) metres of the size of the picture; None where there is none."""
    frame = capture.frame
    if frame.depth is None:
        return None
    if capture.registration is not None:
        if frame.camera is None:
            return None
        return registered(frame.depth, capture.registration, frame.camera)
    return frame.depth if frame.depth.shape == frame.color.shape[:2] else None


def edges_picture(color: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) with the edges of a depth image (H, W) on it, small ones enlarged."""
    times = max(1, -(-_SMALL // color.shape[1]))
    picture = np.asarray(color * 0.75, np.uint8).repeat(times, 0).repeat(times, 1)
    edges = depth_edges(depth).astype(np.uint8).repeat(times, 0).repeat(times, 1)
    thin = cv2.erode(edges, np.ones((2, 2), np.uint8)) if times > 1 else edges
    picture[thin > 0] = _EDGE
    return picture


def _calibration(capture: Capture) -> Iterator[Finding]:
    camera = capture.frame.camera
    if camera is None:
        for reason in _reasons(capture, 'NO_CAMERA_INFO'):
            yield Finding('calibration', False, reason)
        return
    across, down = (
        2 * np.degrees(np.arctan2(size / 2, focal))
        for size, focal in ((camera.width, camera.K[0, 0]), (camera.height, camera.K[1, 1]))
    )
    yield Finding(
        'calibration',
        None,
        f'{camera.width}x{camera.height}, focal lengths {camera.K[0, 0]:.1f} and '
        f'{camera.K[1, 1]:.1f} pixels (it sees {across:.0f} by {down:.0f} degrees), centre '
        f'{camera.K[0, 2]:.1f}, {camera.K[1, 2]:.1f}, {_lens(camera)}: is it so wide?',
    )


def _lens(camera: CameraModel) -> str:
    return f'lens {camera.distortion_model}' if camera.D.any() else 'no distortion'


def _depth(capture: Capture) -> Iterator[Finding]:
    depth = capture.frame.depth
    if depth is None:
        for reason in _reasons(capture, 'NO_DEPTH'):
            yield Finding('depth', False, reason)
        return
    readings = depth[np.isfinite(depth)]
    if len(readings):
        near, middle, far = np.percentile(readings, (5, 50, 95))
        share = len(readings) / depth.size
        text = (
            f'{depth.shape[1]}x{depth.shape[0]}, {near:.2f} to {far:.2f} m, mostly {middle:.2f} m; '
            f'{share:.0%} of it has readings: are things so far away?'
        )
        yield Finding('depth', None, text)
    if capture.warning:
        yield Finding('depth', False, capture.warning)


def _reasons(capture: Capture, status: str) -> list[str]:
    return [why for key, why in capture.missing.items() if key.name == status]


def _alignment(capture: Capture) -> Iterator[Finding]:
    frame = capture.frame
    if frame.depth is None:
        return
    depth = aligned_depth(capture)
    if depth is None:
        height, width = frame.color.shape[:2]
        yield Finding(
            'alignment',
            False,
            f'depth is {frame.depth.shape[1]}x{frame.depth.shape[0]} and the picture '
            f'{width}x{height}: have the driver align depth to color, or give the depth '
            "camera's calibration and pose",
        )
        return
    yield _aligned(alignment(frame.color, depth), frame.color.shape[1])


def _aligned(found: Alignment, width: int) -> Finding:
    """What a measured alignment means in a picture so wide."""
    if not found.known:
        return Finding(
            'alignment',
            None,
            f'cannot tell: {found.why_not}; show the camera things that stand out from what is '
            'behind them, all over the picture',
        )
    x, y = found.shift
    apart = float(np.hypot(x, y))
    text = f"color's edges are {_way(x, y)} those of the depth, by {found.edges} pixels of them"
    good = _ALIGNED * max(1.0, width / 640)
    if apart <= good:
        return Finding('alignment', True, f'{text}: aligned')
    if apart <= 2 * good:
        return Finding(
            'alignment', None, f'{text}: near the edge of a thing, depth is that of what is behind'
        )
    return Finding(
        'alignment',
        False,
        f'{text}: not aligned; points would get the depth of what is {apart:.0f} pixels beside '
        'them',
    )


def _way(x: float, y: float) -> str:
    """'3.1 px right of and 0.2 px above'."""
    across = f'{abs(x):.1f} px {"right" if x > 0 else "left"} of'
    return f'{across} and {abs(y):.1f} px {"below" if y > 0 else "above"}'
