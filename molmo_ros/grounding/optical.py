# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a frame is optical, as far as its name and its place on /tf tell.

In an optical frame z is forward, x right, y down; in a body frame x is forward and z up. Simulators
stamp images with the body frame of the camera's link, which turns every position.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from molmo_ros.errors import shortened
from molmo_ros.grounding.assumptions import OPTICAL_FRAME
from molmo_ros.spatial.transform_tree import NoTransform, Transforms

# Where an optical frame stands in the body frame of its camera (REP-103).
_OPTICAL_IN_BODY = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
_ALIKE_DEGREES = 30.0
_BODY_NAME = re.compile(r'(link|frame|base|body|mount|footprint|map|odom|world)\d*$')
# Cosines to the vertical, of the z axis of a body frame and of its y axis, which points sideways.
_UP, _SIDEWAYS = 0.5, 0.7


def is_called_optical(frame: str) -> bool:
    """Whether the name itself says that a frame is optical."""
    return 'optical' in frame.lower()


def taken_as_optical(frame: str, what: str, settled_by: str) -> str:
    """What is assumed of a frame of which only the name is known; '' if that says it is optical.

    settled_by: the parameter.
    """
    if not frame or is_called_optical(frame):
        return ''
    return OPTICAL_FRAME.told(frame=frame, what=what, settled_by=settled_by)


def body_warning(frame: str, what: str, why: str, settled_by: str) -> str:
    """What is said of a frame that is no optical one, as far as one can tell."""
    return (
        f"frame '{shortened(frame)}' of the {what} looks like a body frame (x forward), not an "
        f'optical one (z forward): {why}; {settled_by}'
    )


def why_body(frame: str, transforms: Transforms, up_frame: str = '') -> str:
    """What on /tf speaks for a frame being a body frame, x forward; '' for nothing.

    up_frame: whose z axis is up; '': that of the tree's root, if its name does not say otherwise.
    """
    if not frame or is_called_optical(frame):
        return ''
    parents = transforms.parents()
    optical = _optical_below(frame, parents, transforms)
    if optical:
        return f"on /tf '{shortened(optical)}' is the optical frame below it"
    root = up_frame or _root(frame, parents)
    if root == frame or is_called_optical(root):
        return ''
    if not (_BODY_NAME.search(frame) or _BODY_NAME.search(root)):
        return ''
    R = _rotation(root, frame, transforms)
    if R is not None and R[2, 2] > _UP and abs(R[2, 1]) < _SIDEWAYS:
        return f"its z axis points up in '{shortened(root)}'"
    return ''


def _optical_below(frame: str, parents: Mapping[str, str], transforms: Transforms) -> str:
    """A frame called optical that stands below this one as in a body frame; the likeliest name."""
    below = [
        child
        for child in parents
        if is_called_optical(child) and frame in _ancestry(child, parents)
    ]
    for child in sorted(below, key=lambda name: (-_same_start(name, frame), name)):
        R = _rotation(frame, child, transforms)
        if R is not None and _degrees_apart(R, _OPTICAL_IN_BODY) < _ALIKE_DEGREES:
            return child
    return ''


def _ancestry(frame: str, parents: Mapping[str, str]) -> list[str]:
    """The frames above one, up to the root."""
    above: list[str] = []
    while frame in parents and parents[frame] not in above:
        frame = parents[frame]
        above.append(frame)
    return above


def _root(frame: str, parents: Mapping[str, str]) -> str:
    return (_ancestry(frame, parents) or [frame])[-1]


def _rotation(target: str, source: str, transforms: Transforms) -> NDArray[np.float64] | None:
    try:
        return transforms.look_up(target, source, 0)[:3, :3]
    except NoTransform:
        return None


def _degrees_apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    cosine = (np.trace(a.T @ b) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _same_start(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b))
