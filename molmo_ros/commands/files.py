# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files as the commands read them; they stand in `cameras.files`, and scripts import them here."""

from molmo_ros.cameras.files import (
    read_camera,
    read_color,
    read_depth,
    write_camera,
    write_color,
    write_depth,
)

__all__ = [
    'read_camera',
    'read_color',
    'read_depth',
    'write_camera',
    'write_color',
    'write_depth',
]
