# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node in a process of its own, asked about tables. `benchmarks/picking.py`."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from molmo_ros.grounding.frame import Frame
from molmo_ros.tabletop.demo.processes import NodeProcesses
from molmo_ros.tabletop.physics.hand import FRANKA

if TYPE_CHECKING:
    from molmo_ros.ros.client import Answered

_TIMEOUT_S = 300.0


class Service:
    """`molmo_point_query` with the demo checkpoint, told of the hand and of the camera's noise.

    preset: of the noise. Enter it to have it; leaving ends the process.
    """

    def __init__(self, checkpoint: Path, preset: str) -> None:
        self._parameters = {
            'checkpoint': str(checkpoint),
            'device': 'cpu',
            'waypoint_from': 'object',
            'noise.preset': preset,
            'gripper.opening': FRANKA.opening,
            'gripper.finger_width': FRANKA.finger_width,
            'gripper.finger_thickness': FRANKA.finger_thickness,
            'gripper.finger_length': FRANKA.finger_length,
            'gripper.palm': ' '.join(map(str, FRANKA.palm)),
        }
        self._stack = ExitStack()
        self._asked = 0

    def ask(self, query: str, frame: Frame) -> Answered:
        """The answer about a frame, in its optical frame."""
        self._asked += 1
        stamped = replace(frame, stamp=self._asked)  # a new picture for every question is safe
        return self._client.ask(query, frame=stamped, max_points=1, timeout=_TIMEOUT_S)

    def __enter__(self) -> Service:
        from molmo_ros.ros.domain import free_domain

        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        os.environ['ROS_DOMAIN_ID'] = str(free_domain())
        from molmo_ros.ros.client import PointQueryClient

        logs = self._stack.enter_context(tempfile.TemporaryDirectory())
        nodes = self._stack.enter_context(NodeProcesses(Path(logs)))
        given = [f'{name}:={json.dumps(value)}' for name, value in self._parameters.items()]
        arguments = [part for one in given for part in ('-p', one)]
        nodes.start('node', 'molmo_ros.ros.point_query_node', '--ros-args', *arguments)
        self._client = self._stack.enter_context(PointQueryClient(node_name='picking'))
        while not self._client.wait_until_ready(1.0):
            nodes.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
