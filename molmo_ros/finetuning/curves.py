# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How learning went, drawn from training/log.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmo_ros.evaluation.report.page import section

LOG = 'training/log.csv'
_WIDTH, _HEIGHT = 400.0, 150.0
Floats = NDArray[np.float64]


def curves_section(out: Path) -> str:
    """HTML: loss and drift by step, as they were and smoothed."""
    with (out / LOG).open(newline='') as file:
        rows = list(csv.DictReader(file))
    step = np.array([float(row['step']) for row in rows])
    loss = np.array([float(row['loss']) for row in rows])
    drift = np.array([float(row['drift']) for row in rows])
    charts = [_chart(step, loss, 'loss of new answers, nats a token', '')]
    if np.isfinite(drift).any():
        known = np.isfinite(drift)
        told = 'drift of what it knew, nats a token'
        charts.append(_chart(step[known], drift[known], told, ' other'))
    return section('Learning', f'<div class="curves">{"".join(charts)}</div>')


def smoothed(values: Floats) -> Floats:
    """Means over a twentieth of them, fewer at the ends."""
    reach = max(len(values) // 40, 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _chart(step: Floats, values: Floats, title: str, style: str) -> str:
    """Steps to the right, values upwards from 0."""
    if not len(step):
        return ''
    last, top = float(step[-1]), float(np.percentile(values, 99)) * 1.05 or 1.0
    across = _WIDTH * step / last

    def line(heights: Floats, classes: str) -> str:
        shown = _HEIGHT * (1 - np.clip(heights / top, 0, 1))
        points = ' '.join(f'{x:.1f},{y:.1f}' for x, y in zip(across, shown, strict=True))
        return f'<polyline class="curve{classes}" points="{points}"/>'

    ticks = ''.join(
        f'<line class="grid" x1="0" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}"/>'
        f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{top * (1 - y / _HEIGHT):.2g}</text>'
        for y in (0.0, _HEIGHT / 2, _HEIGHT)
    )
    return (
        f'<div><svg viewBox="-34 -8 446 184" role="img" aria-label="{title}">{ticks}'
        f'{line(values, f"{style} faint")}{line(smoothed(values), style)}'
        f'<text x="0" y="{_HEIGHT + 16}">0</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 16}" text-anchor="end">step {last:.0f}</text></svg>'
        f'<p>{title}; in the end {smoothed(values)[-1]:.3f}</p></div>'
    )
