# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points to text, as Molmo writes them."""

from __future__ import annotations

from collections.abc import Sequence

ABSENT = 'There are none.'
NOT_IN_IMAGE = "This isn't in the image."


def format_points(points: Sequence[tuple[float, float]], label: str) -> str:
    """Return Molmo v1's text for points (x, y) in percent of the image, leading space included."""
    if not points:
        return f' {ABSENT}'
    ordered = sorted(points, key=lambda p: p[0] * 10000 + p[1])
    if len(ordered) == 1:
        (x, y) = ordered[0]
        return f' <point x="{x:.1f}" y="{y:.1f}" alt="{label}">{label}</point>'
    coordinates = ' '.join(f'x{i}="{x:.1f}" y{i}="{y:.1f}"' for i, (x, y) in enumerate(ordered, 1))
    return f' <points {coordinates} alt="{label}">{label}</points>'
