# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The coloured cloud of a capture, with an answer's points in it, as a file that viewers open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.camera_check import aligned_depth
from molmo_ros.grounding.capture import Capture, TargetFrame

# A point of an answer is a ball of so many vertices, with a radius of so many metres.
_BALL, _RADIUS = 400, 0.005
PINK = (255, 40, 130)


@dataclass(frozen=True, eq=False)
class Cloud:
    """xyz: (N, 3) float32 metres. rgb: (N, 3) uint8."""

    xyz: NDArray[np.float32]
    rgb: NDArray[np.uint8]


def cloud_of(capture: Capture, target: TargetFrame) -> Cloud | None:
    """What the depth shows, in the target frame; None where depth, calibration or pose lacks."""
    frame, T = capture.frame, target.T_target_optical
    depth = depth_of(capture)
    if depth is None or frame.camera is None or T is None:
        return None
    v, u = np.nonzero(np.isfinite(depth) & (depth > 0))
    optical = frame.camera.ray(u, v) * depth[v, u, None]
    seen = np.isfinite(optical).all(1)
    xyz = optical[seen] @ T[:3, :3].T + T[:3, 3]
    return Cloud(xyz.astype(np.float32), frame.color[v[seen], u[seen]])


def with_points(cloud: Cloud, positions: Sequence[NDArray[np.float64]]) -> Cloud:
    """The cloud with a pink ball at each position (3,) in its frame that is known."""
    step = np.arange(_BALL) + 0.5
    z, angle = 1 - 2 * step / _BALL, np.pi * (1 + 5**0.5) * step
    flat = np.sqrt(1 - z * z)
    ball = _RADIUS * np.stack([flat * np.cos(angle), flat * np.sin(angle), z], 1)
    balls = [ball + position for position in positions if np.isfinite(position).all()]
    xyz = np.concatenate([cloud.xyz, *balls]).astype(np.float32)
    pink = np.tile(np.array(PINK, np.uint8), (len(xyz) - len(cloud.xyz), 1))
    return Cloud(xyz, np.concatenate([cloud.rgb, pink]))


def ply_bytes(cloud: Cloud) -> bytes:
    """A PLY file, binary and little-endian: x y z in metres, red green blue."""
    vertices = np.empty(len(cloud.xyz), [('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    vertices['xyz'], vertices['rgb'] = cloud.xyz, cloud.rgb
    lines = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(vertices)}']
    lines += [f'property float {axis}' for axis in 'xyz']
    lines += [f'property uchar {colour}' for colour in ('red', 'green', 'blue')]
    return '\n'.join([*lines, 'end_header\n']).encode() + vertices.tobytes()


def depth_of(capture: Capture) -> NDArray[np.float32] | None:
    """(H, W) metres of the size of the picture, and as its camera sees them; None without depth."""
    depth, color = capture.frame.depth, capture.frame.color
    if depth is None or capture.registration is not None or depth.shape == color.shape[:2]:
        return aligned_depth(capture)
    # Of another size it shows the same view.
    size = color.shape[1], color.shape[0]
    return np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), np.float32)
