# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the depth shows of a thing and around it, in a frame that stands on what carries it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial.camera_model import CameraModel
from molmo_ros.spatial.edges import GRAZING, veil
from molmo_ros.spatial.extent import Extent, basis_across
from molmo_ros.spatial.lift_settings import LiftSettings
from molmo_ros.spatial.support import Plane
from molmo_ros.spatial.windows import (
    Bools,
    Floats,
    alike_beside,
    along_rays,
    from_origin,
    highest,
    lowest,
    within,
)

_MOST_POINTS = 5000  # of the thing
_AROUND = 0.16  # metres about the thing that a gripper may come through
_SIGMAS, _ROUGHNESS = 3.0, 0.003  # as an extent has them
_JUMP = 0.012  # metres in depth by which neighbouring pixels of one surface may differ
_LOW, _LOW_MEAN = 0.0025, 9  # metres over the ground, as the mean of so many pixels squared
_BORNE_OUT, _NOT_ALONE = 4, 2  # of eight neighbours agree with a pixel: fewer is a flying one
_BEHIND = 0.012  # metres behind a surface from which on space is not seen


@dataclass(frozen=True, eq=False)
class Stand:
    """The frame: its origin under the point on what carries the thing, z up from it.

    R: (3, 3) and t: (3,) take its points to the frame of the camera.
    """

    R: Floats
    t: Floats

    def of(self, points: Floats) -> Floats:
        """Points (..., 3) of the camera's frame in this one."""
        flat = from_origin(points, self.t).reshape(-1, 3)  # One product, not one of each row.
        return np.asarray((flat @ self.R).reshape(points.shape))

    def to_camera(self, points: Floats) -> Floats:
        """Points (..., 3) of this frame in the camera's."""
        return np.asarray(points @ self.R.T + self.t)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """own: (N, 3) points of the thing. others: (M, 3) of what else stands there. readings: (R, 3)
    all that is above the ground, but for veils. All in the stand's frame, metres. pitch: metres
    from one point to the next on a surface that faces the camera. sigma: metres, noise of a reading
    of the thing. depth, camera: (H, W) metres and the camera that saw it.
    """

    stand: Stand
    own: Floats
    others: Floats
    readings: Floats
    pitch: float
    sigma: float
    depth: NDArray[np.float32]
    camera: CameraModel
    settings: LiftSettings

    @property
    def eye(self) -> Floats:
        """(3,) where the camera is."""
        return self.stand.of(np.zeros(3))

    def seen_through(self, points: Floats) -> Floats:
        """(...) metres that points (..., 3) lie behind what is seen there, negative in front of it.

        NaN where there is no reading or no picture.
        """
        optical = self.stand.to_camera(points)
        z = optical[..., 2]
        ahead = z > 1e-3
        pixels = self.camera.project(np.where(ahead[..., None], optical, (0.0, 0.0, 1.0)))
        height, width = self.depth.shape
        inside = ahead & within(pixels, width, height)
        column, row = np.rint(np.where(inside[..., None], pixels, 0)).astype(int).T
        read = self.depth.ravel()[np.ascontiguousarray(row.T * width + column.T)].astype(np.float64)
        _, valid = self.settings.inverse(read)
        return np.where(inside & valid, z - read, np.nan)

    def unseen(self, points: Floats) -> Bools:
        """(...) which of the points (..., 3) lie in space that the camera does not see."""
        behind = self.seen_through(points)
        return ~(behind <= _BEHIND + 3 * self.sigma)


def stand_under(position: Floats, plane: Plane) -> Stand:
    """The frame under a point (3,) of a thing on a plane."""
    x, y = basis_across(plane.normal)
    foot = position - plane.height(position) * plane.normal
    return Stand(np.stack([x, y, plane.normal], 1), foot)


def surroundings_of(
    extent: Extent,
    stand: Stand,
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings,
) -> Surroundings:
    """What a depth image (H, W) shows of a thing and about it."""
    settings = settings.for_width(depth.shape[1])
    focal = float(camera.K[0, 0])
    near = float(np.median(extent.points[:, 2]))
    reach = int(_AROUND * focal / near)
    # The patch of pixels around the thing.
    height, width = depth.shape
    (left, top), (right, bottom) = lowest(extent.pixels), highest(extent.pixels)
    left, top = max(int(left) - reach, 0), max(int(top) - reach, 0)
    right, bottom = min(int(right) + reach + 1, width), min(int(bottom) + reach + 1, height)
    thing = np.zeros((bottom - top, right - left), np.float32)
    column, row = extent.pixels.T
    thing[row - top, column - left] = depth[row, column]
    if extent.pitch > 1:
        # Up to the next that was looked at, which may have been beyond the outline.
        side = 2 * extent.pitch - 1
        thing = cv2.dilate(thing, np.ones((side, side), np.uint8))
    stride = max(1, int(np.ceil(np.sqrt(np.count_nonzero(thing) / _MOST_POINTS))))
    columns, rows = np.arange(left, right, stride), np.arange(top, bottom, stride)
    veiled = veil(depth[top:bottom, left:right], GRAZING * near / focal)[::stride, ::stride]
    z = depth[np.ix_(rows, columns)].astype(np.float64)
    _, read = settings.inverse(z)
    valid = read & ~veiled
    z = np.where(valid, z, 1.0)
    sigma = np.asarray(settings.noise.sigma(z, focal))
    jump = _JUMP + 4 * sigma
    alike = alike_beside(z, valid, jump + 2 * stride * z / focal)
    valid &= alike >= _BORNE_OUT
    grown = thing[::stride, ::stride]
    mine = np.abs(z - grown) < jump + 2 * extent.pitch * z / focal
    near_it = (grown > 0) & ~mine  # smeared from the thing's outline on to what is behind
    points = stand.of(along_rays(camera.ray(columns[None, :], rows[:, None]), z))
    tolerance = _SIGMAS * sigma + _ROUGHNESS
    # Of a low thing what is nearer to its height than to that of the table.
    high = float(np.percentile(stand.of(extent.points)[:, 2], 90))
    least = np.clip(high / 2, tolerance / 2, tolerance)
    above = valid & (points[..., 2] > least)
    own = above & mine
    others = above & ~mine & ~near_it & (points[..., 2] > tolerance)
    low, heights = _low_lying(points[..., 2], valid & ~own & ~others, tolerance, sigma)
    points[..., 2] = np.where(low, heights, points[..., 2])
    hull = _hull(own)
    own |= low & hull
    others |= low & ~hull
    return Surroundings(
        stand,
        points[own],
        points[others],
        points[read & ~veiled & (alike >= _NOT_ALONE) & (points[..., 2] > tolerance)],
        stride * near / focal,
        float(np.median(sigma[own])) if own.any() else float(np.median(sigma)),
        depth,
        camera,
        settings,
    )


def _low_lying(
    heights: Floats, valid: Bools, tolerance: Floats, sigma: Floats
) -> tuple[Bools, Floats]:
    """What lies so low that only many readings tell it from the ground, as the bottom of a plate.

    And how high it is.
    """
    flat = valid & (np.abs(heights) < tolerance)
    size = (_LOW_MEAN, _LOW_MEAN)
    share = cv2.blur(flat.astype(np.float64), size)
    mean = cv2.blur(np.where(flat, heights, 0.0), size) / np.maximum(share, 1e-6)
    low = flat & (share > 0.3) & (mean > np.maximum(_LOW, sigma))
    return low, np.asarray(mean)


def _hull(own: Bools) -> Bools:
    """The pixels between those of the thing."""
    within = np.zeros(own.shape, np.uint8)
    row, column = np.nonzero(own)
    if len(row):
        hull = cv2.convexHull(np.stack([column, row], 1).astype(np.int32))
        cv2.fillConvexPoly(within, hull, 1)
    return within > 0
