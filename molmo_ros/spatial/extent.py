# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The thing that a point is on: its visible extent, grown over the depth image.

The supporting plane is found around the point and taken away; of what stands above it, the pixels
connected to the point without a jump in depth are the thing.

One picture shows the near side only. Seen from above, the far side of a box still shows where its
top ends; that of a ball does not. So a thing whose outline on the near side is an arc of a circle
is taken to be round, and its far side to be the rest of that circle.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .hollow import rim_around, without_holes
from .lift_settings import DEFAULT_SETTINGS, LiftSettings
from .support import Plane, supporting_plane
from .surface_point import LiftStatus, SurfacePoint
from .windows import Bools, Floats, Integers, alike_beside, along_rays, distances, sums, weighed

_ACROSS = 160  # pixels that the patch is thinned to: bounds the time that a point takes
_LEAST_PIXELS = 20  # of the thinned patch; fewer give no axes worth the name
_SIGMAS = 3.0  # of a reading's noise: what lies within belongs to the plane
_LIFTED_SIGMAS = 2.0  # of a reading's noise, for the point itself, which many readings bear out
_ROUGHNESS = 0.003  # metres that a table may be uneven, beside the noise
_BORNE_OUT = 4  # of eight neighbours agree with a pixel: fewer is a flying one
_JUMP = 0.012  # metres in depth from one pixel to the next at which a thing ends, beside the noise
_BRIDGE = 0.6  # of the pixels midway between two parts must be above the table, if they are one
_SEAM = 1.1  # times the shortest way between them, and a pixel: what is farther is not between
_NEARER = 2  # times: what may be noise counts if it is so much nearer to the thing than to others
_MOST_POINTS = 4000  # kept of the visible points
_HOLLOW = 0.0015  # metres by which the bottom of a hollow is over the table, and
_HOLLOW_REACH = 0.16  # metres within which its rim is
_REACHES = 0.95  # of how far was looked: what is seen so far from the point goes on beyond
_BAR = 0.25  # of max_size: what is narrower may go on, and is still a thing that can be taken
_ROUND = 0.03  # of the radius: how far an outline may be off the circle that it is taken for


@dataclass(frozen=True)
class Extent:
    """What is seen of a thing, in the frame of its surface point.

    centroid: (3,) metres, mean of its visible points, each weighed by the surface it stands for.
    axes: (3, 3) rows: right-handed unit vectors, along its length, its width, and away from what it
    stands on (without a supporting plane: the principal axes of its visible points).
    size: (3,) metres along the axes. centre: (3,) of the box with these axes and this size.
    plane: what it stands on, None if none was found. round: seen along the plane's normal it is
    round, and its hidden side was completed so; its length then lies across the line of sight.
    cut: it reaches the border of the image, or max_size, and may be larger.
    points: (M, 3) visible points, at most 4000.
    pixels: (N, 2) columns and rows in the depth image of all visible points; each stands for a
    square of `pitch` pixels.
    """

    centroid: Floats
    axes: Floats
    size: Floats
    centre: Floats
    plane: Plane | None
    round: bool
    cut: bool
    points: Floats
    pixels: Integers = field(default_factory=lambda: np.empty((0, 2), np.intp))
    pitch: int = 1


def visible_extent(
    point: SurfacePoint,
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings = DEFAULT_SETTINGS,
    *,
    max_size: float = 0.4,
    up: Floats | None = None,
) -> Extent | None:
    """The extent of the thing that a lifted point is on; None where the depth shows none.

    point: in the frame of the camera that saw the depth image (H, W), metres. max_size: metres, how
    far from the point to look; what goes on beyond is no thing, unless it is narrow. up: (3,) unit
    vector against gravity in the same frame, if known.
    """
    if point.status != LiftStatus.OK:
        return None
    settings = settings.for_width(depth.shape[1])
    looked = max_size
    patch = patch_around(point.position, depth, camera, settings, looked)
    points = patch.points[patch.valid]
    tolerance = _SIGMAS * patch.sigma[patch.valid] + _ROUGHNESS
    focal = float(camera.K[0, 0])
    here = _LIFTED_SIGMAS * float(settings.noise.sigma(point.position[2], focal)) + _ROUGHNESS
    plane = supporting_plane(points, tolerance, point.position, here, up)
    if plane is not None and plane.height(point.position) <= here:
        mask = _around_hollow(patch, plane, point.position)
    else:
        mask = _grown(patch, plane, point.position)
        if patch.stride > 1 and mask is not None and mask.sum() < _LEAST_PIXELS:
            # Small or thin: every pixel is looked at, in a smaller patch.
            looked = max_size / (patch.stride + 1)
            patch = patch_around(point.position, depth, camera, settings, looked)
            mask = _grown(patch, plane, point.position)
    if mask is None or mask.sum() < _LEAST_PIXELS:
        return None
    if plane is None and mask.sum() > 0.5 * patch.valid.sum():
        # All there is: the point is on a table or a wall, not on a thing.
        return None
    extent = _measured(patch, mask, plane)
    reach = np.linalg.norm(patch.points[mask] - point.position, axis=1).max()
    if reach < _REACHES * looked:
        return extent
    if extent.size[:2].min() > _BAR * max_size:
        return None  # A wall, a table, a shelf: whether it ends is not seen.
    return replace(extent, cut=True)


def transform_extent(extent: Extent, T_target_source: Floats) -> Extent:
    """The same extent in another frame, by the (4, 4) pose of its frame in the target's."""
    R, t = T_target_source[:3, :3], T_target_source[:3, 3]
    plane = extent.plane
    if plane is not None:
        normal = R @ plane.normal
        plane = Plane(normal, plane.offset + float(normal @ t))
    return replace(
        extent,
        centroid=R @ extent.centroid + t,
        axes=extent.axes @ R.T,
        centre=R @ extent.centre + t,
        plane=plane,
        points=extent.points @ R.T + t,
    )


@dataclass(frozen=True)
class Patch:
    """A square of the image around a point, thinned to at most 160 pixels across.

    points: (h, w, 3). valid, sigma: (h, w), noise in metres. seed: column and row of the point.
    pixel: metres that a pixel is wide at the point. columns, rows: (w,), (h,) in the depth image.
    stride: from one to the next.
    """

    points: Floats
    valid: Bools
    sigma: Floats
    seed: tuple[int, int]
    pixel: float
    columns: Integers
    rows: Integers
    stride: int


def patch_around(
    position: Floats,
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings,
    max_size: float,
) -> Patch:
    focal = float(camera.K[0, 0])
    u, v = camera.project(position)
    height, width = depth.shape
    column, row = int(np.clip(round(u), 0, width - 1)), int(np.clip(round(v), 0, height - 1))
    reach = int(np.clip(max_size * focal / position[2], 8, max(width, height)))
    stride = max(1, (2 * reach) // _ACROSS)
    columns = np.arange(column % stride, width, stride)
    rows = np.arange(row % stride, height, stride)
    columns = columns[np.abs(columns - column) <= reach]
    rows = rows[np.abs(rows - row) <= reach]
    z = depth[np.ix_(rows, columns)].astype(np.float64)
    _, valid = settings.inverse(z)
    rays = camera.ray(columns[None, :], rows[:, None])
    near = np.where(valid, z, 1.0)
    sigma = settings.noise.sigma(near, focal)
    points = along_rays(rays, near)
    valid &= distances(points, position) < max_size
    seed = int(np.searchsorted(columns, column)), int(np.searchsorted(rows, row))
    pixel = stride * float(position[2]) / focal
    return Patch(points, valid, sigma, seed, pixel, columns, rows, stride)


def _around_hollow(patch: Patch, plane: Plane, position: Floats) -> Bools | None:
    """The thing in whose hollow a position is; None where it is on the table, not in a thing.

    What was fitted to many readings is known better than each of them.
    """
    if plane.height(position) < _HOLLOW:
        return None
    thing = patch.valid & (plane.height(patch.points) > _SIGMAS * patch.sigma + _ROUGHNESS)
    reach = round(_HOLLOW_REACH / patch.pixel)
    rim = rim_around(thing, patch.seed, reach)
    if rim is None:
        return None
    column, row = rim
    mask = _grown(replace(patch, seed=rim), plane, patch.points[row, column])
    return None if mask is None else without_holes(mask) & patch.valid


def _grown(patch: Patch, plane: Plane | None, position: Floats) -> Bools | None:
    """The pixels connected to the seed, on a surface and above the plane."""
    z = patch.points[..., 2]
    jump = _JUMP + 4 * patch.sigma + 2 * patch.pixel
    thing = patch.valid & (alike_beside(z, patch.valid, jump) >= _BORNE_OUT)
    if plane is None:
        return _connected(patch, thing, jump)
    # Of a low thing the pixels that are nearer to its height than to the table's.
    heights = plane.height(patch.points)
    most = _SIGMAS * patch.sigma + _ROUGHNESS
    least = np.clip(plane.height(position) / 2, most / 2, most)
    mask = _connected(patch, thing & (heights > least), jump)
    sure = thing & (heights > most)
    if mask is None or not (mask & sure).any():
        return mask
    own = _connected(patch, sure, jump)
    kept = _unbridged(patch, mask, sure, own)
    return mask if kept is None else _connected(patch, kept, jump)


def _connected(patch: Patch, thing: Bools, jump: Floats) -> Bools | None:
    """The pixels of a thing that no jump parts from the seed; None where the seed is not on it."""
    column, row = _nearest(thing, patch.seed)
    if not thing[row, column]:
        return None
    image = np.where(thing, patch.points[..., 2], -1e3).astype(np.float32)
    mask = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
    step = float(jump[row, column])
    flags = 8 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
    cv2.floodFill(image, mask, (column, row), 0, step, step, flags)
    return np.asarray(mask[1:-1, 1:-1] > 0)


def _unbridged(patch: Patch, mask: Bools, sure: Bools, own: Bools | None) -> Bools | None:
    """The mask without other things that only noise joins to it; None if there are none.

    sure: pixels above the plane by more than noise; own: those of them that are one with the seed.
    Between two parts of a low thing most pixels are in the mask, if not sure; in a gap between two
    things hardly any are, but noise that reaches over several pixels closes it somewhere.
    """
    thing = np.zeros_like(mask) if own is None else own.copy()
    column, row = _nearest(mask, patch.seed)
    thing[row, column] = True
    count, parts, stats, _ = cv2.connectedComponentsWithStats(
        (mask & sure & ~thing).astype(np.uint8), connectivity=4
    )
    others = np.zeros_like(mask)
    away = _distance(thing)
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] < _LEAST_PIXELS:
            continue
        part = parts == number
        beyond = _distance(part)
        way = away + beyond
        seam = patch.valid & (np.abs(away - beyond) <= 1)
        seam &= way <= _SEAM * way[patch.valid].min() + 1
        if seam.any() and mask[seam].mean() < _BRIDGE:
            others |= part
    if not others.any():
        return None
    thing |= mask & sure & ~others
    return np.asarray(mask & ~others & (_NEARER * _distance(thing) <= _distance(others)))


def _distance(mask: Bools) -> NDArray[np.float32]:
    """Of each pixel from the nearest one of the mask, in pixels."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away, np.float32)


def _nearest(thing: Bools, seed: tuple[int, int]) -> tuple[int, int]:
    """The pixel of the thing nearest to the seed, within 3 pixels of it."""
    column, row = seed
    rows, columns = np.nonzero(
        thing[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4],
    )
    if not len(rows):
        return seed
    rows, columns = rows + max(row - 3, 0), columns + max(column - 3, 0)
    best = np.argmin((rows - row) ** 2 + (columns - column) ** 2)
    return int(columns[best]), int(rows[best])


def _measured(patch: Patch, mask: Bools, plane: Plane | None) -> Extent:
    points = patch.points[mask]
    weights = points[:, 2] ** 2
    centroid = weighed(points, weights)
    circle = _circle(points, plane, patch.pixel) if plane is not None else None
    if plane is None:
        axes = _principal(points)
    elif circle is None:
        axes = _standing(points, plane)
    else:
        axes = across_sight(plane, centroid)
    along = points @ axes.T
    # Of the many pixels along an edge some reach it, so none is taken to reach further.
    low, high = np.percentile(along, [0.5, 99.5], axis=0)
    if circle is not None:
        middle = axes @ circle.centre
        low[:2], high[:2] = middle[:2] - circle.radius, middle[:2] + circle.radius
    if plane is not None:
        low[2] = plane.offset
        high[2] = np.percentile(along[:, 2], 99)
    border = mask.copy()
    border[1:-1, 1:-1] = False
    thinned = points[:: max(1, -(-len(points) // _MOST_POINTS))]
    return Extent(
        centroid,
        axes,
        high - low,
        axes.T @ ((low + high) / 2),
        plane,
        circle is not None,
        bool(border.any()),
        thinned,
        _pixels(patch, mask),
        patch.stride,
    )


def _pixels(patch: Patch, mask: Bools) -> Integers:
    """(N, 2) columns and rows in the depth image."""
    row, column = np.nonzero(mask)
    return np.stack([patch.columns[column], patch.rows[row]], 1)


@dataclass(frozen=True)
class _Circle:
    """centre: (3,) somewhere on the circle's axis, metres. radius: metres."""

    centre: Floats
    radius: float


def _circle(points: Floats, plane: Plane, pixel: float) -> _Circle | None:
    """The circle that the near side of the points' shadow on the plane is an arc of.

    The farthest reach of a circle's shadow in the direction d is centre . d + radius: linear.
    """
    centroid = sums(points) / len(points)
    across, _, _ = axes = across_sight(plane, centroid)
    turns = np.radians(np.arange(-90, 91, 6))
    # The second axis points away from the camera.
    ways = np.sin(turns)[:, None] * across - np.cos(turns)[:, None] * axes[1]
    reach = np.percentile((points - centroid) @ ways.T, 99, axis=0) + pixel / 2
    terms = np.column_stack([np.sin(turns), -np.cos(turns), np.ones_like(turns)])
    (x, y, radius), *_ = np.linalg.lstsq(terms, reach, rcond=None)
    off = reach - terms @ (x, y, radius)
    if radius <= 0 or np.sqrt(np.mean(off**2)) > _ROUND * radius:
        return None
    return _Circle(centroid + x * across + y * axes[1], float(radius))


def across_sight(plane: Plane, position: Floats) -> Floats:
    """Rows: across the line of sight, along it over the plane, away from the plane."""
    away = position - (position @ plane.normal) * plane.normal
    length = float(np.linalg.norm(away))
    if length < 0.1 * np.linalg.norm(position):
        # Looking straight down: any turn will do.
        away, _ = basis_across(plane.normal)
        length = 1.0
    away = away / length
    return np.stack([np.cross(away, plane.normal), away, plane.normal])


def _principal(points: Floats) -> Floats:
    axes = np.linalg.eigh(np.cov((points - points.mean(0)).T))[1][:, ::-1].T
    axes[2] *= -np.sign(axes[2] @ points.mean(0)) or 1.0
    axes[1] = np.cross(axes[2], axes[0])
    return np.asarray(axes)


def _standing(points: Floats, plane: Plane) -> Floats:
    """Axes of the smallest rectangle around the shadow of the points on the plane."""
    first, second = basis_across(plane.normal)
    shadow = np.stack([points @ first, points @ second], 1)
    middle = sums(shadow) / len(shadow)
    far = np.linalg.norm(shadow - middle, axis=1)
    kept = shadow[far <= np.percentile(far, 99.5)]
    (_, _), (width, height), angle = cv2.minAreaRect((kept - middle).astype(np.float32))
    turn = np.radians(angle if width >= height else angle + 90)
    long = np.cos(turn) * first + np.sin(turn) * second
    return np.stack([long, np.cross(plane.normal, long), plane.normal])


def basis_across(direction: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors that make a right-handed frame with a unit vector as the third.

    The first lies as near as can be to the camera's x, so that it does not jump about.
    """
    helper = np.eye(3)[0] if abs(direction[0]) < 0.9 else np.eye(3)[1]
    first = helper - (helper @ direction) * direction
    first /= np.linalg.norm(first)
    return first, np.cross(direction, first)
