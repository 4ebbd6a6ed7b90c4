# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The things of an answer as messages: `~/object_mask` and `~/object_cloud`."""

from __future__ import annotations

import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

_FIELDS = np.dtype([('xyz', '<f4', 3), ('rgb', '<u4'), ('point', '<u4')])


def mask_message(mask: NDArray[np.uint8], header: Header) -> Image:
    """A mono8 message of (H, W) numbers."""
    data = array.array('B')
    data.frombytes(mask.tobytes())
    height, width = mask.shape
    return Image(header=header, height=height, width=width, encoding='mono8', step=width, data=data)


def cloud_message(
    xyz: NDArray[np.float32], rgb: NDArray[np.uint8], numbers: NDArray[np.uint32], header: Header
) -> PointCloud2:
    """A cloud of (N, 3) metres with (N, 3) colors; field `point`: (N,) whose thing each is of."""
    cloud = np.zeros(len(xyz), _FIELDS)
    cloud['xyz'], cloud['point'] = xyz, numbers
    red, green, blue = rgb.astype(np.uint32).T
    cloud['rgb'] = red << 16 | green << 8 | blue
    data = array.array('B')
    data.frombytes(cloud.tobytes())
    # Viewers take a color for a float, whose bits it has.
    kinds = {'x': (0, PointField.FLOAT32), 'y': (4, PointField.FLOAT32)}
    kinds |= {'z': (8, PointField.FLOAT32), 'rgb': (12, PointField.FLOAT32)}
    kinds |= {'point': (16, PointField.UINT32)}
    return PointCloud2(
        header=header,
        height=1,
        width=len(xyz),
        fields=[
            PointField(name=name, offset=offset, datatype=kind, count=1)
            for name, (offset, kind) in kinds.items()
        ],
        is_bigendian=False,
        point_step=_FIELDS.itemsize,
        row_step=_FIELDS.itemsize * len(xyz),
        data=data,
        is_dense=True,
    )
