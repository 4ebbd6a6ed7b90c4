# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The noise of depth cameras by family, and how wide a disc pays for each.

Where a source says `measured`, the numbers are those of real frames: the residual of the readings
about planes on floors and tables, its standard deviation as disparity, and the correlation that
fits how residuals 5 pixels apart agree (docs/accuracy.md; `molmo-ros calibrate depth` measures
one's own camera so). The others are data sheets' and papers', with the correlation of a relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .noise import DepthNoise, StereoNoise, TofNoise


@dataclass(frozen=True)
class NoisePreset:
    """noise: of a depth image so many pixels wide. radius: pixels, of the disc to fit in.

    A disc about three times as wide as the correlation reaches averages what there is to average.
    edge_reach: pixels, as of `LiftSettings`.
    """

    width: int
    noise: DepthNoise
    radius: float
    source: str
    edge_reach: float = 3.0


_STEP = 1 / 32  # px, what a RealSense resolves a disparity to
_LEAST_RADIUS, _MOST_RADIUS = 5.0, 40.0  # px, whatever the width: for a fit, and for its time

# By name, narrow images first: a camera matches in pixels, so that its noise depends on the width.
PRESETS: Mapping[str, tuple[NoisePreset, ...]] = {
    'ideal': (
        NoisePreset(
            640, TofNoise(0.0, 0.0, correlation=0.0), 7.0, 'rendered depth has no noise', 0.0
        ),
    ),
    'd435': (
        NoisePreset(640, StereoNoise(0.050, 0.12, _STEP, 5.0), 16.0, 'measured, at 0.71 m'),
        NoisePreset(1280, StereoNoise(0.050, 0.27, _STEP, 2.6), 20.0, 'measured, at 0.48 m'),
    ),
    'd415': (
        NoisePreset(640, StereoNoise(0.055, 0.14, _STEP, 5.6), 16.0, 'measured, at 0.77 m'),
        NoisePreset(1280, StereoNoise(0.055, 0.28, _STEP, 5.8), 20.0, 'measured, at 0.50 m'),
    ),
    'd455': (
        NoisePreset(640, StereoNoise(0.095, 0.12, _STEP, 5.0), 16.0, 'baseline: data sheet; d435'),
        NoisePreset(1280, StereoNoise(0.095, 0.27, _STEP, 2.6), 20.0, 'baseline: data sheet; d435'),
    ),
    'l515': (
        NoisePreset(
            640, TofNoise(0.0025, 0.0002, 1.0), 9.0, 'data sheet: 2.5 mm at 1 m, 15.5 at 9'
        ),
    ),
    'kinect_v1': (
        NoisePreset(
            640, StereoNoise(0.075, 0.050, 1 / 8, 1.9), 10.0, 'measured, at 1.1 to 1.6 m; as xtion'
        ),
    ),
    'xtion': (
        NoisePreset(
            640,
            StereoNoise(0.075, 0.085, 1 / 8, 3.3),
            10.0,
            'measured, at 1.4 to 6 m; its correlation by NEES there',
        ),
    ),
    'azure_kinect': (
        NoisePreset(640, TofNoise(0.0015, 0.0010, 3.0), 9.0, 'measured, at 0.7 to 2 m; as xtion'),
    ),
    'orbbec': (
        NoisePreset(640, StereoNoise(0.075, 0.085, 1 / 8, 3.3), 10.0, 'as of xtion, its relative'),
    ),
    'oak_d': (
        NoisePreset(640, StereoNoise(0.075, 0.15, 1 / 8, 4.0), 14.0, 'baseline: data sheet; d435'),
        NoisePreset(1280, StereoNoise(0.075, 0.30, 1 / 8, 4.0), 20.0, 'baseline: data sheet; d435'),
    ),
    'zed': (
        NoisePreset(640, StereoNoise(0.120, 0.20, 1 / 16, 5.0), 16.0, 'baseline: data sheet; d435'),
        NoisePreset(
            1280, StereoNoise(0.120, 0.40, 1 / 16, 5.0), 20.0, 'baseline: data sheet; d435'
        ),
    ),
}


def preset_for(name: str, width: int) -> NoisePreset:
    """The numbers of a family for depth images of that width in pixels. Raises KeyError.

    Of two the one whose width is nearer by ratio. What it is measured in pixels of is scaled to the
    width at hand: a camera errs by an angle.
    """
    nearest = min(PRESETS[name], key=lambda preset: max(preset.width / width, width / preset.width))
    return _scaled(nearest, width)


def _scaled(preset: NoisePreset, width: int) -> NoisePreset:
    ratio, noise = width / preset.width, preset.noise
    if isinstance(noise, StereoNoise):
        noise = replace(
            noise,
            disparity_sigma=noise.disparity_sigma * ratio,
            disparity_step=noise.disparity_step * ratio,
            correlation=noise.correlation * ratio,
        )
    elif isinstance(noise, TofNoise):
        noise = replace(noise, correlation=noise.correlation * ratio)
    radius = min(max(preset.radius * ratio, _LEAST_RADIUS), _MOST_RADIUS)
    return replace(preset, width=width, noise=noise, radius=radius)
