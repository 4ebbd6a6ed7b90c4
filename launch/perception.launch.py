# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the node, and with it a camera and RViz if asked to.

    ros2 launch molmo_ros perception.launch.py camera:=demo rviz:=true
    ros2 launch molmo_ros perception.launch.py camera:=realsense checkpoint:=/models/Molmo-7B-D
    ros2 launch molmo_ros perception.launch.py image:=/camera/color/image_raw \
        depth:=/camera/aligned_depth/image_raw camera_info:=/camera/color/camera_info
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace

from launch import LaunchContext, LaunchDescription

CONFIG = Path(get_package_share_directory('molmo_ros')) / 'config'
STREAMS = ('image', 'depth', 'camera_info')

# Where each camera publishes what `image`, `depth` and `camera_info` are, below the namespace.
TOPICS = {
    'none': STREAMS,
    'demo': STREAMS,
    'realsense': (
        'camera/color/image_raw',
        'camera/aligned_depth_to_color/image_raw',
        'camera/color/camera_info',
    ),
}


def argument(name: str, default: str, description: str, *choices: str) -> DeclareLaunchArgument:
    """A launch argument; without choices it may be anything."""
    return DeclareLaunchArgument(
        name, default_value=default, description=description, choices=choices or None
    )


ARGUMENTS = [
    argument(
        'camera',
        'none',
        'Camera to start as well: none, the rendered tabletop (demo), or a RealSense through '
        'realsense2_camera.',
        *TOPICS,
    ),
    argument(
        'checkpoint',
        '',
        'Molmo checkpoint: a folder, or the Hub id of a fetched one; empty: params_file says.',
    ),
    argument('adapter', '', 'Folder that molmo-ros finetune wrote; empty: params_file says.'),
    argument('params_file', str(CONFIG / 'perception.yaml'), 'Parameters of the nodes.'),
    argument('namespace', '', 'Namespace of all nodes.'),
    argument('rviz', 'false', 'Start RViz.', 'true', 'false'),
    argument('use_sim_time', 'false', 'Take the time from /clock.', 'true', 'false'),
    argument('image', '', "Topic of the image; empty: the camera's."),
    argument('depth', '', "Topic of the depth aligned to it; empty: the camera's."),
    argument('camera_info', '', "Topic of its camera_info; empty: the camera's."),
]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The nodes, once the arguments are known."""
    values = {a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS}
    use_sim_time = {'use_sim_time': values['use_sim_time'] == 'true'}
    topics = dict(zip(STREAMS, TOPICS[values['camera']], strict=True))
    remappings = [(stream, values[stream] or topics[stream]) for stream in STREAMS]
    weights = {name: values[name] for name in ('checkpoint', 'adapter') if values[name]}
    actions: list[LaunchDescriptionEntity] = [
        PushRosNamespace(values['namespace']),
        Node(
            package='molmo_ros',
            executable='point_query_node',
            output='screen',
            parameters=[values['params_file'], use_sim_time, weights],
            remappings=remappings,
        ),
    ]
    if values['camera'] == 'demo':
        actions.append(
            Node(
                package='molmo_ros',
                executable='tabletop_camera',
                output='screen',
                parameters=[values['params_file'], use_sim_time],
                remappings=remappings,
            )
        )
    if values['camera'] == 'realsense':
        actions.append(realsense(values['namespace']))
    if values['rviz'] == 'true':
        actions.append(
            Node(
                package='rviz2',
                executable='rviz2',
                arguments=['-d', str(CONFIG / 'perception.rviz')],
                parameters=[use_sim_time],
                remappings=[('image', remappings[0][1])],
            )
        )
    return [GroupAction(actions)]


def realsense(namespace: str) -> IncludeLaunchDescription:
    """The driver's own launch file, with depth aligned to color."""
    share = Path(get_package_share_directory('realsense2_camera'))
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / 'launch/rs_launch.py')),
        launch_arguments={
            'camera_namespace': namespace,
            'camera_name': 'camera',
            'align_depth.enable': 'true',
        }.items(),
    )


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
