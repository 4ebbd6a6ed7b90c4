# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the points are: camera models, depth, and the surface behind a pixel."""

from .camera_model import (
    CameraModel,
    CameraSizeMismatch,
    UncalibratedCamera,
    UnsupportedDistortion,
)
from .depth import UnsupportedDepth, depth_to_metres
from .lift import LiftSettings, lift
from .surface_point import LiftStatus, SurfacePoint, transform_surface_point

__all__ = [
    'CameraModel',
    'CameraSizeMismatch',
    'LiftSettings',
    'LiftStatus',
    'SurfacePoint',
    'UncalibratedCamera',
    'UnsupportedDepth',
    'UnsupportedDistortion',
    'depth_to_metres',
    'lift',
    'transform_surface_point',
]
