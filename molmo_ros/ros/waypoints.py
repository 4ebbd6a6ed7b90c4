# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses a planner can take, one for each point that has a position in space."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from numpy.typing import NDArray
from std_msgs.msg import Header

from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.spatial import LiftStatus
from molmo_ros.spatial.grasp import quaternion_of
from molmo_ros.spatial.tool_frames import in_tool_frame


def waypoints(points: Iterable[GroundedPoint], header: Header, standoff: float = 0.0) -> PoseArray:
    """A pose on each point, `standoff` metres back along its approach, in the points' order.

    Where there is a pick with a pose, that is the pose, with the standoff it was made with. The
    axes are those of the pick's tool frame either way.
    """
    found = [point for point in points if point.surface.status is LiftStatus.OK]
    return PoseArray(header=header, poses=[_pose(point, standoff) for point in found])


def _pose(point: GroundedPoint, standoff: float) -> Pose:
    pose = point.pick.pose
    if pose is not None:
        return pose_message(pose.position, pose.quaternion)
    position = point.surface.position - standoff * point.approach
    rotation = in_tool_frame(approach_rotation(point.approach), point.pick.tool_frame)
    return pose_message(position, rotation_quaternion(rotation))


def pose_message(position: Iterable[float], quaternion: Iterable[float]) -> Pose:
    """A pose of a position (3,) and a quaternion (4,) x, y, z, w."""
    x, y, z = (float(c) for c in position)
    qx, qy, qz, qw = (float(c) for c in quaternion)
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def approach_quaternion(approach: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The unit quaternion (x, y, z, w) of `approach_rotation`."""
    return rotation_quaternion(approach_rotation(approach))


def approach_rotation(approach: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) whose z axis is `approach`, a unit vector.

    Its x axis is the frame's x axis made perpendicular to z, or the frame's y axis where the
    approach is within about 8 degrees of the x axis.
    """
    z = approach / np.linalg.norm(approach)
    along = np.array([1.0, 0, 0]) if abs(z[0]) < 0.99 else np.array([0, 1.0, 0])
    x = along - (along @ z) * z
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(z, x), z])


def rotation_quaternion(R: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The unit quaternion (x, y, z, w), w >= 0, of a (3, 3) rotation matrix."""
    x, y, z, w = quaternion_of(R)
    return float(x), float(y), float(z), float(w)
