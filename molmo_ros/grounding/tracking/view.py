# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What tracking keeps of a picture: grey and depth, small enough to keep a hundred of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.capture import Capture
from molmo_ros.spatial import CameraModel

# Larger pictures are reduced: what is lost is a fraction of a pixel.
_MOST_PIXELS = 450_000
_DEPTH_STEP = 2  # pixels of the grey picture to one of its depth


@dataclass(frozen=True, eq=False)
class View:
    """A picture as tracking sees it.

    Attributes:
        stamp: of the picture, nanoseconds.
        grey: (h, w) uint8.
        depth: (h / 2, w / 2) float32 metres, every second pixel; infinite where invalid. None
            where there is none that belongs to the picture pixel for pixel.
        scale: pixels of the picture to one of the grey one.
        camera: of the picture; None where it is not known.
    """

    stamp: int
    grey: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    scale: int
    camera: CameraModel | None = None

    @property
    def focal(self) -> float:
        """Pixels of the grey picture; 1 where no camera is known."""
        return 1.0 if self.camera is None else float(self.camera.K[0, 0]) / self.scale

    def rays(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 2) x and y at z = 1 of places (N, 2); a camera must be known."""
        assert self.camera is not None
        pixels = (np.asarray(places, np.float64) + 0.5) * self.scale - 0.5
        return self.camera.ray(pixels[:, 0], pixels[:, 1])[:, :2]

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) places of points (N, 3) in the optical frame; a camera must be known."""
        assert self.camera is not None
        return (self.camera.project(points) + 0.5) / self.scale - 0.5

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self.grey.nbytes + (self.depth.nbytes if self.depth is not None else 0)

    def depths(self, places: NDArray[np.floating], reach: int = 1) -> NDArray[np.float32]:
        """(N, k) the readings around places (N, 2) in pixels of grey, in rising order.

        Infinite where there is none. reach: how many readings each way, so k is (2 reach + 1)^2.
        """
        side = 2 * reach + 1
        if self.depth is None:
            return np.full((len(places), side * side), np.inf, np.float32)
        height, width = self.depth.shape
        around = np.arange(-reach, reach + 1)
        middle = np.rint(np.asarray(places) / _DEPTH_STEP).astype(np.intp)
        columns = np.clip(middle[:, 0, None] + around, 0, width - 1)
        rows = np.clip(middle[:, 1, None] + around, 0, height - 1)
        readings = self.depth[rows[:, :, None], columns[:, None, :]]
        return np.sort(readings.reshape(len(places), side * side), axis=1)

    def middle_depths(self, places: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N,) the middle one of the readings at each place; infinite where few are there."""
        readings = self.depths(places)
        there = np.isfinite(readings).sum(1)
        middle = readings[np.arange(len(readings)), np.maximum(there - 1, 0) // 2]
        return np.where(3 * there >= readings.shape[1], middle, np.float32(np.inf))

    def contains(self, places: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) whether places (N, 2) in pixels of grey lie in the picture."""
        height, width = self.grey.shape
        inside = (places >= -0.5) & (places <= (width - 0.5, height - 0.5))
        return np.asarray(inside.all(1))


def view_of(capture: Capture) -> View:
    """What tracking keeps of a capture. Depth of another camera's pixels is not used."""
    frame = capture.frame
    height, width = frame.color.shape[:2]
    scale = 1
    while height * width > _MOST_PIXELS * scale * scale:
        scale += 1
    grey = cv2.cvtColor(frame.color, cv2.COLOR_RGB2GRAY)
    if scale > 1:
        size = (max(width // scale, 1), max(height // scale, 1))
        trimmed = grey[: size[1] * scale, : size[0] * scale]
        grey = cv2.resize(trimmed, size, interpolation=cv2.INTER_AREA)
    # Noise would pass for corners.
    grey = cv2.GaussianBlur(grey, (3, 3), 0)
    depth = None
    own = capture.registration is None and frame.depth is not None
    if own and frame.depth is not None and frame.depth.shape == (height, width):
        # The first of the pixels that a grey one stands for, and every second of these.
        step, first = _DEPTH_STEP * scale, scale // 2
        few = frame.depth[first::step, first::step]
        depth = np.where(few > 0, few, np.float32(np.inf))
    return View(frame.stamp, np.asarray(grey, np.uint8), depth, scale, frame.camera)


class ViewHistory:
    """The views since the one that a question is about, within so many bytes.

    Where these do not suffice every second view is left out, so that a slow answer can still be
    carried forward, in larger steps.
    """

    def __init__(self, memory: int = 64 << 20) -> None:
        self._memory = memory
        self._views: list[View] = []

    def add(self, view: View) -> None:
        """Take the newest."""
        self._views.append(view)
        while len(self._views) > 2 and sum(v.size for v in self._views) > self._memory:
            # The first is the question's, the last the newest.
            self._views = [*self._views[:-1:2], self._views[-1]]

    def forget_before(self, stamp: int) -> None:
        """Nobody asks for older views any more; the newest stays."""
        self._views = [v for v in self._views if v.stamp >= stamp] or self._views[-1:]

    def clear(self) -> None:
        """Forget all, as when time jumps back."""
        self._views.clear()

    def since(self, stamp: int) -> Iterator[View]:
        """The view of that stamp, if it is kept, and all later ones."""
        return iter([view for view in self._views if view.stamp >= stamp])

    def __len__(self) -> int:
        return len(self._views)
