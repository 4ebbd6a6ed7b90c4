# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All that touches rclpy: nodes, messages, streams, transforms, parameters, the client."""

from importlib.util import find_spec

if find_spec('rclpy') is None:
    raise ModuleNotFoundError(
        'molmo_ros.ros needs ROS 2, which is not in this environment: source the setup file of '
        'your ROS 2 workspace, or take the environment that `make demo` sets up'
    )
if find_spec('molmo_ros.srv') is None:
    raise ModuleNotFoundError(
        'molmo_ros.ros needs the interfaces of molmo_ros, and this installation was built without '
        'them: build it with `colcon build` and source install/setup.bash'
    )
