# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The things that followed points are on: measured where an answer has put a point, and moved with
it from image to image in between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from molmo_ros.grounding.picking import Pick, moved
from molmo_ros.spatial import LiftStatus, SurfacePoint
from molmo_ros.spatial.windows import Floats


@dataclass(frozen=True, eq=False)
class _Measured:
    pick: Pick
    position: Floats
    frame: str


class FollowedPicks:
    """The picks of points by their ids. Used from one thread."""

    def __init__(self) -> None:
        self._measured: dict[int, _Measured] = {}

    def of(
        self,
        id: int,
        answered: bool,
        surface: SurfacePoint,
        frame: str,
        measure: Callable[[], Pick],
    ) -> Pick:
        """The pick of a point that is at `surface` now, in a frame of that name.

        answered: an answer has just put it there, so that it is measured anew, as it is where
        another frame is asked for.
        """
        if answered:
            self._measured.pop(id, None)
        if surface.status is not LiftStatus.OK:
            return Pick(reason='the point has no position')
        known = self._measured.get(id)
        if known is None or known.frame != frame:
            known = self._measured[id] = _Measured(measure(), surface.position, frame)
            return known.pick
        return moved(known.pick, surface.position - known.position)

    def keep(self, ids: Collection[int]) -> None:
        """Forget all others."""
        self._measured = {id: known for id, known in self._measured.items() if id in ids}
