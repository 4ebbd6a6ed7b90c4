# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo behind a ROS 2 service: from an image and a question to points in metres."""
