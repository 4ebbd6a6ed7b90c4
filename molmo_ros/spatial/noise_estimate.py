# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The noise of a depth camera, from depth images of a wall.

A wall is a plane, so what its readings are off by from planes through them is noise. A camera may
see a large wall bent, which does not matter to a point on a small thing, so that planes are fitted
to patches of the image. Noise that stays from frame to frame counts like any other: a point is
lifted from one frame.

The correlation follows from what averaging gains: n readings are worth n / (4 pi correlation^2),
and that divisor is the sum of the correlations of a reading with those around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .noise import DepthNoise, StereoNoise, TofNoise
from .windows import Floats

Kind = Literal['stereo', 'tof']

_PATCH = 91 / 640  # of the width of the image: the side of a patch, 91 pixels of 640
_LEAST_PATCH = 31  # pixels
_SEEN = 0.9  # of a patch's pixels that have a reading, and
_ON = 0.95  # of these that lie on its plane, if it is a piece of a wall
_NEAR = 4.0  # robust sigmas within which a reading is on the plane
_SIGMA_OF_HALF = 1.4826  # of a normal distribution: its sigma over the median of its residuals
_LEAST_PATCHES = 4
_EVEN = 1.5  # times as noisy as the quieter ones that a patch may be, before it is no wall
_MOST_NOISE = 0.015  # 1/m, likewise: four times that of a RealSense
_DIES_OUT = 0.1  # correlation at which the sum over the neighbours ends
_COEFFICIENTS = 3  # of a plane
_MOST_SHARING = 0.1  # of a patch's pixels: more would be the shape of the wall
_APART = 1.5  # times as far: walls whose noise tells how it grows with distance


class NoWall(ValueError):
    """The depth images do not show enough of a wall; the message says what to do."""


@dataclass(frozen=True)
class NoiseEstimate:
    """What a wall says of a camera.

    noise: its model. distance: metres along the axis, of the patches' middles, in the median.
    sigma: metres there, of a reading. step: metres there between a depth and the next, quantum.
    bias: metres that the wall is seen too far, None without its true distance. patches: how many.
    """

    noise: DepthNoise
    distance: float
    sigma: float
    step: float
    bias: float | None
    patches: int


@dataclass(frozen=True, eq=False)
class _Patch:
    """off: (S, S) of the readings from the plane, 1/m, NaN without one. z: metres, its middle."""

    off: Floats
    z: float

    def sigma(self, kept: float) -> float:
        """Standard deviation in metres, where the plane took all but this share of the noise."""
        return float(np.sqrt(np.nanmean(self.off**2) / kept)) * self.z**2


def estimate_noise(
    depths: Sequence[NDArray[np.float32]],
    camera: CameraModel,
    kind: Kind = 'stereo',
    baseline: float = 0.05,
    distance: float | None = None,
) -> NoiseEstimate:
    """The noise model of a camera that saw walls.

    depths: images (H, W) in metres along the axis, NaN without a reading, of the camera's size.
    baseline: metres, for 'stereo'; only its ratio to the disparity's sigma counts.
    distance: metres, the true one along the axis to the wall at the middle of the image.
    Raises NoWall; ValueError for sizes that do not fit.
    """
    patches = _alike([patch for depth in depths for patch in _patches(depth, camera)])
    if len(patches) < _LEAST_PATCHES:
        raise NoWall(
            'the depth shows no wall: look straight at one that fills the picture, at 0.5 to 2 m, '
            'with some texture on it for a passive stereo camera'
        )
    correlation, kept = _correlation(patches)
    z = np.array([patch.z for patch in patches])
    sigma = np.array([patch.sigma(kept) for patch in patches])
    middle = float(np.median(z))
    step = float(np.median([_step(depth, middle) for depth in depths]))
    focal = float(camera.K[0, 0])
    noise: DepthNoise
    if kind == 'stereo':
        noise = _stereo(z, sigma, step / middle**2 * focal * baseline, focal, baseline, correlation)
    else:
        noise = _tof(z, sigma, correlation)
    seen = float(noise.sigma(middle, focal))
    bias = None if distance is None else _middle(depths, camera) - distance
    return NoiseEstimate(noise, middle, seen, step, bias, len(patches))


def _patches(depth: NDArray[np.float32], camera: CameraModel) -> Iterator[_Patch]:
    """The patches that show a plane."""
    height, width = depth.shape
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
            f'the depth is {width}x{height} and the calibration of {camera.width}x{camera.height}: '
            'give that of the depth camera'
        )
    side = max(_LEAST_PATCH, int(width * _PATCH))
    for top in range(0, height - side + 1, side // 2):
        for left in range(0, width - side + 1, side // 2):
            rows, columns = np.mgrid[top : top + side, left : left + side]
            z = depth[top : top + side, left : left + side].astype(np.float64)
            if not np.isfinite(z).mean() > _SEEN:
                continue
            patch = _patch(z, camera.ray(columns, rows))
            if patch is not None:
                yield patch


def _alike(patches: Sequence[_Patch]) -> list[_Patch]:
    """Without those that are noisier than others are: what bends or has things on it."""
    noise = [float(np.nanstd(patch.off)) for patch in patches]
    if not noise:
        return []
    most = _EVEN * float(np.percentile(noise, 25))
    return [patch for patch, sigma in zip(patches, noise, strict=True) if sigma <= most]


def _patch(z: Floats, rays: Floats) -> _Patch | None:
    """z: (S, S) metres, rays: (S, S, 3); None where nothing flat is seen."""
    seen = np.isfinite(z) & (z > 0) & np.isfinite(rays).all(2)
    inverse = np.divide(1.0, z, out=np.full_like(z, np.nan), where=seen)
    on, plane, sigma = seen, np.zeros(3), 0.0
    for _ in range(4):
        if on.sum() < _LEAST_PATCH**2 / 2:
            return None
        known = rays[on]
        plane = np.linalg.solve(known.T @ known, known.T @ inverse[on])
        off = inverse - np.nan_to_num(rays) @ plane
        sigma = _SIGMA_OF_HALF * float(np.nanmedian(np.abs(off)))
        on = seen & (np.abs(np.nan_to_num(off)) <= _NEAR * sigma + 1e-9)
    side = len(z) // 2
    level = float(rays[side, side] @ plane)
    if on.sum() < _ON * seen.sum() or not level > 0 or not sigma < _MOST_NOISE:
        return None
    return _Patch(np.where(on, off, np.nan), 1 / level)


def _correlation(patches: Sequence[_Patch]) -> tuple[float, float]:
    """Pixels, and the share of the noise that the planes of patches left.

    A plane takes from the patch what three coefficients fit of smooth noise, which lowers the
    correlation of what is left at all distances alike.
    """
    seen, distance = _autocorrelation(patches)
    side = len(patches[0].off)
    rings = np.rint(distance).astype(int)
    profile = np.bincount(rings.ravel(), seen.ravel()) / np.bincount(rings.ravel())
    died = profile[: side // 2] < _DIES_OUT
    ends = int(np.argmax(died)) if died.any() else side // 2
    sharing = 1.0
    for _ in range(50):
        kept = 1 - _COEFFICIENTS * sharing / side**2
        there = (seen * kept + (1 - kept))[rings < ends].sum()
        # Of a bell the part beyond a ring is what the correlation is at it.
        beyond = profile[ends] * kept + (1 - kept) if ends > 1 else 0.0
        sharing = min(max(1.0, there / (1 - beyond)), _MOST_SHARING * side**2)
    return float(np.sqrt(sharing / (4 * np.pi))), 1 - _COEFFICIENTS * sharing / side**2


def _autocorrelation(patches: Sequence[_Patch]) -> tuple[Floats, Floats]:
    """Of residuals so far apart in y and x, (S, S), and how far that is, in pixels.

    Each pair of pixels once, by Fourier transforms of patches with a margin as wide as themselves.
    """
    side = len(patches[0].off)
    total, pairs = np.zeros((2 * side, side + 1)), np.zeros((2 * side, side + 1))
    for patch in patches:
        known = np.isfinite(patch.off)
        off = np.nan_to_num(patch.off) / np.nanstd(patch.off)
        for image, power in ((off, total), (known.astype(np.float64), pairs)):
            power += np.abs(np.fft.rfft2(image, (2 * side, 2 * side))) ** 2
    size = (2 * side, 2 * side)
    count = np.maximum(np.fft.irfft2(pairs, size), 1)
    seen = np.fft.fftshift(np.fft.irfft2(total, size) / count)
    apart = np.arange(-side, side)
    inner = slice(side - side // 2, side + side // 2 + 1)
    distance = np.hypot(apart[:, None], apart)[inner, inner]
    seen = seen[inner, inner]
    return seen / seen.max(), distance


def _step(depth: NDArray[np.float32], z: float) -> float:
    """Metres between neighbouring values near a depth; 0 where they are too many to tell."""
    near = np.unique(depth[np.abs(depth - z) < 0.1 * z])
    if len(near) < 3:
        return 0.0
    steps = np.diff(near.astype(np.float64))
    return float(np.median(steps[steps > 1e-7 * z])) if (steps > 1e-7 * z).any() else 0.0


def _stereo(
    z: Floats, sigma: Floats, step: float, focal: float, baseline: float, correlation: float
) -> StereoNoise:
    """step: pixels of disparity, quantum, which is part of what was seen."""
    seen = float(np.sqrt(np.mean((sigma / z**2) ** 2))) * focal * baseline
    own = float(np.sqrt(max(seen**2 - step**2 / 12, (0.1 * seen) ** 2)))
    return StereoNoise(baseline, own, step, correlation)


def _tof(z: Floats, sigma: Floats, correlation: float) -> TofNoise:
    """With walls at several distances the part that grows with them, else none."""
    if z.max() < _APART * z.min():
        return TofNoise(float(np.sqrt(np.mean(sigma**2))), 0.0, correlation)
    # Relative to itself, so that the near wall counts as much as the far one.
    terms = np.column_stack([np.ones_like(z), z**4]) / sigma[:, None] ** 2
    constant, quadratic = np.linalg.lstsq(terms, np.ones_like(z), rcond=None)[0]
    if constant < 0:
        constant, quadratic = 0.0, float(np.mean(sigma**2 / z**4))
    elif quadratic < 0:
        constant, quadratic = float(np.mean(sigma**2)), 0.0
    return TofNoise(float(np.sqrt(constant)), float(np.sqrt(quadratic)), correlation)


def _middle(depths: Sequence[NDArray[np.float32]], camera: CameraModel) -> float:
    """Metres along the axis to the wall there, in the median of the images. Raises NoWall."""
    height, width = depths[0].shape
    reach = max(_LEAST_PATCH, int(width * _PATCH)) // 2
    u = int(np.clip(camera.K[0, 2], reach, width - reach - 1))
    v = int(np.clip(camera.K[1, 2], reach, height - reach - 1))
    rows, columns = np.mgrid[v - reach : v + reach + 1, u - reach : u + reach + 1]
    rays = camera.ray(columns, rows)
    found = [_patch(depth[rows, columns].astype(np.float64), rays) for depth in depths]
    distances = [patch.z for patch in found if patch is not None]
    if not distances:
        raise NoWall('the middle of the picture shows no wall: without --distance no bias is told')
    return float(np.median(distances))
