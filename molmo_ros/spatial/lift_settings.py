# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lifting has to know of a depth camera."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .noise import DepthNoise, StereoNoise
from .noise_presets import PRESETS, preset_for
from .windows import Bools, Floats

DEFAULT_RADIUS = 7.0  # px
# What a float32 still tells of a depth, times a few. The fit divides by the noise.
_LEAST_SIGMA = 1e-6  # of the depth
_ROUNDED = 1e-6  # of the depth: what is at the end of the range in float32 may lie beyond it


@dataclass(frozen=True)
class LiftSettings:
    """What a depth camera can do, and how far to look around a pixel.

    min_range, max_range: metres along the optical axis; readings outside are OUT_OF_RANGE.
    radius: pixels, of the disc that a surface is fitted in, and radius_metres: what that may be on
    the surface, so that far away it does not take in what stands beside; 4 pixels always count.
    hole_radius: pixels, how far from a pixel without a reading the surface around it may begin.
    noise: of the depth camera.
    pixel_sigma: pixels, how surely (u, v) is known, for the covariance.
    edge_reach: pixels, how far from the outline of a thing a reading may be that of the other side:
    matching windows smear near things outwards. 0: never, as in rendered depth.
    preset: a name of `noise_presets.PRESETS`, whose numbers for the width of the depth image hold
    instead of `noise` and `edge_reach`, and of `radius` where that is left as it is; '' for none.
    """

    min_range: float = 0.1
    max_range: float = 10.0
    radius: float = DEFAULT_RADIUS
    radius_metres: float = 0.01
    hole_radius: int = 6
    noise: DepthNoise = field(default_factory=StereoNoise)
    pixel_sigma: float = 0.5
    edge_reach: float = 3.0
    preset: str = ''

    def __post_init__(self) -> None:
        if not 0 < self.min_range < self.max_range:
            raise ValueError(
                'min_range and max_range must be metres with 0 < min_range < max_range'
            )
        if self.radius < 3 or self.hole_radius < 1 or self.pixel_sigma < 0 or self.edge_reach < 0:
            raise ValueError(
                'radius must be 3 or more, hole_radius 1 or more, pixel_sigma and edge_reach not '
                'negative'
            )
        if self.radius_metres <= 0:
            raise ValueError('radius_metres must be more than 0')
        if self.preset and self.preset not in PRESETS:
            raise ValueError(f"preset is '{self.preset}', not one of {', '.join(PRESETS)}")

    def for_width(self, width: int) -> LiftSettings:
        """With the preset's numbers for a depth image so many pixels wide, where there is one."""
        if not self.preset:
            return self
        chosen = preset_for(self.preset, width)
        return replace(
            self,
            radius=chosen.radius if self.radius == DEFAULT_RADIUS else self.radius,
            noise=chosen.noise,
            edge_reach=chosen.edge_reach,
            preset='',
        )

    def inverse(self, z: Floats) -> tuple[Floats, Bools]:
        """Inverse depth, 0 where there is no reading within the range, and where there is one."""
        valid = self.in_range(z)
        return np.divide(1.0, z, out=np.zeros_like(z), where=valid), valid

    def in_range(self, z: Floats) -> Bools:
        """Which depths are within the range, its ends included."""
        near, far = self.min_range * (1 - _ROUNDED), self.max_range * (1 + _ROUNDED)
        return np.asarray((z >= near) & (z <= far))

    def out_of_range(self, z: Floats) -> Bools:
        """Where there is a reading, or one of REP-117's infinities, outside the range."""
        return ((z > 0) | np.isneginf(z)) & ~self.in_range(z)

    def inverse_sigma(self, inverse: Floats, focal: float) -> Floats:
        """Standard deviation of an inverse depth, 1/m; never quite nothing."""
        sigma = self.noise.sigma(1 / inverse, focal) * inverse**2
        return np.maximum(sigma, _LEAST_SIGMA * inverse)


DEFAULT_SETTINGS = LiftSettings()
