# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An answer drawn into a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.annotate import annotated, heated
from molmo_ros.viewing.views import Shown


def answer_on(color: NDArray[np.uint8], shown: Shown, hot: bool) -> NDArray[np.uint8]:
    """A copy of an (H, W, 3) uint8 RGB image with the points of an answer; hot: under its heat."""
    if hot and shown.heat is not None:
        color = heated(color, shown.heat)
    return annotated(color, [point.image for point in shown.points])
