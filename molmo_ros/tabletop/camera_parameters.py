# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the tabletop camera; see `ros.parameters`."""

from __future__ import annotations

from molmo_ros.ros.parameters import QOS_CHOICES, Parameter

TABLETOP_CAMERA = (
    Parameter('seed', 5000, 'Which rendered table is shown.', range=(0, 2**31 - 1)),
    Parameter(
        'table',
        'easy',
        'What stands on it: few, distinct things, or many of all kinds with patterns and clutter.',
        choices=('easy', 'rich'),
    ),
    Parameter('rate', 10.0, 'Frames a second.', range=(0.1, 60.0), fixed=True),
    Parameter('width', 640, 'Pixels.', range=(64, 4096), fixed=True),
    Parameter('height', 480, 'Pixels.', range=(64, 4096), fixed=True),
    Parameter(
        'depth_encoding',
        '16UC1',
        'Depth in millimetres (16UC1) or in metres (32FC1).',
        choices=('16UC1', '32FC1'),
    ),
    Parameter(
        'frame_id',
        '',
        'Optical frame of color and depth; empty: camera_color_optical_frame, with the namespace '
        'before it where there is one (left_camera_color_optical_frame).',
        fixed=True,
    ),
    Parameter(
        'parent_frame',
        'table',
        'Frame of the table, in which the camera stands (on /tf_static).',
        fixed=True,
    ),
    Parameter(
        'qos',
        'sensor_data',
        'Quality of service of the images and camera_info.',
        choices=QOS_CHOICES,
        fixed=True,
    ),
)
