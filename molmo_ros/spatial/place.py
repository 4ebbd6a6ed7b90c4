# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where something can be put down: the level surface at a point, and how far around it is free.

The surface is looked at in cells about the point. Each is seen to be bare, has the foot of
something that is seen above it, or is not seen: because something in front hides it, or because
the depth has a hole. What hides a cell is somewhere else, so it is not taken to stand there; but as
far as a thing is wide, so far is it taken to reach back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera_model import CameraModel
from .edges import GRAZING, veil
from .extent import Patch, across_sight, patch_around
from .grasp import Unseen
from .lift_settings import DEFAULT_SETTINGS, LiftSettings
from .support import Plane, supporting_plane
from .surface_point import LiftStatus, SurfacePoint
from .windows import Bools, Floats, distances, from_origin, weighed, within

_NEAR = 0.05  # metres about the point that its surface is fitted to
_SIGMAS, _ROUGHNESS = 3.0, 0.003  # of a reading on the surface: noise, and metres that it is uneven
_LEVEL = np.radians(10)  # how far a surface may lean, where up is known
_LEAST = 0.01  # metres: nothing stands on less
_CELL = 0.004  # metres
_SPECK = 2  # cells squared: what is smaller is noise
_HOLE = 4  # cells squared: a smaller hole in the depth tells nothing
_BESIDE = 0.025  # metres beside what stands there, in which a camera of two eyes may see nothing
_DEEPEST = 0.1  # metres that a thing is taken to reach back out of sight
_LOW, _LOW_SIGMAS = 0.0006, 4.0  # metres over the surface, and times the spread, that tell a mat,
_LOW_MEANS = (5, 9, 15)  # as the mean of so many cells squared: the lower the more
_THIN = 0.001  # metres: who is told less of what lies on a surface has to know
_WIDER = (
    0.08,
    0.12,
    0.2,
)  # metres about the point that its surface is fitted to, one after another
_STEPS = 6  # of each fit: what lies on the surface counts less and less
_MOST_FITTED = 4000  # of its points
_NOWHERE = np.full(3, np.nan)
_RIM = 5  # cells about what is no surface, of which the color may be another's
_MIDDLE = 0.016  # metres about the point that show the color of the surface
_HUE, _LIGHTER = 0.06, 0.4  # by which a color is another, or its lightness, a logarithm,
_VARIES = 5.0  # and times what that of the surface varies by
_EVERY = 5  # of how many cells one tells what is usual
_LIKE = 0.3  # of the size of another piece, or of all of another color, from which on it may be the
# same again, as in stripes
_PIECE = 6  # cells of another color that are no speck
_FEW, _MOSTLY = 4, 0.6  # more pieces are a pattern, unless one of them is so much of it
_NO_LIGHT = 30.0  # of three times 255, that count as none

Paint = Callable[[Floats], NDArray[np.uint8]]
"""The colors (M, 3), RGB, in a picture of points (M, 3) in the frame of the depth's camera."""


@dataclass(frozen=True, eq=False)
class Place:
    """position: (3,) metres, on the surface. up: (3,) unit vector out of it. radius: metres about
    the position in which nothing is seen to be in the way; NaN where there is no such place.
    reason: what ends the radius and what of it is not seen, or why there is none; '' where all is
    seen, and nothing ends it as far as was looked.
    """

    position: Floats
    up: Floats
    radius: float
    reason: str = ''


def _none(reason: str) -> Place:
    return Place(_NOWHERE, _NOWHERE, float('nan'), reason)


NO_PLACE = _none('')


def place_at(
    point: SurfacePoint,
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings = DEFAULT_SETTINGS,
    *,
    look: float = 0.25,
    up: Floats | None = None,
    unseen: Unseen = Unseen.FREE,
    paint: Paint | None = None,
) -> Place:
    """The place at a lifted point, in the frame of the camera that saw the depth image (H, W).

    look: metres, how far around. up: (3,) unit vector against gravity in the same frame, if known;
    without it every flat surface counts as level. unseen: what the surface counts as where
    something in front hides it. paint: tells the colors of points in the picture, so that what is
    thin and of another color ends the place, too.
    """
    if point.status != LiftStatus.OK:
        return _none('the point has no position')
    settings = settings.for_width(depth.shape[1])
    patch = patch_around(point.position, depth, camera, settings, look)
    plane = _surface(point, patch, camera, settings)
    if plane is None:
        return _none('the surface at the point is not flat')
    lean = 0.0 if up is None else float(np.arccos(np.clip(plane.normal @ up, -1, 1)))
    if lean > _LEVEL:
        return _none(f'the surface at the point leans by {np.degrees(lean):.0f} degrees')
    position = point.position - plane.height(point.position) * plane.normal
    cells = _Cells.around(position, plane, look)
    steep = GRAZING * float(point.position[2]) / float(camera.K[0, 0])
    firm = patch.valid & ~_veiled(patch, depth, steep)
    above = _solid(firm & (plane.height(patch.points) > _tolerance(patch.sigma)), 2)
    seen = _seen(cells, plane, depth, camera, settings)
    place = Place(position, plane.normal, look)
    colored = (
        np.zeros(cells.away.shape, bool) if paint is None else _other_color(cells, seen, paint)
    )
    return _ended(place, cells, seen, cells.feet(patch.points[above]), colored, unseen)


def _veiled(patch: Patch, depth: NDArray[np.float32], steep: float) -> Bools:
    """Which pixels of a patch hang between a thing and what is behind it."""
    (top, bottom), (left, right) = patch.rows[[0, -1]], patch.columns[[0, -1]]
    around = veil(depth[top : bottom + 1, left : right + 1], steep)
    return around[:: patch.stride, :: patch.stride]


def _tolerance(sigma: Floats) -> Floats:
    """Metres that readings of this noise may be off the surface that they are on."""
    return _SIGMAS * sigma + _ROUGHNESS


def _surface(
    point: SurfacePoint, patch: Patch, camera: CameraModel, settings: LiftSettings
) -> Plane | None:
    """The surface that a point is on; None where that is not flat."""
    points, tolerance = patch.points[patch.valid], _tolerance(patch.sigma[patch.valid])
    near = distances(points, point.position) < _NEAR
    sigma = settings.noise.sigma(point.position[2], float(camera.K[0, 0]))
    here = float(_tolerance(np.asarray(sigma)))
    plane = supporting_plane(points[near], tolerance[near], point.position, here)
    if plane is None or plane.height(point.position) > here:
        return None
    return _levelled(plane, point.position, points, tolerance)


def _ended(
    place: Place, cells: _Cells, seen: _Seen, feet: Bools, colored: Bools, unseen: Unseen
) -> Place:
    """The place as far as it is free. feet: (N, N) cells over which something is seen. colored:
    those of another color."""
    stands = feet | _reaching_back(feet, seen.hidden) | seen.raised
    beside = seen.nothing & (cells.distance_to(stands | seen.hidden) < _BESIDE)
    hidden = _solid((seen.hidden | beside) & ~stands, _SPECK)
    out_of_sight = cells.nearest(hidden)
    ends = [
        (cells.nearest(stands), 'something stands {} away'),
        (cells.nearest(_solid(seen.below, _SPECK)), 'the surface ends {} away'),
        (cells.nearest(_solid(seen.nothing & ~beside, _HOLE)), 'the depth shows nothing {} away'),
        (cells.nearest(seen.outside), 'the image ends {} away'),
        (
            cells.nearest(colored & ~stands),
            'the picture shows another color {} away: something thin may lie there',
        ),
    ]
    if unseen is Unseen.OCCUPIED:
        ends.append((out_of_sight, 'the surface is hidden by what stands before it {} away'))
    radius, why = min(ends, key=lambda end: end[0])
    notes = [why.format(_mm(radius))] if radius < place.radius else []
    if radius < _LEAST:
        return _none(f'not free: {notes[0]}')
    place = replace(place, radius=min(radius, place.radius))
    if out_of_sight < place.radius:
        notes.append(f'from {_mm(out_of_sight)} on some of it is not seen and taken to be free')
    if _THIN < seen.told < np.inf:
        notes.append(f'what lies on it and is thinner than {1e3 * seen.told:.1f} mm is not told')
    return replace(place, reason='; '.join(notes))


def _levelled(plane: Plane, position: Floats, points: Floats, tolerance: Floats) -> Plane:
    """The plane by all that is seen of it: fitted near the point alone it leans by noise.

    points: (M, 3) metres; tolerance: (M,) how far each may be off. What lies on the surface, a mat
    or a coaster, counts little.
    """
    thin = max(1, len(points) // _MOST_FITTED)
    points, tolerance = points[::thin], tolerance[::thin]
    away = distances(points, position)
    for reach in _WIDER:
        chosen = points[(away < reach) & (np.abs(plane.height(points)) < tolerance)]
        for _ in range(_STEPS):
            weights = 1 / np.maximum(np.abs(plane.height(chosen)), 2e-4)
            middle = weighed(chosen, weights)
            apart = from_origin(chosen, middle)
            normal = np.linalg.eigh(apart.T @ (apart * weights[:, None]))[1][:, 0]
            normal = normal if normal @ plane.normal > 0 else -normal
            plane = Plane(normal, float(normal @ middle))
    return plane


def _mm(metres: float) -> str:
    return f'{1e3 * max(metres, 0.0):.0f} mm'


@dataclass(frozen=True, eq=False)
class _Cells:
    """Squares of a plane. points: (N, N, 3) their middles; the rows go away from the camera.

    away: (N, N) metres from the middle of all. axes: (3, 3) rows: along the columns, along the
    rows, up.
    """

    points: Floats
    away: Floats
    axes: Floats

    @classmethod
    def around(cls, position: Floats, plane: Plane, look: float) -> _Cells:
        steps = np.arange(-int(look / _CELL), int(look / _CELL) + 1) * _CELL
        axes = across_sight(plane, position)
        points = position + steps[:, None, None] * axes[1] + steps[None, :, None] * axes[0]
        return cls(points, np.hypot(steps[:, None], steps[None, :]), axes)

    def feet(self, points: Floats) -> Bools:
        """(N, N) cells over which some of the points (M, 3) are."""
        found = np.zeros(self.away.shape, bool)
        at = np.rint((points - self.points[0, 0]) @ self.axes[:2].T / _CELL).astype(int)
        column, row = at[((at >= 0) & (at < len(found))).all(1)].T
        found[row, column] = True
        kernel = np.ones((3, 3), np.uint8)  # pixels may be farther apart than cells
        return cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0

    def distance_to(self, where: Bools) -> Floats:
        """(N, N) metres to the nearest cell where something is so."""
        if not where.any():
            return np.full(where.shape, np.inf)
        away = cv2.distanceTransform((~where).astype(np.uint8), cv2.DIST_L2, 5)
        return np.asarray(away, np.float64) * _CELL

    def nearest(self, where: Bools) -> float:
        """Metres from the middle to where something is so."""
        return float(self.away[where].min()) if where.any() else float('inf')


@dataclass(frozen=True, eq=False)
class _Seen:
    """Of each cell (N, N) what its ray meets: the surface, something before it, something lower,
    nothing, or a surface a little higher; or that it is outside of the image. told: metres that the
    surface must be higher to count as that, where many readings are beside each other."""

    flat: Bools
    hidden: Bools
    below: Bools
    nothing: Bools
    raised: Bools
    outside: Bools
    told: float


def _seen(
    cells: _Cells,
    plane: Plane,
    depth: NDArray[np.float32],
    camera: CameraModel,
    settings: LiftSettings,
) -> _Seen:
    height, width = depth.shape
    pixels = camera.project(cells.points)
    inside = within(pixels, width, height)
    column, row = np.rint(np.where(inside[..., None], pixels, 0.0)).astype(int).transpose(2, 0, 1)
    z = depth[row, column].astype(np.float64)
    _, read = settings.inverse(z)
    read &= inside
    true = cells.points[..., 2]
    z = np.where(read, z, true)
    # Along the ray through a cell heights grow as the reading is nearer.
    heights = plane.offset * (z / true - 1.0)
    tolerance = _tolerance(settings.noise.sigma(true.clip(1e-3), float(camera.K[0, 0])))
    flat = read & (np.abs(heights) <= tolerance)
    higher = read & (heights > tolerance)
    beside = cv2.dilate(higher.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    raised, told = _raised(heights, flat & ~beside)  # Where a thing begins it is hardly higher.
    return _Seen(
        flat,
        higher,
        read & (heights < -tolerance),
        inside & ~read,
        raised,
        ~inside,
        told,
    )


def _raised(heights: Floats, flat: Bools) -> tuple[Bools, float]:
    """Where the mean of many readings of a flat surface is higher than it is elsewhere, and metres
    that it must be."""
    raised, told = np.zeros_like(flat), float('inf')
    for cells in _LOW_MEANS:
        share = cv2.blur(flat.astype(np.float64), (cells, cells))
        mean = cv2.blur(np.where(flat, heights, 0.0), (cells, cells)) / np.maximum(share, 1e-6)
        sure = flat & (share > 0.5)
        if sure.any():
            spread = 1.4826 * float(np.median(np.abs(mean[sure])))
            least = max(_LOW, _LOW_SIGMAS * spread)
            raised |= _solid(sure & (mean > least), _SPECK)
            told = min(told, least)
    # The mean is the lower the nearer to an outline.
    size = (_LOW_MEANS[0], _LOW_MEANS[0])
    return cv2.dilate(raised.astype(np.uint8), np.ones(size, np.uint8)) > 0, told


def _other_color(cells: _Cells, seen: _Seen, paint: Paint) -> Bools:
    """The cells (N, N) of the surface that are of another color than it is at the middle.

    Of a pattern there are many, of a shadow none: it is only darker.
    """
    sure = cv2.erode(seen.flat.astype(np.uint8), np.ones((_RIM, _RIM), np.uint8)) > 0
    none = np.zeros_like(sure)
    middle = sure & (cells.away < _MIDDLE)
    if not middle.any():
        return none
    values = np.zeros((*sure.shape, 3))
    values[sure] = _hues(paint(cells.points[sure]))
    some, here = values[sure][::_EVERY], np.median(values[middle], axis=0)
    usual = np.median(some, axis=0)
    spread = _VARIES * np.median(np.abs(some - usual), axis=0)
    off = values - here
    hue = np.hypot(off[..., 0], off[..., 1])
    least = usual[2] + max(_LIGHTER, spread[2])
    light, is_light = values[..., 2] > least, here[2] > least
    other = sure & ((hue > max(_HUE, float(np.hypot(*spread[:2])))) | (light != is_light))
    other = _solid(other, _SPECK)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(other.astype(np.uint8))
    sizes = stats[1:, cv2.CC_STAT_AREA]
    if count - 1 > _FEW and sizes.max() < _MOSTLY * sizes.sum():
        return none
    own = sure & ~other
    share = float(other.sum()) / max(float(own.sum()), 1.0)
    if _LIKE < share < 1 / _LIKE and (_again(other, values) or _again(own, values)):
        return none
    return np.asarray(np.isin(pieces, 1 + np.flatnonzero(sizes >= _PIECE)))


def _again(where: Bools, values: Floats) -> bool:
    """Whether its second largest part is like the largest, as with stripes."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8))
    if count < 3:
        return False
    sizes = stats[1:, cv2.CC_STAT_AREA]
    first, second = (1 + int(k) for k in np.argsort(-sizes)[:2])
    if sizes[second - 1] < max(_PIECE, _LIKE * sizes[first - 1]):
        return False
    apart = np.abs(values[parts == first].mean(0) - values[parts == second].mean(0))
    return bool((apart < (_HUE / 2, _HUE / 2, _LIGHTER)).all())


def _hues(colors: NDArray[np.uint8]) -> Floats:
    """(M, 3) of RGB (M, 3): two of color, and the logarithm of lightness."""
    red, green, blue = colors.astype(np.float64).T
    light = red + green + blue + _NO_LIGHT
    return np.stack([(red - green) / light, (green - blue) / light, np.log(light)], -1)


def _reaching_back(stands: Bools, hidden: Bools) -> Bools:
    """The hidden cells behind what stands, as far as that is wider than it is deep."""
    found = np.zeros_like(stands)
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(stands.astype(np.uint8))
    for number in range(1, count):
        wide, deep = boxes[number, cv2.CC_STAT_WIDTH], boxes[number, cv2.CC_STAT_HEIGHT]
        back = min(int(wide - deep), round(_DEEPEST / _CELL))
        if back <= 0:
            continue
        kernel = np.ones((back + 1, 1), np.uint8)
        part = (parts == number).astype(np.uint8)
        found |= cv2.dilate(part, kernel, anchor=(0, back)) > 0
    return found & hidden


def _solid(where: Bools, size: int) -> Bools:
    """Where something is so in squares of so many cells at least."""
    kernel = np.ones((size, size), np.uint8)
    # One anchor for both would shift squares of an even size.
    squares = cv2.erode(where.astype(np.uint8), kernel, anchor=(0, 0))
    return cv2.dilate(squares, kernel, anchor=(size - 1, size - 1)) > 0


def transform_place(place: Place, T_target_source: Floats) -> Place:
    """The same place in another frame, by the (4, 4) pose of its frame in the target's."""
    R, t = T_target_source[:3, :3], T_target_source[:3, 3]
    return replace(place, position=R @ place.position + t, up=R @ place.up)
