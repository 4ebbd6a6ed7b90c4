# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ask about a picture of one's own: the node needs no camera for it.

    python examples/own_picture.py IMAGE DEPTH CAMERA "the yellow banana"

Depth is registered to the image; CAMERA is what `ros2 topic echo --once camera_info` prints.
"""

import sys
import time
from pathlib import Path

from molmo_ros.cameras.files import read_camera, read_color, read_depth
from molmo_ros.grounding.frame import Frame
from molmo_ros.ros.client import PointQueryClient


def main() -> int:
    image, depth, camera = (Path(argument) for argument in sys.argv[1:4])
    color = read_color(image)
    height, width = color.shape[:2]
    frame = Frame(
        color,
        read_depth(depth),
        read_camera(camera, (width, height)),
        stamp=time.time_ns(),
        frame_id='camera_color_optical_frame',
    )
    with PointQueryClient() as client:
        if not client.wait_until_ready(timeout=120):
            print(f'the node is not ready: {client.engine_state}')
            return 1
        answered = client.ask(sys.argv[4], frame=frame)
    print(answered.status.name, answered.message)
    for point in answered.points:
        print(point.surface.status.name, point.surface.position, 'm in', answered.frame_id)
    return 0 if answered.points else 1


if __name__ == '__main__':
    sys.exit(main())
