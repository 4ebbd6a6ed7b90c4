# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the page shows: a camera's frame, and an answer about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.spatial import SurfacePoint


@dataclass(frozen=True, eq=False)
class View:
    """A frame of a camera, and where it stands.

    frame: name of the frame that all is shown in; '': the optical one. target: its pose. frames:
    (4, 4) poses of others in it, metres, by name. about: what it was taken from, in words. noise:
    preset of the depth camera, '' where it is not known. camera: what it is called on the page.
    """

    capture: Capture
    target: TargetFrame = OPTICAL
    frame: str = ''
    frames: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    about: str = ''
    noise: str = ''
    camera: str = ''


@dataclass(frozen=True, eq=False)
class Box:
    """centre: (3,) metres. quaternion: (4,) x, y, z, w. size: (3,) metres along its axes."""

    centre: NDArray[np.float64]
    quaternion: NDArray[np.float64]
    size: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gripper:
    """Where a gripper starts: it moves along z, its fingers close along x.

    position: (3,) metres. quaternion: (4,) x, y, z, w. width: metres between the fingers when they
    touch, NaN where not known.
    """

    position: NDArray[np.float64]
    quaternion: NDArray[np.float64]
    width: float = nan


@dataclass(frozen=True, eq=False)
class ShownPoint:
    """A point in the picture, on the surface, and the thing it is on, in the frame of the answer.

    reason: what is not known of the thing.
    """

    image: ImagePoint
    surface: SurfacePoint
    box: Box | None = None
    gripper: Gripper | None = None
    reason: str = ''


@dataclass(frozen=True, eq=False)
class Shown:
    """An answer, and the view that it is about.

    query: '' for a pixel that somebody clicked on. status: in a word. count: None where there is
    none. presence: 0 to 1, NaN where not known. stages: seconds, by name. notes: what a user should
    know. heat: as of `Answer`, None where there is none.
    """

    view: View
    query: str
    mode: Mode
    status: str
    text: str = ''
    count: int | None = None
    presence: float = nan
    points: tuple[ShownPoint, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    heat: NDArray[np.float32] | None = None

    @property
    def title(self) -> str:
        """What was asked, for a list."""
        if self.query:
            return self.query
        u, v = (self.points[0].image.u, self.points[0].image.v) if self.points else (nan, nan)
        return f'click at {u:.0f}, {v:.0f}'
