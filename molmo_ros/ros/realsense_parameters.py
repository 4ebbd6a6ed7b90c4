# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the RealSense camera node; see `ros.parameters`."""

from __future__ import annotations

from molmo_ros.ros.parameters import QOS_CHOICES, Parameter

REALSENSE_CAMERA = (
    Parameter('serial', '', 'Serial number of the camera; empty: any.', fixed=True),
    Parameter(
        'recording',
        '',
        "A file of librealsense's recorder (.db3, older ones .bag) that is played in place of a "
        'camera, again and again; empty: a camera.',
        fixed=True,
    ),
    Parameter(
        'width', 0, "Pixels of both pictures; 0: the camera's choice.", range=(0, 4096), fixed=True
    ),
    Parameter(
        'height', 0, "Pixels of both pictures; 0: the camera's choice.", range=(0, 4096), fixed=True
    ),
    Parameter('rate', 0, "Frames a second; 0: the camera's choice.", range=(0, 300), fixed=True),
    Parameter(
        'preset',
        '',
        "Visual preset of the depth by its name, as 'High Accuracy'; empty: as it is.",
        fixed=True,
    ),
    Parameter(
        'align_depth',
        False,
        'Whether librealsense aligns the depth to the color, for those that need it pixel for '
        'pixel; otherwise depth comes as it was seen, with its camera_info and /tf_static, which '
        'is nearer to the truth.',
        fixed=True,
    ),
    Parameter(
        'depth_encoding',
        'auto',
        'Depth in millimetres (16UC1) or in metres (32FC1); auto: millimetres, unless the camera '
        'counts finer or coarser ones.',
        choices=('auto', '16UC1', '32FC1'),
        fixed=True,
    ),
    Parameter(
        'patience',
        5.0,
        'Seconds without a frame after which the camera is reset.',
        range=(0.5, 600.0),
        fixed=True,
    ),
    Parameter(
        'frame_prefix',
        '',
        'What stands before camera_link and the optical frames; empty: the namespace, as in '
        'left_camera_link.',
        fixed=True,
    ),
    Parameter(
        'qos',
        'sensor_data',
        'Quality of service of the images and camera_infos.',
        choices=QOS_CHOICES,
        fixed=True,
    ),
)
