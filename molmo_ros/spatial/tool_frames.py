# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which axes a robot's tool frame has, in that of a grasp: x closes, z approaches."""

from __future__ import annotations

import numpy as np

from .windows import Floats

# Columns: x, y and z of the tool frame.
_X_CLOSES = np.eye(3)
_Y_CLOSES = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_X_APPROACHES = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])

TOOL_FRAMES = {
    'x_closes': _X_CLOSES,
    'y_closes': _Y_CLOSES,
    'panda_hand': _Y_CLOSES,
    'robotiq': _X_CLOSES,
    'tool0': _X_CLOSES,
    'flange': _X_APPROACHES,
    'gripper_link': _X_APPROACHES,
}
"""(3, 3) by name; those of 'flange' and 'gripper_link' have x as the approach and y as the way in
which the fingers close."""


def in_tool_frame(rotation: Floats, tool_frame: str) -> Floats:
    """(3, 3) of the tool for a rotation whose x closes and whose z approaches. Raises KeyError."""
    return np.asarray(rotation @ TOOL_FRAMES[tool_frame])
