# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways from a pixel and depth to grasps: ours, and what others do. `benchmarks/picking.py`.

A strategy is told what a camera shows and the pixel to take. Its grasps are in the optical frame,
the best first, each with the pose of the middle between the ends of the fingers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.ground import GroundingSettings, ground
from molmo_ros.pointing.points import ImagePoint, from_centred
from molmo_ros.spatial import (
    Extent,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    SurfacePoint,
    approach_pose,
    lift,
    visible_extent,
)
from molmo_ros.spatial.extent import basis_across
from molmo_ros.spatial.grasp import rotation_of
from molmo_ros.spatial.grasps import Grasp as Candidate
from molmo_ros.tabletop.physics.hand import FRANKA, FRANKA_TOOL_CENTRE, Grasp, Hand

if TYPE_CHECKING:
    from molmo_ros.ros.client import AnsweredPoint

Floats = NDArray[np.float64]

INSIDE = 0.02  # metres that the others' fingers go beyond the surface that they aim at


@dataclass(frozen=True)
class Proposal:
    """Grasps, the best first, and its score; without any: the stage that ended it, and why."""

    grasps: tuple[Grasp, ...] = ()
    lost: str = ''
    reason: str = ''
    score: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A point of a picture that shall be taken.

    capture: what the camera shows. pixel: (u, v), integers at pixel centres. lift: settings for the
    camera. up: (3,) against gravity in the optical frame, for strategies that need it; ours is not
    told. answered: what the node said of the point, where it was asked.
    """

    capture: Capture
    pixel: tuple[float, float]
    lift: LiftSettings
    up: Floats
    answered: AnsweredPoint | None = None

    @property
    def depth(self) -> NDArray[np.float32]:
        """(H, W) metres."""
        assert self.capture.frame.depth is not None
        return self.capture.frame.depth

    def lifted(self) -> SurfacePoint:
        """The point on the surface."""
        camera = self.capture.frame.camera
        assert camera is not None
        return lift(*self.pixel, self.depth, camera, self.lift)

    def extent(self, point: SurfacePoint) -> Extent | None:
        """What is seen of the thing."""
        camera = self.capture.frame.camera
        assert camera is not None
        return visible_extent(point, self.depth, camera, self.lift)


Strategy = Callable[[Asked], Proposal]


def settings_for(hand: Hand = FRANKA) -> GraspSettings:
    """What ours is told about the hand."""
    return GraspSettings(
        opening=hand.opening,
        finger=hand.finger_width,
        finger_thickness=hand.finger_thickness,
        finger_length=hand.finger_length,
        palm=hand.palm,
    )


def posed(position: Floats, z: Floats, x: Floats | None = None, back: float = 0.0) -> Floats:
    """(4, 4) with z along the approach and x as near as can be, `back` metres before a position."""
    z = z / np.linalg.norm(z)
    across = basis_across(z)[0] if x is None else x - (x @ z) * z
    across = across / np.linalg.norm(across)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([across, np.cross(z, across), z], 1)
    pose[:3, 3] = position - back * z
    return pose


def waypoint(asked: Asked) -> Proposal:
    """The one pose of `approach_pose`: from above at the point, across the narrowest width.

    Its tool centre is taken for the hand's own, a little before the ends of the fingers.
    """
    point = asked.lifted()
    if point.status is not LiftStatus.OK:
        return Proposal(lost='lifting', reason=point.reason)
    extent = asked.extent(point)
    if extent is None:
        return Proposal(lost='extent', reason='no thing around the point')
    settings = settings_for()
    found = approach_pose(point, extent, settings)
    if found is None or not np.isfinite(found.width):
        return Proposal(lost='extent', reason='no width')
    if not found.graspable:
        return Proposal(lost='refused', reason=f'{1e3 * found.width:.0f} mm wide')
    rotation = rotation_of(found.quaternion)
    pose = posed(point.position, rotation[:, 2], rotation[:, 0], back=-FRANKA_TOOL_CENTRE)
    return Proposal((Grasp(pose, FRANKA.opening, found.width),))


def candidates(asked: Asked) -> Proposal:
    """The ranked ways to take it that the depth around shows to be free."""
    if asked.answered is not None:
        return _of_node(asked.answered)
    u, v = from_centred(*asked.pixel)
    settings = GroundingSettings(asked.lift, settings_for())
    point = ground([ImagePoint(u, v, '')], asked.capture, settings).points[0]
    found = point.pick
    if point.surface.status is not LiftStatus.OK:
        return Proposal(lost='lifting', reason=point.surface.reason)
    if found.extent is None:
        return Proposal(lost='extent', reason=found.reason)
    free = [way for way in found.grasps.ways if not way.reason]
    if free:
        return Proposal(tuple(_as_told(way) for way in free), score=free[0].score)
    if not found.grasps.ways:
        return Proposal(lost='extent', reason='no plane under it')
    return Proposal(lost='refused', reason=found.grasps.ways[0].reason)


def _of_node(answered: AnsweredPoint) -> Proposal:
    """The same, as the node told it."""
    if answered.surface.status is not LiftStatus.OK:
        return Proposal(lost='lifting', reason=answered.surface.reason)
    ways = answered.object.grasps
    free = [way for way in ways if not way.reason]
    if free:
        told = (
            Grasp(_pose(way.position, rotation_of(way.quaternion)), way.opening, way.width)
            for way in free
        )
        return Proposal(tuple(told), score=free[0].score)
    reason = ways[0].reason if ways else answered.object.reason
    return Proposal(lost='refused' if ways else 'extent', reason=reason)


def _as_told(found: Candidate) -> Grasp:
    return Grasp(_pose(found.position, found.rotation), found.opening, found.width)


def _pose(position: Floats, rotation: Floats) -> Floats:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, position
    return pose


def along_normal(asked: Asked) -> Proposal:
    """Others: the surface point, against its normal."""
    point = asked.lifted()
    if point.status is not LiftStatus.OK:
        return Proposal(lost='lifting', reason=point.reason)
    if not np.isfinite(point.normal).all():
        return Proposal(lost='extent', reason='no normal')
    pose = posed(point.position, -point.normal, back=-INSIDE)
    return Proposal((Grasp(pose, FRANKA.opening),))


def principal_axis(asked: Asked) -> Proposal:
    """Others: the centroid of what is seen, from above, across its principal axis."""
    point = asked.lifted()
    if point.status is not LiftStatus.OK:
        return Proposal(lost='lifting', reason=point.reason)
    extent = asked.extent(point)
    if extent is None:
        return Proposal(lost='extent', reason='no thing around the point')
    centred = extent.points - extent.points.mean(0)
    level = centred - np.outer(centred @ asked.up, asked.up)
    axes = np.linalg.eigh(level.T @ level)[1]
    across = np.cross(asked.up, axes[:, 2])
    pose = posed(extent.points.mean(0), -asked.up, across, back=-FRANKA_TOOL_CENTRE)
    return Proposal((Grasp(pose, FRANKA.opening),))


def straight_down(asked: Asked) -> Proposal:
    """Others: the median of 5 x 5 depths, straight down."""
    u, v = (round(value) for value in asked.pixel)
    window = asked.depth[max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3]
    window = window[np.isfinite(window) & (window > 0)]
    if not len(window):
        return Proposal(lost='lifting', reason='no depth')
    camera = asked.capture.frame.camera
    assert camera is not None
    position = camera.ray(*asked.pixel) * float(np.median(window))
    pose = posed(np.asarray(position, np.float64), -asked.up, back=-INSIDE)
    return Proposal((Grasp(pose, FRANKA.opening),))


STRATEGIES: dict[str, Strategy] = {
    'candidates': candidates,
    'one pose': waypoint,
    'normal': along_normal,
    'principal axis': principal_axis,
    'straight down': straight_down,
}
"""By the names that the tables use."""
