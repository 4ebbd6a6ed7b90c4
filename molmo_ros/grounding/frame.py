# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One moment of a camera."""

from __future__ import annotations

from dataclasses import dataclass

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
