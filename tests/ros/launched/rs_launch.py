# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""As realsense2_camera's launch file: its arguments by their names, one node that gets them all."""

import json
import os
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

ARGUMENTS = {
    'camera_name': 'camera',
    'camera_namespace': 'camera',
    'serial_no': "''",
    'config_file': "''",
    'log_level': 'info',
    'output': 'screen',
    'rgb_camera.color_profile': '0,0,0',
    'depth_module.depth_profile': '0,0,0',
    'enable_color': 'true',
    'enable_depth': 'true',
    'align_depth.enable': 'false',
    'pointcloud.enable': 'false',
    'base_frame_id': 'link',
    'tf_prefix': '',
}


def start(context):
    """The driver warns of each configuration that it does not know; here they are written down."""
    name = LaunchConfiguration('tf_prefix').perform(context) or 'camera'
    seen = Path(os.environ['SEEN_BY_THE_DRIVER'], f'{name.replace("/", "_")}.json')
    seen.write_text(json.dumps(dict(context.launch_configurations), default=str))
    return [
        Node(
            package='realsense2_camera',
            namespace=LaunchConfiguration('camera_namespace'),
            name=LaunchConfiguration('camera_name'),
            executable='realsense2_camera_node',
            parameters=[{argument: LaunchConfiguration(argument) for argument in ARGUMENTS}],
        )
    ]


def generate_launch_description():
    declared = [DeclareLaunchArgument(n, default_value=value) for n, value in ARGUMENTS.items()]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
