# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clients that ask as soon as they see the service: does each hear its response?

    python -m benchmarks.newcomers [--processes 6] [--clients 80]

The node with the demo checkpoint and the processes that ask are processes of their own. Each makes
one client after the other, each with a context of its own, that puts an empty question, which is
refused at once, and waits for 8 s. Prints how many heard nothing; the exit status is 1 if any did.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from typing import Any

import rclpy
from molmo_ros.srv import PointQuery
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.domain import free_domain

_SEEN_S = 20.0
_WAIT_S = 8.0
_NODE = ('molmo_ros.ros.point_query_node', '--ros-args', '-r', '__ns:=/newcomers')


def ask(clients: int) -> int:
    """How many of so many clients hear nothing."""
    lost = 0
    for number in range(clients):
        context = Context()
        rclpy.init(context=context)
        node = Node('newcomer', context=context)
        client: Any = node.create_client(PointQuery, '/newcomers/point_query')
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        end = time.monotonic() + _SEEN_S
        while not (seen := client.service_is_ready()) and time.monotonic() < end:
            time.sleep(0.0005)
        future = client.call_async(PointQuery.Request())
        executor.spin_until_future_complete(future, timeout_sec=_WAIT_S)
        if not future.done():
            lost += 1
            what = 'heard nothing' if seen else f'did not see the service for {_SEEN_S:g} s'
            print(f'process {os.getpid()}: client {number} {what}', file=sys.stderr)
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    return lost


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--processes', type=int, default=6)
    parser.add_argument('--clients', type=int, default=80, help='of each process')
    parser.add_argument('--asker', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.asker:
        print(ask(arguments.clients))
        return 0
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ['ROS_DOMAIN_ID'] = str(free_domain())
    python = sys.executable, '-m'
    node = subprocess.Popen([*python, *_NODE])
    try:
        with PointQueryClient('newcomers') as ready:
            assert ready.wait_until_ready(120), ready.engine_state
        command = [*python, 'benchmarks.newcomers', '--asker', '--clients', str(arguments.clients)]
        askers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            for _ in range(arguments.processes)
        ]
        lost = sum(int(asker.communicate()[0]) for asker in askers)
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(30)
    print(f'{arguments.processes * arguments.clients} clients, {lost} heard nothing')
    return 1 if lost else 0


if __name__ == '__main__':
    sys.exit(main())
