# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the points are: camera models, depth, and the surface behind a pixel."""

from .beside import point_beside
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
from .grasp import Approach, ApproachPose, GraspSettings, Unseen, approach_pose
from .grasps import NO_GRASPS, Grasp, Grasps, grasps_of, transform_grasps
from .lift import lift, lift_points
from .lift_settings import LiftSettings
from .noise import DepthNoise, StereoNoise, TofNoise
from .noise_presets import PRESETS
from .place import NO_PLACE, Place, place_at, transform_place
from .registration import Registration
from .support import Plane
from .surface_point import LiftStatus, SurfacePoint, transform_surface_point

__all__ = [
    'NO_GRASPS',
    'NO_PLACE',
    'PRESETS',
    'Approach',
    'ApproachPose',
    'CalibrationError',
    'CameraModel',
    'CameraSizeMismatch',
    'DepthNoise',
    'DepthRemarks',
    'Extent',
    'Grasp',
    'GraspSettings',
    'Grasps',
    'LiftSettings',
    'LiftStatus',
    'Place',
    'Plane',
    'Registration',
    'StereoNoise',
    'SurfacePoint',
    'TofNoise',
    'UncalibratedCamera',
    'Unseen',
    'UnsupportedDepth',
    'UnsupportedDistortion',
    'approach_pose',
    'depth_from_bytes',
    'depth_from_compressed',
    'depth_remarks',
    'depth_to_metres',
    'depth_warning',
    'grasps_of',
    'lift',
    'lift_points',
    'place_at',
    'point_beside',
    'read_unit',
    'transform_extent',
    'transform_grasps',
    'transform_place',
    'transform_surface_point',
    'visible_extent',
]
