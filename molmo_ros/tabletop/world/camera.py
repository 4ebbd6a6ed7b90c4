# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rendered tabletop as an RGB-D camera."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.frame import Frame
from molmo_ros.tabletop.world.layout import EASY, TableSpec, make_scene
from molmo_ros.tabletop.world.render import render
from molmo_ros.tabletop.world.scene import Scene


class TabletopCamera:
    """A camera over a table that stands still: rendered once, stamped anew at each read.

    It shows pictures and depth and nothing of the truth; who knows the seed can make the scene
    and its truth again. Safe to use from several threads: nothing changes.

    Args:
        seed: of the scene.
        width, height: pixels.
        rate_hz: frames a second to be read at.
        frame_id: name of its optical frame.
        spec: what the scene may hold.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        width: int = 640,
        height: int = 480,
        rate_hz: float = 10.0,
        frame_id: str = 'camera_color_optical_frame',
        spec: TableSpec = EASY,
    ) -> None:
        self._rate_hz = rate_hz
        self._frame_id = frame_id
        self._scene = make_scene(seed, spec)
        self._frame = _photograph(self._scene, width, height, frame_id)

    @property
    def rate_hz(self) -> float:
        """Frames a second that this camera is meant to be read at."""
        return self._rate_hz

    @property
    def frame_id(self) -> str:
        """Name of the optical frame."""
        return self._frame_id

    @property
    def seed(self) -> int:
        """The seed of the scene before the camera."""
        return self._scene.seed

    @property
    def T_world_optical(self) -> NDArray[np.float64]:
        """(4, 4) pose of the optical frame; the world is the table's: its top z = 0, z up."""
        return self._scene.T_world_camera.copy()

    def read(self) -> Frame:
        """The picture of the scene, stamped with the present time; does not block."""
        return replace(self._frame, stamp=time.time_ns())

    def close(self) -> None:
        """Nothing is held."""


def _photograph(scene: Scene, width: int, height: int, frame_id: str) -> Frame:
    picture = render(scene, width, height, smooth=True)
    picture.color.flags.writeable = False
    picture.depth.flags.writeable = False
    return Frame(picture.color, picture.depth, picture.camera, 0, frame_id)
