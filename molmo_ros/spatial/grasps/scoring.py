# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good a way to close on a thing is."""

from __future__ import annotations

import numpy as np

from molmo_ros.spatial.grasp import Approach, GraspSettings
from molmo_ros.spatial.grasps.closings import Closings
from molmo_ros.spatial.windows import Floats

_LEAST, _LEAST_SIDE = 0.01, 0.02  # of what scored less in physics hardly any held
OF_UNSEEN = 0.2  # share of a score that is lost where nothing of the fingers' space is seen
_NEAR_POINT = 0.025  # metres: what was pointed at is what is held
_FAR = 0.1  # metres: what is farther is not meant
_NEAR_MASS = 0.06  # metres: what is held near its middle does not turn
_LEAN, _SLANT = 0.7, 0.9  # tangents at which sides slip out of the fingers
_ROOM = 0.006  # metres on each side that open fingers are better off the thing as they come
_ON_SHOULDER = 0.7  # where fingers would rest on something else of the thing as they close
# What ways count that are not the wanted one: less is seen of what is there.
_OTHER_WAYS = {
    Approach.ABOVE: 0.7,
    Approach.NORMAL: 0.6,
    Approach.TILTED: 0.5,
    Approach.SIDE: 0.4,
}


def least_score(approach: Approach) -> float:
    """What a way must score, or it would hardly hold; from the side less is seen of what is there,
    and it is more."""
    return _LEAST_SIDE if approach is Approach.SIDE else _LEAST


def scores(
    found: Closings, approach: Approach, settings: GraspSettings, nearest: float = 0.0
) -> Floats:
    """(K,) from 0 to 1. nearest: metres from the point to the nearest place that can be held.

    Who points at the bottom of a pan means the pan, and its wall may be far.
    """
    away = found.away - np.clip(nearest - _NEAR_POINT, 0.0, _FAR)
    near = np.exp(-((np.maximum(away, 0.0) / _NEAR_POINT) ** 2))
    balanced = 0.3 + 0.7 * np.exp(-((found.off / _NEAR_MASS) ** 2))
    deep = np.clip(found.depth / found.wanted, 0.05, 1.0)
    upright = np.clip(1 - found.taper / _LEAN, 0.1, 1.0)
    along = np.clip(1 - found.skew / _SLANT, 0.1, 1.0)
    full = np.clip(2 * found.filled - 0.7, 0.1, 1.0)
    room = np.clip(0.3 + 0.7 * ((found.opening - found.width) / 2 - 0.002) / _ROOM, 0.3, 1.0)
    way = 1.0 if approach is settings.approach else _OTHER_WAYS[approach]
    score = way * near * balanced * deep * upright * along * full * room
    # A shoulder says which way is better, not that none would hold.
    least = np.minimum(score, least_score(approach) / (1 - OF_UNSEEN))
    return np.asarray(np.where(found.clear, score, np.maximum(_ON_SHOULDER * score, least)))
