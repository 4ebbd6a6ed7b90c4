# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lifting has to know of a depth camera."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .noise import DepthNoise, StereoNoise
from .windows import Bools, Floats


@dataclass(frozen=True)
class LiftSettings:
    """What a depth camera can do, and how far to look around a pixel.

    min_range, max_range: metres along the optical axis; readings outside are OUT_OF_RANGE.
    radius: pixels, of the disc that a surface is fitted in.
    hole_radius: pixels, how far from a pixel without a reading the surface around it may begin.
    noise: of the depth camera.
    pixel_sigma: pixels, how surely (u, v) is known, for the covariance.
    """

    min_range: float = 0.1
    max_range: float = 10.0
    radius: float = 7.0
    hole_radius: int = 6
    noise: DepthNoise = field(default_factory=StereoNoise)
    pixel_sigma: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.min_range < self.max_range:
            raise ValueError(
                'min_range and max_range must be metres with 0 < min_range < max_range'
            )
        if self.radius < 3 or self.hole_radius < 1 or self.pixel_sigma < 0:
            raise ValueError('radius must be 3 or more, hole_radius 1 or more, pixel_sigma not < 0')

    def inverse(self, z: Floats) -> tuple[Floats, Bools]:
        """Inverse depth, 0 where there is no reading within the range, and where there is one."""
        valid = (z >= self.min_range) & (z <= self.max_range)
        return np.divide(1.0, z, out=np.zeros_like(z), where=valid), valid

    def out_of_range(self, z: Floats) -> Bools:
        """Where there is a reading, or one of REP-117's infinities, outside the range."""
        return (z > self.max_range) | ((z > 0) & (z < self.min_range)) | np.isneginf(z)

    def inverse_sigma(self, inverse: Floats, focal: float) -> Floats:
        """Standard deviation of an inverse depth, 1/m."""
        return self.noise.sigma(1 / inverse, focal) * inverse**2


DEFAULT_SETTINGS = LiftSettings()
