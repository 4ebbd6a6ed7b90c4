# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether depth is aligned to its image, as far as two headers and two calibrations tell.

Each function takes what has an `image`, a `depth` and maybe their camera_infos, all as messages: a
match of streams, or a request.
"""

from __future__ import annotations

import itertools
from typing import Any

from molmo_ros.errors import shortened
from molmo_ros.grounding.assumptions import DEPTH_ALIGNED, DEPTH_REGISTERED
from molmo_ros.spatial.frames import frame_of


def same_view(image: Any, depth: Any) -> bool:
    """Whether depth is of the image's own optical frame, as far as their headers say."""
    frames = {frame_of(image), frame_of(depth)}
    return len(frames) == 1 or '' in frames


def same_calibration(match: Any) -> bool:
    """Whether depth has the calibration of the image: two cameras never have the same."""
    pairs = itertools.product(match.camera_info, match.depth_camera_info)
    return any(_alike(color, depth) for color, depth in pairs)


def _alike(color: Any, depth: Any) -> bool:
    if (color.width, color.height) != (depth.width, depth.height):
        return False
    return bool((color.k == depth.k).all() and (color.p == depth.p).all() and color.d == depth.d)


def unaligned(match: Any) -> str:
    """What to do about depth of another optical frame than its image."""
    return (
        f"it is of frame '{shortened(frame_of(match.depth))}' and the image of "
        f"'{shortened(frame_of(match.image))}': use depth that is aligned to the color image; "
        'if it is, set depth_aligned to true'
    )


def taken_as_aligned(match: Any) -> str:
    """What is assumed of depth of another frame that nothing else is known of."""
    return DEPTH_ALIGNED.told(frame=frame_of(match.depth))


def registered_twice(match: Any) -> str:
    """What is to be feared of depth of another frame that has the image's calibration."""
    return DEPTH_REGISTERED.told(frame=frame_of(match.depth))
