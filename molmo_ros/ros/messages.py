# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PointQuery's requests and responses, to and from the plain data of `answering`.

The service's Request and the action's Goal have the same fields, and so have their answers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from std_msgs.msg import Header

from molmo_ros.cameras.calibrations import Calibration, NoCalibration, best_calibration
from molmo_ros.grounding.assumptions import REQUEST_FRAME
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.grounding.image_file import picture_notes
from molmo_ros.grounding.optical import is_called_optical
from molmo_ros.grounding.picking import Pick
from molmo_ros.msg import Grasp as GraspMessage
from molmo_ros.msg import GroundedPoint as GroundedPointMessage
from molmo_ros.msg import StageTime
from molmo_ros.pointing.prompts import Mode
from molmo_ros.ros import conversions
from molmo_ros.ros.alignment import same_view, unaligned
from molmo_ros.ros.answering import Refused, Request, Result, Status, check_frame
from molmo_ros.ros.node_settings import FrameSettings
from molmo_ros.ros.sync import stamp_ns
from molmo_ros.ros.waypoints import pose_message, rotation_quaternion, waypoints
from molmo_ros.spatial import Approach, DepthRemarks, Grasp, LiftStatus, Place, depth_remarks
from molmo_ros.spatial.extent import basis_across
from molmo_ros.spatial.frames import frame_name, frame_of
from molmo_ros.spatial.tool_frames import in_tool_frame

_APPROACHES = {
    Approach.ABOVE: GraspMessage.ABOVE,
    Approach.TILTED: GraspMessage.TILTED,
    Approach.NORMAL: GraspMessage.NORMAL,
    Approach.SIDE: GraspMessage.SIDE,
}


def read_request(message: Any, default_timeout: float, door: str = '', camera: str = '') -> Request:
    """What a PointQuery request or goal asks; door: which of them it is. Raises Refused.

    It is from whoever has the frame of the picture that it brings, else from the node's camera.
    """
    timeout = message.timeout.sec + message.timeout.nanosec * 1e-9
    return Request(
        query=message.query,
        mode=read_mode(message.mode),
        target_frame=frame_name(message.target_frame),
        max_points=message.max_points,
        timeout=timeout or default_timeout,
        door=door,
        size=len(message.image.data) + len(message.depth.data),
        source=f'{camera} {door} {message.image.header.frame_id[:256]}',
    )


def read_mode(number: int) -> Mode:
    """The mode of a request. Raises Refused."""
    try:
        return Mode(number)
    except ValueError:
        modes = ', '.join(f'{mode.value} ({mode.name})' for mode in Mode)
        raise Refused(Status.INVALID_REQUEST, f'mode {number} is not one of {modes}') from None


def brings_image(message: Any) -> bool:
    """Whether a request has an image of its own. Raises Refused for half a frame."""
    if not conversions.is_empty(message.image):
        return True
    for name in ('depth', 'camera_info'):
        if not conversions.is_empty(getattr(message, name)):
            raise Refused(
                Status.INVALID_REQUEST,
                f'{name} came without an image: send the image it belongs to, or neither',
            )
    return False


def drop_pictures(message: Any) -> None:
    """Leave the pictures of a request to whoever has read them: a goal is kept after its end."""
    for image in (message.image, message.depth):
        image.data = array('B')


def read_capture(message: Any, settings: FrameSettings) -> Capture:
    """The frame that came with a request. Raises Refused where it cannot be read."""
    check_frame(message.image.header.frame_id, 'image: header.frame_id')
    try:
        color = conversions.color_array(message.image, settings.image_bits)
    except conversions.ConversionError as error:
        raise Refused(Status.INVALID_REQUEST, f'image: {error}') from error
    frame_id, renamed = _optical(frame_of(message.image), settings.optical_frame)
    missing: dict[LiftStatus, str] = {}
    calibration = None
    try:
        calibration = read_calibration(message, color, settings.rectified)
    except NoCalibration as error:
        missing[LiftStatus.NO_CAMERA_INFO] = str(error)
    depth, remarks = None, DepthRemarks()
    if conversions.is_empty(message.depth):
        missing[LiftStatus.NO_DEPTH] = 'the request came with an image but no depth'
    else:
        try:
            depth = conversions.depth_array(message.depth, settings.depth_unit)
        except conversions.ConversionError as error:
            raise Refused(Status.INVALID_REQUEST, f'depth: {error}') from error
        remarks = depth_remarks(
            depth, conversions.depth_encoding(message.depth), settings.depth_unit
        )
        if not (settings.depth_aligned or same_view(message.image, message.depth)):
            raise Refused(Status.INVALID_REQUEST, f'depth: {unaligned(message)}')
    return Capture(
        Frame(
            color,
            depth,
            calibration.camera if calibration is not None else None,
            stamp_ns(message.image),
            frame_id,
        ),
        missing=missing,
        warning=remarks.warning,
        assumed=(
            *renamed,
            *(calibration.assumed if calibration is not None else ()),
            *remarks.assumed,
        ),
        notes=picture_notes(color),
    )


def _optical(frame: str, optical_frame: str) -> tuple[str, tuple[str, ...]]:
    """The frame of a request's image, and what is assumed if it is not the one that it names."""
    if not optical_frame or frame == optical_frame or is_called_optical(frame):
        return frame, ()
    return optical_frame, (REQUEST_FRAME.told(frame=frame, optical=optical_frame),)


def read_calibration(message: Any, color: NDArray[np.uint8], rectified: bool) -> Calibration:
    """The calibration that came with the image of a request. Raises NoCalibration."""
    candidates = [message.camera_info]
    return best_calibration(candidates, message.image, color, rectified, 'camera_info')


def write_result(result: Result, message: Any, standoff: float) -> Any:
    """Fill in a PointQuery response or result, and return it."""
    header = result_header(result)
    message.status = int(result.status)
    message.message = encodable(result.message)
    message.answer = encodable(result.answer)
    message.header = header
    message.points = write_points(result.points)
    message.count = result.count
    message.waypoints = waypoints(result.points, header, standoff)
    message.stage_times = [
        StageTime(stage=stage, seconds=float(seconds))
        for stage, seconds in result.stage_times.items()
    ]
    message.assumed = [encodable(assumption) for assumption in result.assumed]
    message.presence = float(result.presence)
    return message


def result_header(result: Result) -> Header:
    """Stamp of the image, frame of the 3D; empty where there was no frame."""
    if result.capture is None:
        return Header()
    return Header(stamp=stamp_message(result.capture.frame.stamp), frame_id=result.frame_id)


def stamp_message(nanoseconds: int) -> Time:
    """A stamp as a message."""
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def duration_message(seconds: float) -> Duration:
    """Seconds as a message."""
    whole = int(seconds)
    return Duration(sec=whole, nanosec=int((seconds - whole) * 1e9))


def write_points(points: Iterable[GroundedPoint]) -> list[GroundedPointMessage]:
    """GroundedPoint messages."""
    return [_write_point(point) for point in points]


def _write_point(point: GroundedPoint) -> GroundedPointMessage:
    image, surface = point.image, point.surface
    x, y, z = (float(c) for c in surface.position)
    nx, ny, nz = (float(c) for c in surface.normal)
    message = GroundedPointMessage(
        u=float(image.u),
        v=float(image.v),
        label=encodable(image.label),
        confidence=float(image.confidence),
        status_3d=int(surface.status),
        reason=encodable(surface.reason),
        position=Point(x=x, y=y, z=z),
        normal=Vector3(x=nx, y=ny, z=nz),
        position_covariance=surface.covariance.ravel(),
        depth_valid_pixels=surface.valid_pixels,
        depth_spread=float(surface.spread),
        bridged=surface.bridged,
        spread=float(image.spread),
        near_edge=surface.near_edge,
    )
    _write_pick(point.pick, message)
    return message


def _write_pick(pick: Pick, message: GroundedPointMessage) -> None:
    nowhere = np.full(3, np.nan)
    centroid = centre = size = nowhere
    orientation: Iterable[float] = np.full(4, np.nan)
    if pick.extent is not None:
        centroid, centre, size = pick.extent.centroid, pick.extent.centre, pick.extent.size
        orientation = rotation_quaternion(pick.extent.axes.T)
    message.object_measured = pick.extent is not None
    message.object_reason = pick.reason
    message.object_box = pose_message(centre, orientation)
    message.object_centroid = pose_message(centroid, orientation).position
    x, y, z = (float(c) for c in size)
    message.object_size = Vector3(x=x, y=y, z=z)
    width = pick.pose.width if pick.pose is not None else np.nan
    message.grasp_width = float(width) if np.isfinite(width) else float('nan')
    message.graspable = pick.pose is not None and pick.pose.graspable
    message.grasps = [_write_grasp(way, pick.tool_frame) for way in pick.grasps.ways]
    message.object_may_be_several = pick.grasps.may_be_several
    _write_place(pick.place, message)


def _write_grasp(grasp: Grasp, tool_frame: str) -> GraspMessage:
    quaternion = rotation_quaternion(in_tool_frame(grasp.rotation, tool_frame))
    return GraspMessage(
        approach=_APPROACHES[grasp.approach],
        pose=pose_message(grasp.position, quaternion),
        pregrasp=pose_message(grasp.pregrasp, quaternion),
        retreat=pose_message(grasp.retreat, quaternion),
        width=grasp.width,
        opening=grasp.opening,
        depth=grasp.depth,
        score=grasp.score,
        reason=grasp.reason,
    )


def _write_place(place: Place, message: GroundedPointMessage) -> None:
    orientation: Iterable[float] = np.full(4, np.nan)
    if np.isfinite(place.up).all():
        x, y = basis_across(place.up)
        orientation = rotation_quaternion(np.stack([x, y, place.up], 1))
    message.place = pose_message(place.position, orientation)
    message.place_radius = place.radius
    message.place_reason = place.reason


def encodable(text: str) -> str:
    """A text that a message can carry: half a character, as a model may write, is none."""
    return text.encode('utf-8', 'replace').decode()
