# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures made to go further: mirrored, and in another camera's mood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """A picture's file, as it is or mirrored left to right."""

    path: Path
    mirrored: bool = False


def seen(image: Image, view: View) -> Image:
    return np.ascontiguousarray(image[:, ::-1]) if view.mirrored else image


def jittered(image: Image, rng: np.random.Generator) -> Image:
    """Another exposure, white balance and contrast, and a little noise."""
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 3)
    contrast = rng.uniform(0.85, 1.15)
    noise = rng.normal(0, 4, image.shape)
    pixels = ((image - 127.5) * contrast + 127.5) * gain + noise
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
