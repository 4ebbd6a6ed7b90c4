# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The things of an answer as vision_msgs has them: `~/detections`, where that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from geometry_msgs.msg import Vector3
from std_msgs.msg import Header

from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.ros.messages import encodable
from molmo_ros.ros.waypoints import pose_message, rotation_quaternion


def vision_messages() -> Any | None:
    """The module `vision_msgs.msg`; None where vision_msgs is not installed."""
    try:
        return importlib.import_module('vision_msgs.msg')
    except ImportError:
        return None


def detections(points: Iterable[GroundedPoint], header: Header, vision: Any) -> Any:
    """A Detection3DArray: one for each point whose thing was measured, in the points' order.

    vision: the module `vision_msgs.msg`. `id` is the number of the point in the answer, from 1, as
    in the mask and the cloud; the one hypothesis has its label, its confidence (NaN where not
    known), and the pose of the box, whose covariance is not known and stays zero.
    """
    found = []
    for number, point in enumerate(points, 1):
        extent = point.pick.extent
        if extent is None:
            continue
        pose = pose_message(extent.centre, rotation_quaternion(extent.axes.T))
        x, y, z = (float(side) for side in extent.size)
        hypothesis = vision.ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = encodable(point.image.label)
        hypothesis.hypothesis.score = float(point.image.confidence)
        hypothesis.pose.pose = pose
        detection = vision.Detection3D(header=header, results=[hypothesis], id=str(number))
        detection.bbox.center, detection.bbox.size = pose, Vector3(x=x, y=y, z=z)
        found.append(detection)
    return vision.Detection3DArray(header=header, detections=found)
