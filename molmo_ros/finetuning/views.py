# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures made to go further: mirrored, nearer, and in another camera's mood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class PictureView:
    """A picture's file, as it is or mirrored left to right."""

    path: Path
    mirrored: bool = False


@dataclass(frozen=True)
class Window:
    """The part of a picture that is shown: left, top and side, in percent of width and height."""

    x: float = 0.0
    y: float = 0.0
    side: float = 100.0

    def moved(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where a point of the picture lies in the window, percent; outside of 0..100 if it is."""
        return (point[0] - self.x) * 100 / self.side, (point[1] - self.y) * 100 / self.side


def part(image: Image, window: Window) -> Image:
    height, width = image.shape[:2]
    left, right = (round(width * x / 100) for x in (window.x, window.x + window.side))
    top, bottom = (round(height * y / 100) for y in (window.y, window.y + window.side))
    return image[top:bottom, left:right]


def seen(image: Image, view: PictureView) -> Image:
    return np.ascontiguousarray(image[:, ::-1]) if view.mirrored else image


def jittered(image: Image, rng: np.random.Generator) -> Image:
    """Another exposure, white balance and contrast, and a little noise."""
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 3)
    contrast = rng.uniform(0.85, 1.15)
    noise = rng.normal(0, 4, image.shape)
    pixels = ((image - 127.5) * contrast + 127.5) * gain + noise
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
