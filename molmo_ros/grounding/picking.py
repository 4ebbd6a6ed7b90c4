# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The thing that a point is on, and how a gripper comes to it, in the frame of the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.spatial import (
    Approach,
    ApproachPose,
    Extent,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    SurfacePoint,
    approach_pose,
    transform_extent,
    transform_surface_point,
    visible_extent,
)


@dataclass(frozen=True)
class Pick:
    """extent, pose: None where not known or not asked for. reason: what is not known, in words."""

    extent: Extent | None = None
    pose: ApproachPose | None = None
    reason: str = ''


NOT_ASKED = Pick()


def pick(
    point: SurfacePoint,
    capture: Capture,
    target: TargetFrame,
    lift: LiftSettings,
    grasp: GraspSettings,
) -> Pick:
    """The pick of a point in the target frame; without a pose where depth does not support it."""
    depth, camera = capture.frame.depth, capture.frame.camera
    registration, T, up = capture.registration, target.T_target_optical, target.up
    if point.status is not LiftStatus.OK or depth is None or camera is None or T is None:
        return Pick(reason='the point has no position')
    if registration is not None:
        camera, T = registration.depth_camera, T @ registration.T_color_depth
    elif depth.shape != (camera.height, camera.width):
        camera = camera.resized(depth.shape[1], depth.shape[0])
    T_depth_target = np.asarray(np.linalg.inv(T), np.float64)
    seen = visible_extent(
        transform_surface_point(point, T_depth_target),
        depth,
        camera,
        lift,
        up=None if up is None else T_depth_target[:3, :3] @ up,
    )
    if seen is None:
        return Pick(
            reason='the depth shows no object that ends around the point: the waypoint goes by '
            'the surface'
        )
    extent = transform_extent(seen, T)
    pose = approach_pose(point, extent, grasp, up)
    if pose is None or pose.approach is Approach.RAY:
        return Pick(
            extent,
            reason='the depth does not show which way the object can be approached: the waypoint '
            'goes by the ray',
        )
    return Pick(extent, pose, '; '.join(_notes(extent, pose, grasp)))


def _notes(extent: Extent, pose: ApproachPose, grasp: GraspSettings) -> list[str]:
    notes = []
    if pose.approach is not grasp.approach:
        notes.append(
            'the plane under the object is not seen: the approach is against the surface normal'
        )
    if extent.cut:
        notes.append('the object is cut off in the depth image and may be larger')
    return notes
