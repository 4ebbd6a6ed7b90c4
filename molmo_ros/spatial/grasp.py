# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a point on a thing to a pose that a gripper can start from.

The pose's frame: z is the way of the approach, towards the surface; x is the gripper axis, the way
its fingers close; y = z x x. Its origin is the point, a standoff back along z. The rule:

* ABOVE: z against the normal of the supporting plane (or against `up`), x across the narrowest
  width of the thing seen along z; of a round thing, across the line of sight, where both its sides
  are seen. Needs an extent with a plane, or `up`.
* NORMAL: z against the surface normal at the point, x as above.
* RAY: the depth shows no surface: z along the ray to the point. Only the position means anything.

Where no width is known, x is the camera's x made perpendicular to z, and the width is NaN.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from molmo_ros.errors import shortened

from .extent import Extent, basis_across
from .surface_point import LiftStatus, SurfacePoint
from .tool_frames import TOOL_FRAMES
from .windows import Floats

_TURNS = 60  # directions that the width is measured in: every three degrees
_UPRIGHT = float(np.cos(np.radians(10)))  # within it of the axis a round thing is as wide any way


class Approach(enum.Enum):
    """Which way the approach goes."""

    ABOVE = 'above'
    NORMAL = 'normal'
    RAY = 'ray'
    TILTED = 'tilted'
    SIDE = 'side'


class Unseen(enum.Enum):
    """What space that the camera does not see counts as."""

    FREE = 'free'
    OCCUPIED = 'occupied'


@dataclass(frozen=True)
class GraspSettings:
    """How things are taken, and the gripper: a pair of fingers under a box, its palm.

    approach: the rule to follow where depth supports it. standoff: metres back from the point.
    opening: metres between the open fingers. finger: metres, how wide a finger is, along y.
    finger_thickness: metres, along x. finger_length: metres from the palm to the ends. palm: (3,)
    metres of its box along x, y, z. clearance: metres that all of it keeps above what the thing
    stands on. unseen: what space that the camera does not see counts as. tool_frame: a name of
    `tool_frames.TOOL_FRAMES`, whose axes poses that are told have.
    """

    approach: Approach = Approach.ABOVE
    standoff: float = 0.1
    opening: float = 0.085
    finger: float = 0.02
    finger_thickness: float = 0.014
    finger_length: float = 0.045
    palm: tuple[float, float, float] = (0.2, 0.075, 0.1)
    clearance: float = 0.002
    unseen: Unseen = Unseen.FREE
    tool_frame: str = 'x_closes'

    def __post_init__(self) -> None:
        if self.tool_frame not in TOOL_FRAMES:
            raise ValueError(
                f"tool_frame is '{self.tool_frame}', not one of {', '.join(TOOL_FRAMES)}"
            )


@dataclass(frozen=True)
class ApproachPose:
    """position: (3,) metres. quaternion: (4,) x, y, z, w, unit. approach: the rule it follows.

    width: metres between the fingers when they touch, NaN if not known. graspable: the width fits
    the gripper.
    """

    position: Floats
    quaternion: Floats
    approach: Approach
    width: float
    graspable: bool


DEFAULT_GRASP = GraspSettings()


def approach_pose(
    point: SurfacePoint,
    extent: Extent | None,
    settings: GraspSettings = DEFAULT_GRASP,
    up: Floats | None = None,
) -> ApproachPose | None:
    """The pose for a point, all in one frame (so is `up`, a unit vector); None without a point."""
    if point.status != LiftStatus.OK:
        return None
    z, approach = _direction(point, extent, settings.approach, up)
    x, width = _narrowest(point, extent, z, settings)
    rotation = np.stack([x, np.cross(z, x), z], 1)
    return ApproachPose(
        point.position - settings.standoff * z,
        quaternion_of(rotation),
        approach,
        width,
        bool(width <= settings.opening),
    )


def _direction(
    point: SurfacePoint, extent: Extent | None, wanted: Approach, up: Floats | None
) -> tuple[Floats, Approach]:
    plane = extent.plane if extent is not None else None
    if wanted == Approach.ABOVE and up is not None:
        return -np.asarray(up, np.float64) / np.linalg.norm(up), Approach.ABOVE
    if wanted == Approach.ABOVE and plane is not None:
        return -plane.normal, Approach.ABOVE
    if wanted != Approach.RAY and np.isfinite(point.normal).all():
        return -point.normal, Approach.NORMAL
    return point.position / np.linalg.norm(point.position), Approach.RAY


def _narrowest(
    point: SurfacePoint, extent: Extent | None, z: Floats, settings: GraspSettings
) -> tuple[Floats, float]:
    """The gripper axis, and the width along it: of the whole thing, or of what is between the
    fingers at the point where the whole is too wide."""
    first, second = basis_across(z)
    if extent is None:
        return first, float('nan')
    if extent.round and extent.plane is not None and abs(extent.plane.normal @ z) > _UPRIGHT:
        across = extent.axes[0] - (extent.axes[0] @ z) * z
        return across / np.linalg.norm(across), float(extent.size[0])
    turns = np.arange(_TURNS) * (np.pi / _TURNS)
    across = np.stack([np.cos(turns), np.sin(turns)], 1)
    flat = (extent.points - point.position) @ np.stack([first, second], 1)
    widths = _widths(flat, across)
    if widths.min() > settings.opening:
        widths = np.array([_between_fingers(flat, way, settings.finger) for way in across])
    best = int(widths.argmin())
    return across[best, 0] * first + across[best, 1] * second, float(widths[best])


def _widths(flat: Floats, across: Floats) -> Floats:
    low, high = np.percentile(flat @ across.T, [0.5, 99.5], axis=0)
    return np.asarray(high - low)


def _between_fingers(flat: Floats, way: Floats, finger: float) -> float:
    """Width along a way of the part of the thing that two fingers at the point would close on."""
    aside = flat @ np.array([-way[1], way[0]])
    along = np.sort((flat @ way)[np.abs(aside) < finger / 2])
    if not len(along):
        return float('inf')
    gaps = np.flatnonzero(np.diff(along) > finger)
    parts = np.split(along, gaps + 1)
    nearest = min(parts, key=lambda part: float(np.abs(part).min()))
    return float(nearest[-1] - nearest[0])


def read_box(text: str, name: str) -> tuple[float, float, float]:
    """The sides in metres of 'x y z'. name: of what it is, for errors. Raises ValueError."""
    try:
        sides = [float(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        sides = []
    if len(sides) != 3 or not all(0 <= side <= 1 for side in sides):
        raise ValueError(
            f"{name} is '{shortened(text)}': give the sides x y z of a box, 3 numbers of metres "
            'from 0 to 1'
        )
    return sides[0], sides[1], sides[2]


def quaternion_of(rotation: Floats) -> Floats:
    """(4,) x, y, z, w, unit, w >= 0, of a rotation matrix (3, 3)."""
    m = np.asarray(rotation, np.float64)
    # The symmetric matrix whose largest eigenvector is the quaternion: no special cases.
    K = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m.trace()],
        ]
    )
    q = np.linalg.eigh(K)[1][:, -1]
    return np.asarray(-q if q[3] < 0 else q)


def rotation_of(quaternion: Floats) -> Floats:
    """(3, 3) of a unit quaternion (4,) x, y, z, w."""
    x, y, z, w = quaternion
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + 2 * w * cross + 2 * cross @ cross)
