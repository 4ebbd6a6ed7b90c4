# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every data set yields: a picture, a question, and what is right."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.spatial import LiftStatus

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Percent = tuple[float, float]


class InvalidData(ValueError):
    """A data set cannot be read; the message says what is missing and where it should be."""


class Rule(enum.Enum):
    """What makes an answer right where there is something to point at.

    FIRST: the first point, the one a robot would take, is on a target. EVERY: points and targets
    are paired, one to one, and every pair counts. INSIDE: as many points as there are things, all
    in the mask. COUNT: the number is right.
    """

    FIRST = 'first'
    EVERY = 'every'
    INSIDE = 'inside'
    COUNT = 'count'


@dataclass(frozen=True)
class PositionError:
    """How far the position lifted from a point is from the truth, metres; NaN where unknown.

    at_pixel: from the surface that the point truly shows. to_object: from the nearest surface of
    the object asked for.
    """

    status: LiftStatus
    at_pixel: float = nan
    to_object: float = nan


@dataclass(frozen=True, eq=False)
class Sample:
    """One question about one picture.

    Attributes:
        id: of the question.
        image_id: of the picture; samples of one picture follow each other.
        image: loads the picture, (H, W, 3) uint8 RGB.
        source: what shows the picture again: its file, or a name that its room knows; '' for
            nothing.
        query, mode: what the engine is asked.
        topic: the type of question that it is counted under.
        rule: what makes an answer right.
        targets: where to point, in percent of width and height; empty where that is not known.
        count: how many things there are; 0 where there is none, None where it is not known.
        masks: loads the (H, W) masks of the targets, in their order, or the one of Rule.INSIDE and
            Rule.FIRST; None where there are none, and nearness to a target counts instead.
        facts: what else to break the figures down by, name to value.
        position: measures the 3D position of a point; None where the truth is not known.
    """

    id: str
    image_id: str
    image: Callable[[], Image]
    query: str
    mode: Mode
    topic: str
    rule: Rule
    targets: tuple[Percent, ...] = ()
    count: int | None = None
    masks: Callable[[], Sequence[Mask]] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    position: Callable[[ImagePoint], PositionError] | None = None
    source: str = ''

    @property
    def absent(self) -> bool:
        """Whether the right answer is that there is none."""
        return self.count == 0
