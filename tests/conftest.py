# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A corner of DDS of its own for each run: it hears no other, nor anything off this machine."""

import os
from importlib.util import find_spec

# Rooms that know no ROS are tested without it, too.
if find_spec('rclpy') is not None and find_spec('molmo_ros.srv') is not None:
    from molmo_ros.ros.domain import free_domain

    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(free_domain())
