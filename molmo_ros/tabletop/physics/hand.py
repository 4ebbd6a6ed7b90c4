# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A parallel gripper that flies, and what it is told to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Hand:
    """Measures of a parallel gripper; these are a Franka Hand's. Metres, newtons, kilograms.

    Its frame is that of the tool: x the way the fingers close, z the way of the approach, the
    origin in the middle between the ends of the fingers.

    Attributes:
        opening: between the open fingers.
        finger_width: of a finger along y.
        finger_thickness: of a finger along x.
        finger_length: from the palm to the ends, along z.
        palm: of the box behind the fingers along x, y, z.
        force: with which it holds without a break.
        speed: of each finger, metres a second.
        friction: of the rubber pads on things.
        mass: of all.
    """

    opening: float = 0.080
    finger_width: float = 0.020
    finger_thickness: float = 0.014
    finger_length: float = 0.0455
    palm: tuple[float, float, float] = (0.205, 0.063, 0.092)
    force: float = 70.0
    speed: float = 0.10
    friction: float = 0.8
    mass: float = 0.73


FRANKA = Hand()
FRANKA_TOOL_CENTRE = 0.0086  # metres that its own tool centre lies before the ends of its fingers


@dataclass(frozen=True, eq=False)
class Grasp:
    """How to take something.

    Attributes:
        pose: (4, 4) of the tool's frame where the fingers shall close.
        opening: metres between the fingers on the way there.
        width: metres between them when they touch the thing; NaN if not known.
    """

    pose: Floats
    opening: float
    width: float = float('nan')

    def seen_from(self, T_target_source: Floats) -> Grasp:
        """The same grasp in another frame, by the (4, 4) pose of its frame in the target's."""
        return Grasp(T_target_source @ self.pose, self.opening, self.width)

    def standing_off(self, distance: float) -> Floats:
        """(4, 4) the pose so many metres back along the approach."""
        pose = self.pose.copy()
        pose[:3, 3] -= distance * pose[:3, 2]
        return pose
