# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How noisy a depth reading is: parametric models of the two kinds of depth camera.

Both give the standard deviation of one reading along the optical axis, and the reach of the
correlation between neighbouring pixels: matching windows and filters make a depth image's noise
smooth, so that averaging n pixels gains less than the square root of n. Numbers of real cameras
are in `noise_presets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class DepthNoise(Protocol):
    """What lifting needs to know of a depth camera."""

    @property
    def correlation(self) -> float:
        """Standard deviation, in pixels, of the blur that makes white noise into this noise.

        So the correlation of readings d pixels apart is exp(-d^2 / (4 correlation^2)).
        """

    def sigma(self, z: ArrayLike, focal: float) -> NDArray[np.float64]:
        """Standard deviation in metres of a reading at z metres; focal: the camera's, in pixels."""


@dataclass(frozen=True)
class StereoNoise:
    """Passive or active stereo: an even error in disparity, so one that grows with z squared.

    sigma(z) = z^2 * sqrt(disparity_sigma^2 + disparity_step^2 / 12) / (focal * baseline)
    baseline: metres. disparity_sigma: pixels. disparity_step: pixels, quantum of the disparity.
    matching_focal: pixels, of the image that was matched, if it is not the depth image's.
    """

    baseline: float = 0.05
    disparity_sigma: float = 0.08
    disparity_step: float = 1 / 32
    correlation: float = 1.0
    matching_focal: float | None = None

    def sigma(self, z: ArrayLike, focal: float) -> NDArray[np.float64]:
        """Standard deviation in metres of a reading at z metres."""
        disparity = float(np.hypot(self.disparity_sigma, self.disparity_step / np.sqrt(12)))
        scale = (self.matching_focal or focal) * self.baseline
        return np.square(np.asarray(z, np.float64)) * (disparity / scale)


@dataclass(frozen=True)
class TofNoise:
    """Time of flight: a constant error, and one that grows as the returned light fades.

    sigma(z) = sqrt(constant^2 + (quadratic * z^2)^2), both in metres (quadratic: at one metre).
    """

    constant: float = 0.0015
    quadratic: float = 0.001
    correlation: float = 0.5

    def sigma(self, z: ArrayLike, focal: float) -> NDArray[np.float64]:
        """Standard deviation in metres of a reading at z metres; focal plays no part."""
        return np.hypot(self.constant, self.quadratic * np.square(np.asarray(z, np.float64)))
