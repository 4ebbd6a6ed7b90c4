# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Five robots that ask one node, each about pictures of its own, once a second.

    python -m benchmarks.five_clients [--seconds 20] [--clients 5] [--greedy]

The node and the demo checkpoint in this process, over DDS; each client shows a rendered table of
its own that no other shows, changed by a pixel each time, so that nothing is known of it. With
--greedy the first client asks without a pause, by four goals at a time. A table says of each client
how many were answered and told BUSY, and how long it waited.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections import Counter
from contextlib import ExitStack

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

import numpy as np
import rclpy

from molmo_ros.grounding.frame import Frame
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.domain import free_domain
from molmo_ros.ros.point_query_node import PointQueryNode, make_executor
from molmo_ros.ros.spinning import Spinner
from molmo_ros.tabletop.samples.table_views import view_of

AT_A_TIME = 4  # of a greedy client


class Robot:
    """Asks about its own table until told to stop."""

    def __init__(self, index: int, client: PointQueryClient, end: float, every: float) -> None:
        self.statuses: Counter[str] = Counter()
        self.took: list[float] = []
        self._view, self._index = view_of(9300 + index), index
        thing = self._view.truths[0]
        self._query = f'the {thing.colour} {thing.kind}'
        self._client, self._end, self._every = client, end, every
        self.threads = [
            threading.Thread(target=self._run, args=(lane,))
            for lane in range(1 if every else AT_A_TIME)
        ]

    def _run(self, lane: int) -> None:
        count = 0
        # Not all at the same moment, as robots would not.
        time.sleep(self._every * self._index / 5)
        while time.monotonic() < self._end:
            color = self._view.picture.color.copy()
            color[0, 0] = (count % 256, count // 256, lane)
            frame = Frame(color, None, None, 1, f'robot_{self._index}_optical_frame')
            begun = time.monotonic()
            answered = self._client.start(self._query, frame=frame).result(60)
            self.statuses[answered.status.name] += 1
            self.took.append(time.monotonic() - begun)
            count += 1
            time.sleep(max(begun + self._every - time.monotonic(), 0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--clients', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--greedy', action='store_true')
    arguments = parser.parse_args()
    os.environ['ROS_DOMAIN_ID'] = str(free_domain())
    rclpy.init()
    node = PointQueryNode()
    executor = make_executor(node)
    executor.add_node(node)
    spinner = Spinner(executor)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(PointQueryClient('', f'robot_{index}'))
            for index in range(arguments.clients)
        ]
        if not all(client.wait_until_ready(120) for client in clients):
            raise SystemExit('the node is not ready')
        end = time.monotonic() + arguments.seconds
        robots = [
            Robot(index, client, end, 0.0 if arguments.greedy and index == 0 else 1.0)
            for index, client in enumerate(clients)
        ]
        for robot in robots:
            for thread in robot.threads:
                thread.start()
        for robot in robots:
            for thread in robot.threads:
                thread.join()
    print('| client | statuses | half within | 95 of 100 within | longest |')
    print('|---|---|---|---|---|')
    for index, robot in enumerate(robots):
        half, most = np.percentile(robot.took, [50, 95])
        statuses = ', '.join(f'{name} {count}' for name, count in robot.statuses.items())
        longest = max(robot.took)
        print(f'| {index} | {statuses} | {half:.2f} s | {most:.2f} s | {longest:.2f} s |')
    node.close()
    spinner.close()
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
