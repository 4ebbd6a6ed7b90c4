# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How figures are written."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np


def as_json(value: Any, indent: int | None = 2) -> str:
    """JSON in the strict sense: what is not a finite number becomes null. indent None: one line."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def millimetres(metres: float) -> str:
    """'1.2 mm'; '-' where there is none."""
    return f'{1000 * metres:.1f} mm' if math.isfinite(metres) else '-'


def seconds(value: float) -> str:
    """'0.42 s'; '-' where there is none."""
    return f'{value:.2f} s' if math.isfinite(value) else '-'


def xyz(position: np.ndarray) -> str:
    """'+0.031 -0.052 +0.712'; '-' where there is none."""
    return ' '.join(f'{c:+.3f}' for c in position) if np.isfinite(position).all() else '-'
