# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the points are: camera models, depth, and the surface behind a pixel."""

from .calibration import (
    CalibrationError,
    CameraSizeMismatch,
    UncalibratedCamera,
    UnsupportedDistortion,
)
from .camera_model import CameraModel
from .depth import (
    UnsupportedDepth,
    depth_from_bytes,
    depth_from_compressed,
    depth_to_metres,
)
from .depth_unit import DepthRemarks, depth_remarks, depth_warning, read_unit
from .extent import Extent, transform_extent, visible_extent
from .grasp import Approach, ApproachPose, GraspSettings, approach_pose
from .lift import lift, lift_points
from .lift_settings import LiftSettings
from .noise import DepthNoise, StereoNoise, TofNoise
from .noise_presets import PRESETS
from .registration import Registration
from .support import Plane
from .surface_point import LiftStatus, SurfacePoint, transform_surface_point

__all__ = [
    'PRESETS',
    'Approach',
    'ApproachPose',
    'CalibrationError',
    'CameraModel',
    'CameraSizeMismatch',
    'DepthNoise',
    'DepthRemarks',
    'Extent',
    'GraspSettings',
    'LiftSettings',
    'LiftStatus',
    'Plane',
    'Registration',
    'StereoNoise',
    'SurfacePoint',
    'TofNoise',
    'UncalibratedCamera',
    'UnsupportedDepth',
    'UnsupportedDistortion',
    'approach_pose',
    'depth_from_bytes',
    'depth_from_compressed',
    'depth_remarks',
    'depth_to_metres',
    'depth_warning',
    'lift',
    'lift_points',
    'read_unit',
    'transform_extent',
    'transform_surface_point',
    'visible_extent',
]
