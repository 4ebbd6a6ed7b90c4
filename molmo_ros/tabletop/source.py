# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rendered table as a source of frames, without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.source import Source
from molmo_ros.errors import UserError
from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.tabletop.world import TableSpec, TabletopCamera

TABLE_FRAME = 'table'


class TableSource(Source):
    """A camera over a table, whose frame is 'table': its top z = 0, z up."""

    def __init__(self, seed: int, spec: TableSpec) -> None:
        self._camera = TabletopCamera(seed, spec=spec)
        # Torch warns of arrays that cannot be written to.
        self._color = self._camera.read().color.copy()
        self.about = f'rendered table {seed}'

    def capture(self, at: float | None = None) -> Capture:
        """See Source."""
        if at is not None:
            raise UserError('a camera shows what it sees now: leave out --at')
        return Capture(replace(self._camera.read(), color=self._color))

    def target(self, frame: str, capture: Capture) -> TargetFrame:
        """See Source."""
        if frame == TABLE_FRAME:
            return TargetFrame(self._camera.T_world_optical, up=np.array([0.0, 0.0, 1.0]))
        return super().target(frame, capture)

    def frames(self, frame: str, capture: Capture) -> Mapping[str, NDArray[np.float64]]:
        """See Source."""
        T = self._camera.T_world_optical
        optical = self._camera.frame_id
        if frame == TABLE_FRAME:
            return {TABLE_FRAME: np.eye(4), optical: T}
        return {TABLE_FRAME: np.asarray(np.linalg.inv(T)), optical: np.eye(4)}
