# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a picture and an answer to points on surfaces, and how to take what they are on.

No ROS and no torch: the node, the commands and the benchmarks all come through here.
"""
