# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a question is about, and where its answer is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.frame import Frame
from molmo_ros.spatial import LiftStatus, Registration


@dataclass(frozen=True, eq=False)
class Capture:
    """A frame with what is known about its depth and its camera.

    Attributes:
        frame: the picture, its depth and its camera.
        registration: of depth that another camera saw; None where depth is the picture's own.
        missing: why there is no depth or no camera, by the status that follows from it.
        warning: what is implausible about the depth; '' for nothing.
        assumed: what nothing said and had to be taken for granted, in a sentence each that names
            the parameter which settles it.
        notes: what a user should know of the picture, in a sentence each.
    """

    frame: Frame
    registration: Registration | None = None
    missing: Mapping[LiftStatus, str] = field(default_factory=dict)
    warning: str = ''
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TargetFrame:
    """The frame that positions are told in, as far as it is known when the picture was taken.

    Attributes:
        T_target_optical: (4, 4) pose of the picture's optical frame, metres; None where not known.
        why_not: why the pose is not known.
        up: (3,) unit vector against gravity in the target frame; None where not known.
        notes: what had to be done without.
        assumed: as of a capture, about frames.
    """

    T_target_optical: NDArray[np.float64] | None
    why_not: str = ''
    up: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


OPTICAL = TargetFrame(np.eye(4))  # the picture's own
