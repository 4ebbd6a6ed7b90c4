# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ask where something is, and use the answer.

python examples/ask_once.py "the yellow banana" table
"""

import sys

from molmo_ros.ros.client import PointQueryClient
from molmo_ros.spatial import LiftStatus


def main() -> int:
    query = sys.argv[1] if len(sys.argv) > 1 else 'the yellow banana'
    target_frame = sys.argv[2] if len(sys.argv) > 2 else ''
    with PointQueryClient() as client:
        if not client.wait_until_ready(timeout=120):
            print(f'the node is not ready: {client.engine_state}')
            return 1
        answered = client.ask(query, target_frame=target_frame, timeout=30)
    print(answered.status.name, answered.message)
    for sentence in answered.assumed:
        print('assumed:', sentence)
    for point in answered.points:
        print(f'{point.image.label}: {point.image.u:.0f}, {point.image.v:.0f} pixels')
        if point.surface.status is LiftStatus.OK:
            x, y, z = point.surface.position
            print(f'  {x:.3f} {y:.3f} {z:.3f} m in {answered.frame_id}')
        else:
            print(f'  no position: {point.surface.reason}')
    return 0 if answered.points else 1


if __name__ == '__main__':
    sys.exit(main())
