# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether depth is aligned to its image, as far as two headers and two calibrations tell.

Each function takes what has an `image`, a `depth` and maybe their camera_infos, all as messages: a
match of streams, or a request.
"""

from __future__ import annotations

from typing import Any


def same_view(image: Any, depth: Any) -> bool:
    """Whether depth is of the image's own optical frame, as far as their headers say."""
    frames = {image.header.frame_id.lstrip('/'), depth.header.frame_id.lstrip('/')}
    return len(frames) == 1 or '' in frames


def same_calibration(match: Any) -> bool:
    """Whether depth has the calibration of the image: two cameras never have the same."""
    color, depth = match.camera_info, match.depth_camera_info
    if color is None or depth is None or (color.width, color.height) != (depth.width, depth.height):
        return False
    return bool((color.k == depth.k).all() and (color.p == depth.p).all() and color.d == depth.d)


def unaligned(match: Any) -> str:
    """What to do about depth of another optical frame than its image."""
    return (
        f"it is of frame '{match.depth.header.frame_id}' and the image of "
        f"'{match.image.header.frame_id}': use depth that is aligned to the color image; if it is, "
        'set depth_aligned to true'
    )


def taken_as_aligned(match: Any) -> str:
    """What is assumed of depth of another frame that nothing else is known of."""
    return (
        f"depth: it is of frame '{match.depth.header.frame_id}', but of the size of the image and "
        'without a calibration of its own: it is taken as aligned to the image; set depth_aligned '
        'to true if it is, to false if not'
    )


def registered_twice(match: Any) -> str:
    """What is to be feared of depth of another frame that has the image's calibration."""
    return (
        f"depth: it is of frame '{match.depth.header.frame_id}', but its camera_info is that of "
        'the image, as it is of aligned depth: it was registered as its frame says; set '
        'depth_aligned to true if it is aligned, to false if not'
    )
