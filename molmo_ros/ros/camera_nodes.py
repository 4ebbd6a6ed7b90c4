# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes that publish as a camera's driver does have in common."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from ament_index_python import get_search_paths
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from numpy.typing import NDArray

from molmo_ros.ros.waypoints import rotation_quaternion
from molmo_ros.share import share_folder


def frame_in(namespace: str, frame: str) -> str:
    """The name of a frame in a namespace, so that two cameras do not say of one frame that it
    stands in two places."""
    return '_'.join([*namespace.strip('/').split('/'), frame]).lstrip('_')


def transform_message(T: NDArray[np.float64], parent: str, child: str) -> TransformStamped:
    """That `child` stands in `parent` at the pose T (4, 4), metres; without a stamp."""
    x, y, z = (float(c) for c in T[:3, 3])
    qx, qy, qz, qw = rotation_quaternion(T[:3, :3])
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id = parent
    transform.transform.translation = Vector3(x=x, y=y, z=z)
    transform.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    return transform


def use_large_shared_memory() -> None:
    """Give Fast DDS room for whole images, unless somebody configured it; others take no notice."""
    new, old = 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'
    if new not in os.environ and old not in os.environ:
        # Fast DDS 3 comes under a new name, and warns of the old variable; 2 knows only that.
        is_new = any((Path(prefix) / 'share/fastdds').is_dir() for prefix in get_search_paths())
        variable = new if is_new else old
        os.environ[variable] = str(share_folder() / 'config/fastdds.xml')
