# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ways to take a thing with a parallel gripper."""

from .candidates import Grasp, grasps_of, transform_grasp

__all__ = ['Grasp', 'grasps_of', 'transform_grasp']
