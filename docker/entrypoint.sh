#!/usr/bin/env bash
# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# With launch arguments or none, starts the launch file; with a command, runs it.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /opt/molmo_venv/bin/activate
source /ws/install/setup.bash
case "${1-}" in
  '' | *:=*) set -- ros2 launch molmo_ros perception.launch.py "$@" ;;
esac
exec "$@"
