# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points carried from one view to the next by what is seen around them.

A point itself is often on a bare patch. Corners near it that lie on the same surface, by the depth,
are followed forward and backward (pyramidal Lucas-Kanade), and the point moves as most of them do:
shifted, turned and scaled, and where the depth is known shifted by its inverse, as parallax is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.tracking.view import View
from molmo_ros.pointing.points import ImagePoint, centred, from_centred

Places = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Corners of a point, fewer where there are many points: the time goes into these.
_CORNERS, _FEWEST, _IN_ALL = 16, 5, 96
_REACHES = (20, 40, 80, 160)  # grey pixels around a point in which corners are looked for
_APART = 4.0  # grey pixels between corners
_QUALITY = 0.02  # of the best corner's
_SLOPE = 2.5  # grey levels a pixel, the weaker way across a corner: less is noise
_BLOCK = 5  # grey pixels that a corner's slopes are taken from
_LEAST = 3  # corners without which a point is lost
_WINDOW, _LEVELS = (15, 15), 3
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 0.03)
_BACK = 0.7  # grey pixels that a corner may be off after its way forward and back
_OFF = 1.0  # grey pixels from the common motion: half the weight
_TOLERANCE = 0.03, 0.015  # of the depth, and metres: what is on the same surface, from view to view
_RIDGE = 0.01  # square of what corners show against what the motion may be
_PATCH = 13  # grey pixels, side of what is compared with the looks at the answer
_NEW = 0.1  # share of what is seen that goes into these looks, for the light may change
_SHADE, _LOOKS, _CONTRAST = 20.0, 8.0, 0.6  # grey levels, and of the patch's contrast
_DOUBTS = 2  # views in a row that speak against a point until it is lost
_CREEP = 0.04  # grey pixels a view that cannot be seen from the corners


@dataclass(frozen=True, eq=False)
class Track:
    """A point on its way.

    Attributes:
        point: as it was answered.
        place: (2,) where it is now, pixels of the grey picture with integers at their centres.
        scale: pixels of the picture to one of the grey one.
        depth: metres, infinite where not known.
        drift: how far it may be off by now, pixels of the picture.
        corners: (N, 2) what it is carried by, as place.
        looks: (13, 13) float32 grey levels around it as they were at the answer.
        turn: by which the surroundings have been turned and scaled since, as a complex number.
        doubts: how many views in a row speak against it.
    """

    point: ImagePoint
    place: Places
    scale: int
    depth: float
    drift: float
    corners: Places
    looks: NDArray[np.float32]
    turn: complex = 1.0
    doubts: int = 0

    @property
    def pixel(self) -> tuple[float, float]:
        """(u, v) as an `ImagePoint` has it."""
        u, v = ((float(c) + 0.5) * self.scale - 0.5 for c in self.place)
        return from_centred(u, v)


def anchored(points: Sequence[ImagePoint], view: View) -> list[Track]:
    """Tracks that begin where a model pointed in this view."""
    count = _corners_each(len(points))
    return [_anchored(point, view, count) for point in points]


def _corners_each(tracks: int) -> int:
    return max(_FEWEST, min(_CORNERS, _IN_ALL // max(tracks, 1)))


def _anchored(point: ImagePoint, view: View, count: int) -> Track:
    place = (np.array(centred(point.u, point.v)) + 0.5) / view.scale - 0.5
    height, width = view.grey.shape
    place = np.clip(place, 0, (width - 1, height - 1)).astype(np.float32)
    depth = _middle(view.depths(place[None]))[0]
    corners = _corners(view, place, depth, count)
    looks = _looks(view, place, 1.0)
    return Track(point, place, view.scale, float(depth), 0.0, corners, looks)


def _middle(readings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) the middle of those (N, k) that are there; infinite where fewer than a third are."""
    there = np.isfinite(readings).sum(1)
    middle = readings[np.arange(len(readings)), np.maximum(there - 1, 0) // 2]
    return np.where(3 * there >= readings.shape[1], middle, np.float32(np.inf))


def _tolerance(depth: float) -> float:
    return max(_TOLERANCE[0] * depth, _TOLERANCE[1])


def _corners(view: View, place: Places, depth: float, count: int) -> Places:
    """(N, 2) up to so many corners around a place, the nearest reach first.

    Those on its surface; where these are few, others too if their depth is known.
    """
    on_surface = others = np.empty((0, 2), np.float32)
    for reach in _REACHES:
        found = _all_corners(view, place, reach, 3 * count)
        if not np.isfinite(depth):
            on_surface = found
        elif len(found):
            # What is seen of an outline belongs to the nearer side.
            nearest = view.depths(found, 2)[:, 0]
            near = np.abs(nearest - depth) < _tolerance(depth)
            on_surface, others = found[near], found[~near & np.isfinite(nearest)]
        if len(on_surface) >= count:
            break
    missing = max(count // 2 - len(on_surface), 0)
    return np.concatenate([on_surface[:count], others[: 2 * missing]]).astype(np.float32)


def _all_corners(view: View, place: Places, reach: int, count: int) -> Places:
    """(N, 2) corners in a square around a place, the clearest first."""
    height, width = view.grey.shape
    left, top = (max(int(c) - reach, 0) for c in place)
    right, bottom = min(int(place[0]) + reach + 1, width), min(int(place[1]) + reach + 1, height)
    crop = view.grey[top:bottom, left:right]
    corners = cv2.goodFeaturesToTrack(crop, count, _QUALITY, _APART, blockSize=_BLOCK)
    if corners is None:
        return np.empty((0, 2), np.float32)
    inside = corners.reshape(-1, 2)
    columns, rows = inside.astype(np.intp).T
    slopes = 127.5 * np.sqrt(cv2.cornerMinEigenVal(crop, _BLOCK)[rows, columns])
    return inside[slopes > _SLOPE] + np.float32((left, top))


def _looks(view: View, place: Places, turn: complex) -> NDArray[np.float32]:
    """(13, 13) grey levels around a place, turned and scaled back."""
    c, s = turn.real, turn.imag
    middle = _PATCH // 2
    x, y = float(place[0]), float(place[1])
    to_view = np.array(
        [[c, -s, x - middle * (c - s)], [s, c, y - middle * (s + c)]], np.float32
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(
        view.grey, to_view, (_PATCH, _PATCH), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(patch, np.float32)


def carry(tracks: Sequence[Track], before: View, after: View) -> list[Track | None]:
    """Each track in the next view; None where it is lost."""
    if not tracks or before.grey.shape != after.grey.shape:
        return [None] * len(tracks)
    corners = np.concatenate([track.corners for track in tracks])
    moved, found = _follow(corners, before, after)
    ends = np.cumsum([len(track.corners) for track in tracks])[:-1]
    count = _corners_each(len(tracks))
    return [
        _carried(track, _Corners(*parts), after, count)
        for track, *parts in zip(
            tracks,
            np.split(moved, ends),
            np.split(found, ends),
            np.split(before.depths(corners)[:, 0], ends),
            np.split(after.depths(moved)[:, 0], ends),
            strict=True,
        )
    ]


def _follow(corners: Places, before: View, after: View) -> tuple[Places, Mask]:
    """(N, 2) where corners are now, and whether they come back to where they were."""
    if not len(corners):
        return corners, np.zeros(0, bool)
    options = {'winSize': _WINDOW, 'maxLevel': _LEVELS, 'criteria': _STOP}
    there, seen, _ = cv2.calcOpticalFlowPyrLK(before.grey, after.grey, corners, None, **options)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after.grey, before.grey, there, None, **options)
    off = np.linalg.norm(back - corners, axis=1)
    found = (seen.ravel() > 0) & (again.ravel() > 0) & (off < _BACK) & after.contains(there)
    return np.where(found[:, None], there, corners).astype(np.float32), found


@dataclass(frozen=True, eq=False)
class _Corners:
    """Of one track in the next view: (N, 2) places, whether found, depths before and after."""

    moved: Places
    found: Mask
    before: NDArray[np.float32]
    after: NDArray[np.float32]


def _carried(track: Track, corners: _Corners, view: View, count: int) -> Track | None:
    on_surface = corners.found & _same_change(corners)
    if np.count_nonzero(on_surface) < _LEAST:
        return None
    was, now = track.corners[on_surface], corners.moved[on_surface]
    motion = _common_motion(track, was, now, corners.before[on_surface])
    if np.count_nonzero(motion.kept) < _LEAST:
        return None
    place = (track.place + motion.shift).astype(np.float32)
    if not view.contains(place[None])[0]:
        return None
    turn = track.turn * (1 + motion.turn)
    looks = _looks(view, place, turn)
    depth, fits = _depth_now(track, corners, on_surface, view, place)
    fits &= _same_looks(track.looks, looks)
    doubts = 0 if fits else track.doubts + 1
    if doubts >= _DOUBTS:
        return None
    kept = now[motion.kept]
    if len(kept) <= count // 2 and fits:
        kept = _corners(view, place, depth, count)
    return replace(
        track,
        place=place,
        depth=depth,
        drift=track.drift + track.scale * (_CREEP + motion.doubt),
        corners=kept,
        looks=track.looks + _NEW * (looks - track.looks) if fits else track.looks,
        turn=turn,
        doubts=doubts,
    )


def _same_change(corners: _Corners) -> Mask:
    """Whether the depth at each corner has changed as at most of them, where it is known."""
    known = corners.found & np.isfinite(corners.before) & np.isfinite(corners.after)
    if not known.any():
        return np.ones(len(known), bool)
    change = np.where(known, corners.after - np.where(known, corners.before, 0), 0)
    usual = np.median(change[known])
    allowed = np.maximum(_TOLERANCE[0] * corners.before, _TOLERANCE[1])
    return ~known | (np.abs(change - usual) < allowed)


def _depth_now(
    track: Track, corners: _Corners, used: Mask, view: View, place: Places
) -> tuple[float, bool]:
    """Metres at the place, and whether that is what the corners' change lets expect."""
    known = used & np.isfinite(corners.before) & np.isfinite(corners.after)
    change = float(np.median((corners.after - corners.before)[known])) if known.any() else 0.0
    expected, seen = track.depth + change, float(_middle(view.depths(place[None]))[0])
    if not np.isfinite(seen):
        return expected, True
    if not np.isfinite(expected):
        return seen, True
    fits = abs(seen - expected) < _tolerance(expected)
    return (seen if fits else expected), fits


def _same_looks(known: NDArray[np.float32], seen: NDArray[np.float32]) -> bool:
    off = seen - known
    shade = float(off.mean())
    rough = float(np.abs(off - shade).mean())
    return abs(shade) < _SHADE and rough < _LOOKS + _CONTRAST * float(known.std())


@dataclass(frozen=True, eq=False)
class _Motion:
    """shift: (2,) of the point. turn: complex, what is added to 1 by turning and scaling. kept:
    which corners agree. doubt: pixels, standard error of the shift."""

    shift: Places
    turn: complex
    kept: Mask
    doubt: float


def _common_motion(
    track: Track, was: Places, now: Places, depth: NDArray[np.float32]
) -> _Motion:
    """How the point moves where most of its corners move so.

    Least squares in complex numbers, weighted again and again: shift + turn * offset + parallax,
    where parallax goes with the corner's inverse depth less the point's.
    """
    offset = (was - track.place) @ np.array([1, 1j])
    shift = (now - was) @ np.array([1, 1j])
    columns = [np.ones(len(was), complex), offset / 20]
    if np.isfinite(track.depth):
        relative = np.where(np.isfinite(depth), track.depth / depth - 1, 0.0)
        columns.append(relative / _TOLERANCE[0] + 0j)
        near = 1 / (1 + np.abs(offset / 20) ** 2 + np.abs(columns[2]) ** 2)
    else:
        near = 1 / (1 + np.abs(offset / 20) ** 2)
    matrix = np.stack(columns, 1)
    # So few corners, or so near to each other, show no turning: then there is none.
    ridge = np.diag([1e-6] + [_RIDGE] * (len(columns) - 1))
    start = np.median(shift.real) + 1j * np.median(shift.imag)
    solution = np.array([start] + [0j] * (len(columns) - 1))
    for _ in range(4):
        off = np.abs(shift - matrix @ solution)
        weight = near / (1 + (off / _OFF) ** 2) ** 2
        weighted = matrix.conj().T * weight
        solution = np.linalg.solve(weighted @ matrix + ridge * weight.sum(), weighted @ shift)
    off = np.abs(shift - matrix @ solution)
    kept = off < 2 * _OFF
    spread = float(np.sqrt((weight * off**2).sum() / weight.sum() / max(kept.sum() - 1, 1)))
    moved = np.array([solution[0].real, solution[0].imag], np.float32)
    return _Motion(moved, complex(solution[1]) / 20, kept, spread)
