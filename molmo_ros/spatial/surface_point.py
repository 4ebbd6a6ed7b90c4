# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A point on a surface, with its normal and how far to trust both."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


class LiftStatus(enum.IntEnum):
    """Whether a pixel has a position in 3D, and why not; the numbers of GroundedPoint.msg."""

    OK = 0
    NO_DEPTH = 1
    DEPTH_INVALID = 2
    OUT_OF_RANGE = 3
    NO_CAMERA_INFO = 4
    NO_TRANSFORM = 5
    OUTSIDE_DEPTH = 6


def _nothing(*shape: int) -> NDArray[np.float64]:
    nan = np.full(shape, np.nan)
    nan.flags.writeable = False
    return nan


_NO_VECTOR, _NO_MATRIX = _nothing(3), _nothing(3, 3)


@dataclass(frozen=True)
class SurfacePoint:
    """A point on a surface in some frame; NaN wherever the status says there is none.

    position: (3,) float64 metres. normal: (3,) unit vector, towards the camera; NaN where the
    depth does not show a surface. covariance: (3, 3) of the position in m^2. valid_pixels: how
    many depth pixels it stands on. spread: metres, robust spread of their depth about the surface.
    bridged: the pixel itself had no depth, the surface around it was carried over the hole.
    near_edge: another surface is seen so near that the reading may be its; the covariance says so.
    reason: in words, why the status is not OK.
    """

    status: LiftStatus
    position: NDArray[np.float64] = field(default_factory=lambda: _NO_VECTOR)
    normal: NDArray[np.float64] = field(default_factory=lambda: _NO_VECTOR)
    covariance: NDArray[np.float64] = field(default_factory=lambda: _NO_MATRIX)
    valid_pixels: int = 0
    spread: float = float('nan')
    bridged: bool = False
    near_edge: bool = False
    reason: str = ''


def transform_surface_point(
    point: SurfacePoint, T_target_optical: NDArray[np.float64]
) -> SurfacePoint:
    """The same point in another frame, by the (4, 4) pose of the optical frame in the target's.

    Raises ValueError if the matrix is not a rigid transform.
    """
    T = np.asarray(T_target_optical, np.float64)
    rotation = T[:3, :3]
    if T.shape != (4, 4) or not is_rotation(rotation):
        raise ValueError('T_target_optical must be a (4, 4) rigid transform')
    return replace(
        point,
        position=rotation @ point.position + T[:3, 3],
        normal=rotation @ point.normal,
        covariance=rotation @ point.covariance @ rotation.T,
    )


def is_rotation(matrix: NDArray[np.float64]) -> bool:
    """Whether a matrix (3, 3) turns without stretching or mirroring."""
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-4) and np.linalg.det(matrix) > 0)
