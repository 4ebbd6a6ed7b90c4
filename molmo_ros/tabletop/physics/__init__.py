# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a gripper would hold what it is told to take: rendered tables in MuJoCo."""
