# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A leaf of a behaviour tree that asks where something is: with a deadline, and taken back.

pip install py_trees==2.6.0
python examples/planners/tree.py "the yellow banana"
"""

import sys
import time

import py_trees
from py_trees.common import Access, Status

from molmo_ros.ros.client import PendingAnswer, PointQueryClient


class Find(py_trees.behaviour.Behaviour):
    """RUNNING while the node looks; SUCCESS with the answer in `found` of the blackboard; FAILURE
    where nothing is there, or not in time. Taken off, it takes its question back."""

    def __init__(self, name: str, client: PointQueryClient, query: str, seconds: float) -> None:
        super().__init__(name)
        self._client, self._query, self._seconds = client, query, seconds
        self._pending: PendingAnswer | None = None
        self._ends = 0.0
        self.board = self.attach_blackboard_client(name)
        self.board.register_key('found', access=Access.WRITE)

    def initialise(self) -> None:
        self._ends = time.monotonic() + self._seconds
        self._pending = self._client.start(self._query, max_points=1)

    def update(self) -> Status:
        assert self._pending is not None
        if self._pending.done():
            answered = self._pending.result()
            self.feedback_message = answered.message or answered.status.name
            if not answered.points:
                return Status.FAILURE
            self.board.found = answered
            return Status.SUCCESS
        if time.monotonic() > self._ends:
            self.feedback_message = 'not in time'
            return Status.FAILURE
        return Status.RUNNING

    def terminate(self, new_status: Status) -> None:
        # After a deadline, or as something more urgent has been ticked.
        if self._pending is not None and not self._pending.done():
            self._pending.cancel()


def main() -> int:
    query = sys.argv[1] if len(sys.argv) > 1 else 'the yellow banana'
    with PointQueryClient() as client:
        if not client.wait_until_ready(timeout=120):
            print(f'the node is not ready: {client.engine_state}')
            return 1
        hasty = Find('hasty', client, query, seconds=0.0)
        patient = Find('patient', client, query, seconds=60.0)
        root = py_trees.composites.Selector('look', memory=True, children=[hasty, patient])
        while root.tick_once() or root.status is Status.RUNNING:
            time.sleep(0.05)
        for leaf in root.children:
            print(leaf.name, leaf.status.name, leaf.feedback_message)
        board = py_trees.blackboard.Client(name='after')
        board.register_key('found', access=Access.READ)
        if root.status is Status.SUCCESS:
            print(board.found.points[0].surface.position)
    return 0 if root.status is Status.SUCCESS else 1


if __name__ == '__main__':
    sys.exit(main())
