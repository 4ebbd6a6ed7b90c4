# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A picture of an answer: the image with a ring and a label at each point."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.pointing.points import ImagePoint

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PINK, _WHITE, _BLACK = (255, 40, 130), (255, 255, 255), (0, 0, 0)


def annotated(image: NDArray[np.uint8], points: Iterable[ImagePoint]) -> NDArray[np.uint8]:
    """A copy of an (H, W, 3) uint8 RGB image with the points drawn, numbered from 1."""
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    scale = max(min(height, width) / 480, 0.5)
    for number, point in enumerate(points, 1):
        u, v = point.centred
        at = round(u), round(v)
        _ring(canvas, at, scale)
        _label(canvas, at, f'{number} {_ascii(point.label)}'.strip(), scale)
    return canvas


def heated(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A copy of an (H, W, 3) uint8 RGB image under a model's belief, the hotter the more.

    heat: (rows, columns), 0 or more, spanning the whole image; its largest becomes the hottest.
    """
    height, width = image.shape[:2]
    # Roots, so that the second best is seen beside the best.
    share = np.sqrt(heat / max(float(heat.max()), 1e-12)).astype(np.float32)
    share = cv2.resize(share, (width, height), interpolation=cv2.INTER_NEAREST)
    levels = np.round(255 * share).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    # What no belief falls on stays recognisable, and dark.
    weight = (0.4 + 0.4 * share)[..., None]
    mixed: NDArray[np.uint8] = np.round((1 - weight) * image + weight * colors).astype(np.uint8)
    return mixed


def _ring(canvas: NDArray[np.uint8], at: tuple[int, int], scale: float) -> None:
    radius, thickness = round(9 * scale), max(round(2 * scale), 1)
    for color, extra in ((_WHITE, 2), (_PINK, 0)):
        cv2.circle(canvas, at, radius, color, thickness + extra, cv2.LINE_AA)
    cv2.circle(canvas, at, max(round(1.5 * scale), 1), _PINK, cv2.FILLED, cv2.LINE_AA)


def _label(canvas: NDArray[np.uint8], at: tuple[int, int], text: str, scale: float) -> None:
    height, width = canvas.shape[:2]
    size, thickness = 0.5 * scale, max(round(scale), 1)
    (w, h), _ = cv2.getTextSize(text, _FONT, size, thickness)
    gap = round(12 * scale)
    x = min(max(at[0] + gap, 0), max(width - w - 2, 0))
    y = min(max(at[1] - gap, h + 2), height - 2)
    pad = max(round(3 * scale), 1)
    cv2.rectangle(canvas, (x - pad, y - h - pad), (x + w + pad, y + pad), _BLACK, cv2.FILLED)
    cv2.putText(canvas, text, (x, y), _FONT, size, _WHITE, thickness, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """OpenCV's font has no other letters."""
    return text.encode('ascii', 'replace').decode()
