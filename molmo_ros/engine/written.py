# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An answer that has been written, read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.confidence import with_confidence
from molmo_ros.engine.writer import Writer
from molmo_ros.pointing import ImagePoint, Reading, Style, read_points


@dataclass(frozen=True)
class Written:
    """The fields of `Answer` that come of what the model wrote."""

    text: str
    tokens: tuple[int, ...]
    points: tuple[ImagePoint, ...]
    count: int | None
    absent: bool
    heat: NDArray[np.float32] | None = None

    @property
    def reading(self) -> Reading:
        return Reading(self.points, self.count, self.absent)


def read_written(
    writer: Writer, numbers: Sequence[str], style: Style, width: int, height: int, max_points: int
) -> Written:
    """Read numbers and words about an image of width x height pixels.

    numbers: see `with_confidence`. max_points: 0 for all of them.
    """
    reading = read_points(writer.answer, width, height)
    points = reading.points[: max_points or None]
    return Written(
        writer.answer,
        tuple(writer.ids),
        with_confidence(points, writer, numbers, width, height, style),
        reading.count,
        reading.absent,
    )
