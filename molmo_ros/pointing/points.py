# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer says, as plain data: points in pixels, a count, or absence."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan


def centred(u: float, v: float) -> tuple[float, float]:
    """Pixels as camera models and depth count them, from pixels as points are told.

    The half-pixel rule: models point from the image's top left corner, so that the first pixel
    reaches from 0 to 1; a camera model has its centre at 0.
    """
    return u - 0.5, v - 0.5


def from_centred(u: float, v: float) -> tuple[float, float]:
    """The way back from `centred`."""
    return u + 0.5, v + 0.5


@dataclass(frozen=True)
class ImagePoint:
    """One point in the original image.

    `u` (right) and `v` (down) are pixels of the original image, 0 <= u <= width and
    0 <= v <= height: u = x / 100 * width as in the reference, so 100 % is the image's far edge.
    `confidence` is how likely the model finds it that the place it means is within 5 % of the
    image of this one, NaN where nobody has measured it. `image_index` counts the images of the
    question from 0. `spread` is how far around the point the model's belief reaches,
    in pixels (root mean square), NaN likewise. `covariance` is (uu, uv, vv) of the same, pixels².
    """

    u: float
    v: float
    label: str
    confidence: float = nan
    image_index: int = 0
    spread: float = nan
    covariance: tuple[float, float, float] = (nan, nan, nan)

    @property
    def centred(self) -> tuple[float, float]:
        """(u, v) with integers at the centres of pixels, as camera models and depth have it."""
        return centred(self.u, self.v)


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
