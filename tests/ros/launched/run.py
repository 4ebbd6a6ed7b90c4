# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 launch FILE name:=value ...`: with the real launch where it is installed."""

import importlib.util
import sys
from pathlib import Path

if __name__ == '__main__':
    file, *arguments = sys.argv[1:]
    if importlib.util.find_spec('launch_ros'):
        from launch.actions import IncludeLaunchDescription
        from launch.launch_description_sources import PythonLaunchDescriptionSource

        from launch import LaunchDescription, LaunchService

        service = LaunchService(argv=arguments, noninteractive=True)
        included = IncludeLaunchDescription(
            PythonLaunchDescriptionSource(file),
            launch_arguments=[tuple(argument.split(':=', 1)) for argument in arguments],
        )
        service.include_launch_description(LaunchDescription([included]))
        sys.exit(service.run())
    sys.path.insert(0, str(Path(__file__).parent))
    import stand_in

    stand_in.install()
    sys.exit(stand_in.launch(file, arguments))
