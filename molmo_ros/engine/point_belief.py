# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where in an image MolmoPoint's tokens are, and where else it would have pointed.

Of each of a point's three tokens the model gives a share of its belief to every other one too: to
other patches, to other parts of the patch, to other places in the part. What would have followed
another patch or part is not known, and taken as even over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.confidence import NEAR

_STEP = 0.33  # of a part's side, between places in it: the reference's number, not a third

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PointLayout:
    """The raster of an image's parts, and which of them each patch has.

    cells: (n, s, 2) int64, row and column of each part; -1 where a patch has none, or is not of the
    raster. rows, columns: of the raster, which spans the whole image.
    """

    cells: NDArray[np.int64]
    rows: int
    columns: int

    @staticmethod
    def of(pooling: NDArray[np.int64], raster: NDArray[np.int64]) -> PointLayout:
        """pooling: (n, s) numbers of parts, -1 for none. raster: (rows, columns) of the same."""
        rows, columns = raster.shape
        places = np.full((int(max(pooling.max(), raster.max())) + 2, 2), -1, np.int64)
        places[raster] = np.moveaxis(np.indices(raster.shape), 0, -1)
        return PointLayout(places[pooling], rows, columns)

    @property
    def patches(self) -> int:
        return len(self.cells)

    def place(self, patch: int, subpatch: int, location: int) -> tuple[float, float] | None:
        """Where a point is, as shares of the image's width and height; None where there is none."""
        row, column = self.cells[patch, subpatch].tolist()
        if row < 0:
            return None
        x = column + (location // 3 + 0.5) * _STEP
        y = row + (location % 3 + 0.5) * _STEP
        return x / self.columns, y / self.rows


@dataclass(frozen=True)
class PointBelief:
    """A point, and the belief in all that each of its tokens could have been: (n,), (s,), (9,)."""

    patch: int
    subpatch: int
    location: int
    patches: NDArray[np.float32]
    subpatches: NDArray[np.float32]
    locations: NDArray[np.float32]

    def heat(self, layout: PointLayout) -> Floats:
        """(rows, columns) shares of the belief, one for each part."""
        present = layout.cells[..., 0] >= 0
        shares = self.patches[:, None] * present / np.maximum(present.sum(axis=1), 1)[:, None]
        shares[self.patch] = self.patches[self.patch] * self.subpatches * present[self.patch]
        heat = np.zeros((layout.rows, layout.columns))
        np.add.at(heat, tuple(layout.cells[present].T), shares[present])
        return heat


@dataclass(frozen=True)
class Measured:
    """confidence: the belief within NEAR of a point, in x and in y. covariance: (uu, uv, vv) in
    pixels², mean products of how far the belief is from the point."""

    confidence: float
    covariance: tuple[float, float, float]


def measure(belief: PointBelief, layout: PointLayout, width: int, height: int) -> Measured | None:
    """Measure the belief about a point in an image; None where that is nowhere."""
    place = layout.place(belief.patch, belief.subpatch, belief.location)
    if place is None:
        return None
    heat = belief.heat(layout)
    row, column = layout.cells[belief.patch, belief.subpatch].tolist()
    chosen = heat[row, column]
    heat[row, column] = 0.0
    # All but the chosen part, and then the places in that, each as a rectangle of even belief.
    parts = _Rectangles(np.arange(layout.columns), np.arange(layout.rows), 1.0, heat)
    thirds = np.arange(3) / 3
    within = chosen * belief.locations.reshape(3, 3).T
    places = _Rectangles(column + thirds, row + thirds, 1 / 3, within)
    near, uu, uv, vv = 0.0, 0.0, 0.0, 0.0
    for one in (parts, places):
        x = _Axis(one.left / layout.columns, one.side / layout.columns, place[0])
        y = _Axis(one.top / layout.rows, one.side / layout.rows, place[1])
        near += float(y.near @ one.shares @ x.near)
        uu += float(one.shares.sum(axis=0) @ x.square) * width**2
        vv += float(one.shares.sum(axis=1) @ y.square) * height**2
        uv += float(y.off @ one.shares @ x.off) * width * height
    return Measured(min(near, 1.0), (uu, uv, vv))


@dataclass(frozen=True)
class _Rectangles:
    """A raster of squares: their left and top edges, their side, (rows, columns) shares."""

    left: Floats | NDArray[np.int64]
    top: Floats | NDArray[np.int64]
    side: float
    shares: Floats


class _Axis:
    """Of intervals of a length, seen from a place: the share of each within NEAR, the mean of how
    far off they are, and of its square."""

    def __init__(self, begin: Floats, length: float, place: float) -> None:
        reach = NEAR / 100
        low, high = np.maximum(begin, place - reach), np.minimum(begin + length, place + reach)
        self.near = np.clip(high - low, 0.0, None) / length
        self.off = begin + length / 2 - place
        self.square = self.off**2 + length**2 / 12
