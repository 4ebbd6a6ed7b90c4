# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer says, as plain data: points in pixels, a count, or absence."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan


@dataclass(frozen=True)
class ImagePoint:
    """One point in the original image.

    `u` (right) and `v` (down) are pixels of the original image, 0 <= u <= width and
    0 <= v <= height: u = x / 100 * width as in the reference, so 100 % is the image's far edge.
    `confidence` is how likely the model finds it that the place it means is within 5 % of the
    image of this one, NaN where nobody has measured it. `image_index` counts the images of the
    question from 0. `spread` is how far around the point the model's belief reaches,
    in pixels (root mean square), NaN likewise.
    """

    u: float
    v: float
    label: str
    confidence: float = nan
    image_index: int = 0
    spread: float = nan


@dataclass(frozen=True)
class Reading:
    """What a model's answer says.

    `count` is the number the text states (0 when it says that there is none), None when it states
    none: points alone are not a stated count. `absent` is True when the text says that what was
    asked for is not there, and points at nothing.
    """

    points: tuple[ImagePoint, ...] = ()
    count: int | None = None
    absent: bool = False
