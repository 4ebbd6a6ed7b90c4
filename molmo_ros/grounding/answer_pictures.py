# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of answers: the point, the thing that was meant, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.annotate import annotated
from molmo_ros.pointing import ImagePoint

Picture = NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE, _SCALE = 26, 0.6
_INK, _PAPER = (30, 30, 30), 250
_OUTLINE = ((0, 0, 0), 2), ((255, 255, 255), 1)  # to be seen on light and dark


def answer_picture(
    image: Picture,
    points: Sequence[ImagePoint],
    masks: Sequence[NDArray[np.bool_]],
    lines: Sequence[str],
) -> Picture:
    """The image (H, W, 3 RGB) with its points, what was meant outlined, and lines of text below.

    masks: (H, W) of each thing that was meant.
    """
    canvas = image.copy()
    for mask in masks:
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        for color, thickness in _OUTLINE:
            cv2.drawContours(canvas, contours, -1, color, thickness, cv2.LINE_AA)
    text = np.full((_LINE * len(lines) + 10, canvas.shape[1], 3), _PAPER, np.uint8)
    for number, line in enumerate(lines, 1):
        ascii_line = line.encode('ascii', 'replace').decode()
        scale = _fitting_scale(ascii_line, canvas.shape[1] - 20)
        at = (10, number * _LINE - 4)
        cv2.putText(text, ascii_line, at, _FONT, scale, _INK, 1, cv2.LINE_AA)
    numbered = [replace(point, label='') for point in points]
    return np.vstack([annotated(canvas, numbered), text])


def _fitting_scale(line: str, width: int) -> float:
    """Of the font: smaller for a line that would be too long."""
    (length, _), _ = cv2.getTextSize(line, _FONT, _SCALE, 1)
    return _SCALE * min(1.0, width / max(length, 1))


def contact_sheet(pictures: Sequence[Picture], columns: int = 3, width: int = 420) -> Picture:
    """Pictures of one size, side by side in rows, each `width` pixels wide."""
    height = round(pictures[0].shape[0] * width / pictures[0].shape[1])
    small = [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures]
    columns = min(columns, len(small))
    blank = np.full((height, width, 3), _PAPER, np.uint8)
    small += [blank] * (-len(small) % columns)
    rows = [np.hstack(small[i : i + columns]) for i in range(0, len(small), columns)]
    return np.vstack(rows)
