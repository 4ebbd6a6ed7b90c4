# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Let a question stand, and know where its points are in every image.

python examples/follow.py "the yellow banana" table 5
"""

import sys
import time

from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.client_watch import Followed
from molmo_ros.spatial import LiftStatus


def told(followed: Followed) -> None:
    """Called in the client's thread for every image: be quick here."""
    for one in followed.points:
        told_by = 'answered' if one.answered else f'carried, {one.drift:.1f} pixels off at most'
        position = one.point.surface.position
        where = position.round(3) if one.point.surface.status is LiftStatus.OK else 'no position'
        print(f'{followed.stamp_ns} point {one.id} {told_by}: {where} in {followed.frame_id}')


def main() -> int:
    query = sys.argv[1] if len(sys.argv) > 1 else 'the yellow banana'
    target_frame = sys.argv[2] if len(sys.argv) > 2 else ''
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 10.0
    with PointQueryClient() as client:
        if not client.wait_until_ready(timeout=120):
            print(f'the node is not ready: {client.engine_state}')
            return 1
        # The node forgets the question a lease after this process is gone, whatever ended it.
        with client.watch(query, told, target_frame=target_frame, lease=3.0) as watch:
            time.sleep(seconds)
        newest = watch.newest
    print(newest.status.name if newest is not None else 'nothing was told')
    return 0 if newest is not None and newest.points else 1


if __name__ == '__main__':
    sys.exit(main())
