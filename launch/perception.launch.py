# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the node, and with it a camera and RViz if asked to.

    ros2 launch molmo_ros perception.launch.py camera:=demo rviz:=true
    ros2 launch molmo_ros perception.launch.py camera:=realsense checkpoint:=/models/Molmo-7B-D
    ros2 launch molmo_ros perception.launch.py image:=/camera/camera/color/image_raw \
        depth:=/camera/camera/aligned_depth_to_color/image_raw \
        camera_info:=/camera/camera/color/camera_info
"""

import math
import tempfile
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    UnsetLaunchConfiguration,
)
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

CONFIG = Path(get_package_share_directory('molmo_ros')) / 'config'
STREAMS = ('image', 'depth', 'camera_info', 'depth_camera_info')
CAMERAS = ('none', 'demo', 'realsense')


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
        *CAMERAS,
    ),
    argument(
        'checkpoint',
        '',
        'Molmo checkpoint: a folder, the Hub id of a fetched one, or the address of a server, '
        'http://HOST:PORT/v1#MODEL; empty: params_file says.',
    ),
    argument('adapter', '', 'Folder that molmo-ros finetune wrote; empty: params_file says.'),
    argument('params_file', str(CONFIG / 'perception.yaml'), 'Parameters of the nodes.'),
    argument('namespace', '', 'Namespace of all nodes.'),
    argument('rviz', 'false', 'Start RViz.', 'true', 'false'),
    argument('fixed_frame', '', "Frame that RViz shows all in; empty: the started camera's."),
    argument(
        'autostart',
        '',
        'Whether the node configures and activates itself, or a manager of lifecycle nodes does; '
        'empty: params_file says.',
        '',
        'true',
        'false',
    ),
    argument(
        'exit_when_dead',
        '',
        'Whether the node ends if it hangs or lost its GPU, for respawn; empty: params_file says.',
        '',
        'true',
        'false',
    ),
    argument('respawn', 'true', 'Start a node that ended again.', 'true', 'false'),
    argument('respawn_delay', '2.0', 'Seconds until then.'),
    argument('use_sim_time', 'false', 'Take the time from /clock.', 'true', 'false'),
    argument('image', '', "Topic of the image; empty: the camera's."),
    argument('depth', '', "Topic of the depth aligned to it; empty: the camera's."),
    argument('camera_info', '', "Topic of its camera_info; empty: the camera's."),
    argument('depth_camera_info', '', 'Topic of the camera_info of depth that is not aligned.'),
    argument(
        'image_transport',
        '',
        'How the image comes: raw, or compressed, below its topic; empty: params_file says.',
        '',
        'raw',
        'compressed',
    ),
    argument(
        'depth_transport',
        '',
        'How depth comes: raw, or compressedDepth, below its topic; empty: params_file says.',
        '',
        'raw',
        'compressedDepth',
    ),
    argument('camera_name', '', 'Name of the started camera, and of its frames; empty: camera.'),
    argument('serial_no', '', 'Serial number of the RealSense to start; empty: the first found.'),
    argument(
        'tf_prefix',
        'auto',
        "Before the names of the started camera's frames; auto: the namespace and _, if any.",
    ),
]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The nodes, once the arguments are known."""
    values = {a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS}
    params_file = Path(values['params_file']).expanduser()
    if not params_file.is_file():
        raise RuntimeError(f'there is no params_file {params_file.absolute()}')
    use_sim_time = {'use_sim_time': values['use_sim_time'] == 'true'}
    frames = frame_prefix(context, values) + (values['camera_name'] or 'camera')
    remappings = topics(values)
    again = respawn(values)
    actions: list[LaunchDescriptionEntity] = [
        PushRosNamespace(values['namespace']),
        Node(
            package='molmo_ros',
            executable='point_query_node',
            output='screen',
            parameters=[
                str(params_file),
                use_sim_time,
                texts(values, 'checkpoint', 'adapter', 'image_transport', 'depth_transport'),
                truths(values, 'autostart', 'exit_when_dead'),
            ],
            remappings=remappings,
            **again,
        ),
    ]
    if values['camera'] == 'demo':
        # Otherwise params_file says, or the camera itself.
        named = values['camera_name'] or values['tf_prefix'] != 'auto'
        frame = texts({'frame_id': f'{frames}_color_optical_frame' if named else ''}, 'frame_id')
        actions.append(
            Node(
                package='molmo_ros',
                executable='tabletop_camera',
                output='screen',
                parameters=[str(params_file), use_sim_time, frame],
                remappings=remappings,
                **again,
            )
        )
    if values['camera'] == 'realsense':
        actions.append(realsense(context, values))
    if values['rviz'] == 'true':
        fixed_frame = values['fixed_frame']
        if values['camera'] == 'realsense':
            fixed_frame = fixed_frame or f'{frames}_link'
        if values['camera'] == 'none' and not fixed_frame:
            hint = (
                'RViz shows frame "table", which the demo camera has: name yours, fixed_frame:=...'
            )
            actions.append(LogInfo(msg=hint))
        actions.append(rviz(values, fixed_frame, remappings, use_sim_time))
    return [GroupAction(actions)]


def texts(values: dict[str, str], *names: str) -> dict[str, ParameterValue]:
    """As parameters those that are not empty; ones that look like numbers are texts, too."""
    return {name: ParameterValue(values[name], value_type=str) for name in names if values[name]}


def truths(values: dict[str, str], *names: str) -> dict[str, bool]:
    """As parameters those that are not empty, of arguments that are true or false."""
    return {name: values[name] == 'true' for name in names if values[name]}


def respawn(values: dict[str, str]) -> dict[str, Any]:
    """Whether our nodes are started again, as arguments of launch's Node."""
    try:
        delay = float(values['respawn_delay'])
    except ValueError:
        delay = math.nan
    if not 0 <= delay < math.inf:
        raise RuntimeError(f"respawn_delay is '{values['respawn_delay']}': give seconds")
    return {'respawn': values['respawn'] == 'true', 'respawn_delay': delay}


def frame_prefix(context: LaunchContext, values: dict[str, str]) -> str:
    """What makes the frames of two cameras differ: the whole namespace, unless it is given."""
    if values['tf_prefix'] != 'auto':
        return values['tf_prefix']
    namespace = values['namespace']
    if not namespace.startswith('/'):
        namespace = f'{context.launch_configurations.get("ros_namespace", "")}/{namespace}'
    return ''.join(f'{part}_' for part in namespace.split('/') if part)


def topics(values: dict[str, str]) -> list[tuple[str, str]]:
    """Where the streams are, those of transports too, as remappings."""
    own = dict.fromkeys(STREAMS, '')
    if values['camera'] == 'realsense':
        camera = values['camera_name'] or 'camera'
        own = own | {
            'image': f'{camera}/color/image_raw',
            'depth': f'{camera}/aligned_depth_to_color/image_raw',
            'camera_info': f'{camera}/color/camera_info',
        }
    remappings = [(stream, values[stream] or own[stream] or stream) for stream in STREAMS]
    for stream, topic in remappings[:2]:
        transport = values[f'{stream}_transport']
        if transport not in ('', 'raw'):
            base = topic.removesuffix(f'/{transport}')
            remappings.append((f'{stream}/{transport}', f'{base}/{transport}'))
    return remappings


def realsense(context: LaunchContext, values: dict[str, str]) -> GroupAction:
    """The driver's own launch file, with depth aligned to color, in the namespace of all.

    Arguments that are not ours are the driver's: depth_module.depth_profile:=848x480x30.
    """
    try:
        share = Path(get_package_share_directory('realsense2_camera'))
    except PackageNotFoundError as error:
        raise RuntimeError('camera:=realsense needs the package realsense2_camera') from error
    serial_no = values['serial_no']
    arguments = {
        'camera_namespace': '',
        'camera_name': values['camera_name'] or 'camera',
        'align_depth.enable': 'true',
        'tf_prefix': frame_prefix(context, values),
    }
    if serial_no:
        # The driver takes off the _, without which ROS would read a number.
        arguments['serial_no'] = f'_{serial_no}' if serial_no.isdigit() else serial_no
    return GroupAction(
        [
            # An included file sees every argument, and ours mean something else to it, or nothing.
            *(UnsetLaunchConfiguration(a.name) for a in ARGUMENTS),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(share / 'launch/rs_launch.py')),
                launch_arguments=arguments.items(),
            ),
        ]
    )


def rviz(
    values: dict[str, str],
    fixed_frame: str,
    remappings: list[tuple[str, str]],
    use_sim_time: dict[str, bool],
) -> Node:
    """RViz, with the streams that the node listens to."""
    info = values['depth_camera_info'] or dict(remappings)['camera_info']
    return Node(
        package='rviz2',
        executable='rviz2',
        arguments=['-d', str(rviz_config(values)), *(['-f', fixed_frame] if fixed_frame else [])],
        parameters=[use_sim_time],
        # What DepthCloud takes for the camera_info of `depth`.
        remappings=[*remappings, ('/camera_info', info)],
    )


def rviz_config(values: dict[str, str]) -> Path:
    """RViz's configuration, with the transports that were asked for."""
    text = (CONFIG / 'perception.rviz').read_text()
    changed = text
    if values['image_transport'] == 'compressed':
        changed = changed.replace('Value: image\n', 'Value: image/compressed\n')
        changed = changed.replace('Color Transport Hint: raw', 'Color Transport Hint: compressed')
    if values['depth_transport'] == 'compressedDepth':
        hint = 'Depth Map Transport Hint: '
        changed = changed.replace(f'{hint}raw', f'{hint}compressedDepth')
    if changed == text:
        return CONFIG / 'perception.rviz'
    with tempfile.NamedTemporaryFile('w', suffix='.rviz', delete=False) as file:
        file.write(changed)
    return Path(file.name)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
