# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to take a thing with a parallel gripper."""

from .candidates import NO_GRASPS, Grasp, Grasps, grasps_of, transform_grasps

__all__ = ['NO_GRASPS', 'Grasp', 'Grasps', 'grasps_of', 'transform_grasps']
