# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a planner is told for a pick: poses, fingers, boxes; for the pages beside it."""

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from shape_msgs.msg import SolidPrimitive

from molmo_ros.ros.client import Answered, AnsweredGrasp, AnsweredObject, AnsweredPoint
from molmo_ros.spatial.grasp import rotation_of

TOOL_BEHIND = 0.112  # metres from the frame `panda_hand` to the ends of its fingers


@dataclass(frozen=True)
class Pick:
    """The three poses of the tool frame, and metres between the fingers before and after."""

    pregrasp: PoseStamped
    grasp: PoseStamped
    retreat: PoseStamped
    opening: float
    width: float


def best_of(point: AnsweredPoint) -> AnsweredGrasp | None:
    """The grasp to take: a refused one, which has a reason, must not be."""
    return next((way for way in point.object.grasps if not way.reason), None)


def pick_of(answered: Answered, point: AnsweredPoint, behind: float = TOOL_BEHIND) -> Pick | None:
    """The best pick of a point in the frame of the answer; None where there is none.

    behind: metres that the frame which the planner moves is behind the ends of the fingers, along
    its z. The node is told the axes of that frame with gripper.tool_frame.
    """
    way = best_of(point)
    if way is None:
        return None
    back = behind * rotation_of(way.quaternion)[:, 2]
    x, y, z, w = map(float, way.quaternion)
    turn = Quaternion(x=x, y=y, z=z, w=w)

    def stamped(position: np.ndarray) -> PoseStamped:
        # The stamp stays zero: the pose is to be taken as of now.
        message = PoseStamped()
        message.header.frame_id = answered.frame_id
        message.pose = Pose(position=_point(position - back), orientation=turn)
        return message

    poses = (stamped(where) for where in (way.pregrasp, way.position, way.retreat))
    return Pick(*poses, way.opening, way.width)


def box_of(thing: AnsweredObject, margin: float = 0.0) -> tuple[SolidPrimitive, Pose]:
    """The box around a thing, so many metres larger on each side, as a planning scene has it."""
    x, y, z, w = map(float, thing.quaternion)
    box = SolidPrimitive(type=SolidPrimitive.BOX)
    box.dimensions = [float(side) + 2 * margin for side in thing.size]
    return box, Pose(position=_point(thing.centre), orientation=Quaternion(x=x, y=y, z=z, w=w))


def finger_joint(width: float) -> float:
    """Where each of two fingers stands that are so many metres apart, as the Franka Hand counts."""
    return max(width, 0.0) / 2


def _point(position: np.ndarray) -> Point:
    return Point(**dict(zip('xyz', map(float, position), strict=True)))
