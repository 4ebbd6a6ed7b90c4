# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The thing that a point is on, and how a gripper takes it, in the frame of the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.spatial import (
    NO_GRASPS,
    NO_PLACE,
    Approach,
    ApproachPose,
    CameraModel,
    Extent,
    Grasps,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    Place,
    SurfacePoint,
    approach_pose,
    grasps_of,
    place_at,
    point_beside,
    transform_extent,
    transform_grasps,
    transform_place,
    transform_surface_point,
    visible_extent,
)
from molmo_ros.spatial.grasp import quaternion_of, rotation_of
from molmo_ros.spatial.parts import parts_by_color, parts_by_shape
from molmo_ros.spatial.place import Paint
from molmo_ros.spatial.tool_frames import in_tool_frame
from molmo_ros.spatial.windows import Floats


@dataclass(frozen=True)
class Pick:
    """extent, pose: None where not known or not asked for. reason: what is not known, in words.

    pose: where to begin, a standoff back from the best of the grasps. grasps: ways to take it.
    place: where something can be put down at the point. tool_frame: whose axes the pose has, and
    grasps when they are told.
    """

    extent: Extent | None = None
    pose: ApproachPose | None = None
    reason: str = ''
    grasps: Grasps = NO_GRASPS
    place: Place = NO_PLACE
    tool_frame: str = 'x_closes'


NOT_ASKED = Pick()
BESIDE = (
    'the point is on no object, but {away:.0f} pixels beside one, which was taken for what is meant'
)
MOVED = 'measured at the last answer, and moved with the point since'


def pick(
    point: SurfacePoint,
    capture: Capture,
    target: TargetFrame,
    lift: LiftSettings,
    grasp: GraspSettings,
) -> Pick:
    """The pick of a point in the target frame; without a pose where depth does not support it."""
    depth, camera, T = capture.frame.depth, capture.frame.camera, target.T_target_optical
    if point.status is not LiftStatus.OK or depth is None or camera is None or T is None:
        return Pick(reason='the point has no position')
    camera, T = seeing_camera(capture, camera, T)
    T_depth_target = np.asarray(np.linalg.inv(T), np.float64)
    seen_point = transform_surface_point(point, T_depth_target)
    up = None if target.up is None else T_depth_target[:3, :3] @ target.up
    paint = _painter(capture, camera)
    place = transform_place(
        place_at(seen_point, depth, camera, lift, up=up, unseen=grasp.unseen, paint=paint), T
    )
    seen = visible_extent(seen_point, depth, camera, lift, up=up)
    if seen is None:
        return Pick(
            reason='the depth shows no object that ends around the point: the waypoint goes by '
            'the surface',
            place=place,
            tool_frame=grasp.tool_frame,
        )
    extent = transform_extent(seen, T)
    pose = approach_pose(point, extent, grasp, target.up)
    if pose is None or pose.approach is Approach.RAY:
        return Pick(
            extent,
            reason='the depth does not show which way the object can be approached: the waypoint '
            'goes by the ray',
            place=place,
            tool_frame=grasp.tool_frame,
        )
    found = grasps_of(seen_point, seen, depth, camera, lift, grasp, up)
    several = _several(seen, found, depth, camera, lift, paint)
    grasps = replace(transform_grasps(found, T), may_be_several=bool(several))
    notes = '; '.join(_notes(extent, pose, grasp, grasps, several))
    told = _told(_by_grasp(pose, grasps, grasp), grasp)
    return Pick(extent, told, notes, grasps, place, grasp.tool_frame)


def pick_near(
    pixel: tuple[float, float],
    point: SurfacePoint,
    capture: Capture,
    target: TargetFrame,
    lift: LiftSettings,
    grasp: GraspSettings,
) -> tuple[SurfacePoint, Pick]:
    """The pick of a point, or of the thing that it just misses; and the point.

    pixel: (u, v) of the point in the picture, integers at pixel centres. A point that has no
    position between surfaces gets that on the thing beside it; any other stays as it is.
    """
    found = pick(point, capture, target, lift, grasp)
    if found.extent is not None:
        return point, found
    beside = _beside(pixel, point, capture, target, lift)
    if beside is None:
        return point, found
    other, away = beside
    picked = pick(other, capture, target, lift, grasp)
    if picked.extent is None:
        return point, found
    picked = replace(
        picked, reason='; '.join(filter(None, [BESIDE.format(away=away), picked.reason]))
    )
    if point.status is LiftStatus.OK:
        return point, replace(picked, place=found.place)
    return other, picked


def _beside(
    pixel: tuple[float, float],
    point: SurfacePoint,
    capture: Capture,
    target: TargetFrame,
    lift: LiftSettings,
) -> tuple[SurfacePoint, float] | None:
    """A point in the target frame on the thing beside a point, and how many pixels away."""
    depth, camera, T = capture.frame.depth, capture.frame.camera, target.T_target_optical
    between = point.status is LiftStatus.DEPTH_INVALID and capture.registration is None
    if depth is None or camera is None or T is None:
        return None
    if not between and point.status is not LiftStatus.OK:
        return None
    scale = depth.shape[1] / camera.width
    seeing, T = seeing_camera(capture, camera, T)
    T_depth_target = np.asarray(np.linalg.inv(T), np.float64)
    if between:
        u, v = ((c + 0.5) * scale - 0.5 for c in pixel)
    else:
        u, v = seeing.project(transform_surface_point(point, T_depth_target).position)
    up = None if target.up is None else T_depth_target[:3, :3] @ target.up
    found = point_beside((float(u), float(v)), depth, seeing, lift, up)
    return None if found is None else (transform_surface_point(found[0], T), found[1] / scale)


def moved(pick: Pick, offset: Floats) -> Pick:
    """The pick of a thing that has been moved by `offset` (3,) metres since, without a turn."""
    T = np.eye(4)
    T[:3, 3] = offset
    pose = pick.pose
    return replace(
        pick,
        extent=None if pick.extent is None else transform_extent(pick.extent, T),
        pose=None if pose is None else replace(pose, position=pose.position + offset),
        reason='; '.join(filter(None, [MOVED, pick.reason])),
        grasps=transform_grasps(pick.grasps, T),
        place=transform_place(pick.place, T),
    )


def seeing_camera(
    capture: Capture, camera: CameraModel, T_target_optical: Floats
) -> tuple[CameraModel, Floats]:
    """The camera that saw the depth of a capture, and its (4, 4) pose in the target frame."""
    depth, registration = capture.frame.depth, capture.registration
    if registration is not None:
        return registration.depth_camera, T_target_optical @ registration.T_color_depth
    if depth is not None and depth.shape != (camera.height, camera.width):
        camera = camera.resized(depth.shape[1], depth.shape[0])
    return camera, T_target_optical


def _several(
    seen: Extent,
    grasps: Grasps,
    depth: NDArray[np.float32],
    camera: CameraModel,
    lift: LiftSettings,
    paint: Paint,
) -> str:
    """Why what was measured may be several things, in words; '' where nothing says so.

    seen: in the frame of the camera that saw the depth.
    """
    if grasps.may_be_several:
        return (
            'hardly a gap is seen between the object and what is beside it: it may be several, or '
            'a part of one'
        )
    if not grasps.ways or seen.plane is None:
        return ''
    sign = parts_by_shape(seen, depth, camera, lift)
    sign = sign or parts_by_color(seen, depth, camera, paint)
    return f'the object may be several: {sign}' if sign else ''


def _painter(capture: Capture, camera: CameraModel) -> Paint:
    """Tells the colors that points have in the picture; camera: that which saw the depth."""
    color, registration = capture.frame.color, capture.registration
    height, width = color.shape[:2]

    def paint(points: Floats) -> NDArray[np.uint8]:
        if registration is None:
            pixels = (camera.project(points) + 0.5) * (width / camera.width) - 0.5
        else:
            T, model = registration.T_color_depth, capture.frame.camera
            assert model is not None
            pixels = model.project(points @ T[:3, :3].T + T[:3, 3])
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
        column, row = np.rint(pixels.clip(0, (width - 1, height - 1))).astype(int).T
        return np.asarray(color[row, column])

    return paint


def _by_grasp(pose: ApproachPose, grasps: Grasps, settings: GraspSettings) -> ApproachPose:
    """Where to begin for the best grasp; the pose as it is where nothing is known of grasps."""
    best = grasps.best
    if best is None:
        return replace(pose, graspable=pose.graspable and not grasps.ways)
    return ApproachPose(
        best.position - settings.standoff * best.rotation[:, 2],
        quaternion_of(best.rotation),
        best.approach,
        best.width,
        True,
    )


def _told(pose: ApproachPose, settings: GraspSettings) -> ApproachPose:
    """The pose with the axes of the tool's frame."""
    turned = in_tool_frame(rotation_of(pose.quaternion), settings.tool_frame)
    return replace(pose, quaternion=quaternion_of(turned))


def _notes(
    extent: Extent, pose: ApproachPose, settings: GraspSettings, grasps: Grasps, several: str
) -> list[str]:
    notes = []
    if pose.approach is not settings.approach:
        notes.append(
            'the plane under the object is not seen: the approach is against the surface normal'
        )
    if extent.cut:
        notes.append('the object is cut off in the depth image and may be larger')
    if several:
        notes.append(several)
    if grasps.ways and grasps.best is None:
        reasons: dict[str, str] = {}  # of each kind the first, with its numbers
        for way in grasps.ways:
            reasons.setdefault(way.reason.partition(':')[0], way.reason)
        notes.append(f'no way to grasp the object was found: {"; ".join(reasons.values())}')
    return notes
