# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures as a worse camera would have taken them; the same change for the same picture."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.evaluation.samples import Image, Sample

Floats = NDArray[np.float32]


def _noise(image: Floats, rng: np.random.Generator) -> Floats:
    """Shot and read noise of a dark room, 12 to 28 grey levels at mid grey."""
    sigma = np.float32(rng.uniform(12, 28)) * np.sqrt(0.3 + 0.7 * image / 128)
    return image + sigma * rng.standard_normal(image.shape, dtype=np.float32)


def _blur(image: Floats, rng: np.random.Generator) -> Floats:
    """Out of focus, 0.25 to 0.5 % of the width, or smeared by motion over twice to thrice that."""
    width = image.shape[1]
    if rng.uniform() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.0025, 0.005) * width))
    length = max(round(rng.uniform(0.01, 0.02) * width), 2)
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D(((length - 1) / 2,) * 2, rng.uniform(0, 180), 1)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))


def _white_balance(image: Floats, rng: np.random.Generator) -> Floats:
    """Lamp light or shade that the camera did not make up for: red against blue by 27 to 50 %."""
    tilt = rng.uniform(0.12, 0.2) * rng.choice((-1, 1))
    green = 1 + rng.uniform(-0.06, 0.06)
    return image * np.array([1 + tilt, green, 1 - tilt], np.float32)


def _exposure(image: Floats, rng: np.random.Generator) -> Floats:
    """A stop or so too dark, or too bright until it clips."""
    dark = rng.uniform() < 0.5
    return image * np.float32(rng.uniform(0.35, 0.6) if dark else rng.uniform(1.5, 2.0))


# In the order in which light, lens and sensor do it.
_CHANGES: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    'blur': _blur,
    'white-balance': _white_balance,
    'exposure': _exposure,
    'noise': _noise,
}
CHANGES = (*_CHANGES, 'all')


def changed(image: Image, change: str, seed: int) -> Image:
    """The (H, W, 3) uint8 picture after one of `CHANGES`, or after all of them."""
    rng = np.random.default_rng(seed)
    result = image.astype(np.float32)
    for name, apply in _CHANGES.items():
        if change in (name, 'all'):
            result = np.clip(apply(result, rng), 0, 255)
    return np.round(result).astype(np.uint8)


def changed_samples(samples: Iterable[Sample], change: str) -> Iterator[Sample]:
    """The same questions about changed pictures."""
    for sample in samples:
        yield replace(sample, image=partial(_changed_image, sample, change))


def _changed_image(sample: Sample, change: str) -> Image:
    return changed(sample.image(), change, zlib.crc32(sample.image_id.encode()))
