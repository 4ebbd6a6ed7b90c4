# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One moment of a camera, and what a camera is to the rest of the house."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial.camera_model import CameraModel


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture with what belongs to it. The arrays are shared and must not be written to.

    Attributes:
        color: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 metres along the optical axis, registered to the color picture,
            NaN where invalid; None where the camera has no depth.
        camera: the model of the color picture; None where it is not known.
        stamp: when it was taken, nanoseconds since 1970.
        frame_id: name of the optical frame (x right, y down, z forward).
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    camera: CameraModel | None
    stamp: int
    frame_id: str


class Camera(Protocol):
    """Where frames come from without a driver.

    ``read`` gives the newest frame and blocks for a period of ``rate_hz`` at most; whoever wants a
    steady stream calls it at that rate.
    """

    @property
    def rate_hz(self) -> float:
        """Frames a second that this camera is meant to be read at."""

    @property
    def frame_id(self) -> str:
        """Name of the optical frame, the same as in every frame."""

    @property
    def T_world_optical(self) -> NDArray[np.float64]:
        """(4, 4) pose of the optical frame in the frame that the camera stands in, metres."""

    def read(self) -> Frame:
        """The newest frame."""

    def close(self) -> None:
        """Give back what the camera holds; ``read`` must not be called afterwards."""
