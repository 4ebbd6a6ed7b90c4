# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Text to points: one parser for what every generation of Molmo writes."""

from __future__ import annotations

import re

from molmo_ros.pointing.points import ImagePoint, Reading

_PAIR = re.compile(r'x[0-9]*="\s?([0-9]{1,3}\.[0-9])"\s?y[0-9]*="\s?([0-9]{1,3}\.[0-9])"')
_ALT = re.compile(r'alt="([^"]*)"')
_COUNT = re.compile(r'a total of ([0-9]{1,6})')


def read_points(text: str, width: int, height: int) -> Reading:
    """Read an answer about an image of width x height pixels."""
    alt = _ALT.search(text)
    label = alt.group(1) if alt else ''
    points = tuple(
        ImagePoint(float(x) / 100 * width, float(y) / 100 * height, label)
        for x, y in _PAIR.findall(text)
    )
    absent = not points and ('There are none' in text or "isn't in the image" in text)
    count = _COUNT.search(text)
    return Reading(points, int(count.group(1)) if count else (0 if absent else None), absent)
