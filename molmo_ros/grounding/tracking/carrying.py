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
Depths = NDArray[np.floating]

# Corners of a point, fewer where there are many points: the time goes into these.
_CORNERS, _FEWEST, _IN_ALL = 16, 5, 96
_REACHES = (20, 40, 80, 160)  # grey pixels around a point in which corners are looked for
_APART = 4.0  # grey pixels between corners
_QUALITY = 0.02  # of the best corner's
_SLOPE = 2.5  # grey levels a pixel, the weaker way across a corner: less is noise
_BLOCK = 5  # grey pixels that a corner's slopes are taken from
_LEAST = 3  # corners without which a point is lost
_MANY_LEFT = 0.6  # of the corners: with fewer new ones are looked for
_REACH = 20.0  # grey pixels at which a corner has half the weight
_ROUNDS = 4
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
        found: how many corners there were when they were last looked for.
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
    found: int
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
    return Track(point, place, view.scale, float(depth), 0.0, corners, looks, len(corners))


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
    corners = _followed(tracks, before, after)
    places = np.stack([track.place for track in tracks])
    depths = np.array([track.depth for track in tracks])
    motion = _common_motion(corners, places, depths)
    places = (places + _pairs(motion.shift)).astype(np.float32)
    turns = np.array([track.turn for track in tracks]) * (1 + motion.turn)
    looks = np.stack([_looks(after, place, turn) for place, turn in zip(places, turns, strict=True)])
    depths, fits = _depths_now(depths, corners, after, places)
    fits &= _same_looks(np.stack([track.looks for track in tracks]), looks)
    lost = (motion.kept.sum(1) < _LEAST) | ~after.contains(places)
    count = _corners_each(len(tracks))
    return [
        None
        if lost[i]
        else _carried(
            track,
            after,
            count,
            place=places[i],
            depth=float(depths[i]),
            drift=track.drift + track.scale * (_CREEP + float(motion.doubt[i])),
            corners=corners.now[i, motion.kept[i]],
            looks=looks[i] if fits[i] else None,
            turn=complex(turns[i]),
        )
        for i, track in enumerate(tracks)
    ]


def _carried(
    track: Track,
    view: View,
    count: int,
    *,
    place: Places,
    depth: float,
    drift: float,
    corners: Places,
    looks: NDArray[np.float32] | None,
    turn: complex,
) -> Track | None:
    """A track in the next view. looks: None where something speaks against it."""
    doubts = track.doubts + 1 if looks is None else 0
    if doubts >= _DOUBTS:
        return None
    found = track.found
    if looks is not None and len(corners) < max(_MANY_LEFT * found, _LEAST + 1):
        corners = _corners(view, place, depth, count)
        found = len(corners)
    known = track.looks if looks is None else track.looks + _NEW * (looks - track.looks)
    return Track(
        track.point, place, track.scale, depth, drift, corners, known, found, turn, doubts
    )


@dataclass(frozen=True, eq=False)
class _Corners:
    """Of T tracks with up to K corners each.

    was, now: (T, K, 2) places. used: (T, K) whether there is one that was found again, and whose
    depth has changed as at most of them. before, after: (T, K) depths, infinite where not known.
    """

    was: Places
    now: Places
    used: Mask
    before: Depths
    after: Depths

    @property
    def known(self) -> Mask:
        """(T, K) whether it is used and both depths are known."""
        return self.used & np.isfinite(self.before) & np.isfinite(self.after)

    @property
    def change(self) -> Depths:
        """(T, K) of the depths; 0 where that is not known."""
        known = self.known
        return np.where(known, self.after, 0) - np.where(known, self.before, 0)


def _followed(tracks: Sequence[Track], before: View, after: View) -> _Corners:
    """The corners of tracks in the next view."""
    most = max(max(len(track.corners) for track in tracks), 1)
    was = np.zeros((len(tracks), most, 2), np.float32)
    there = np.zeros((len(tracks), most), bool)
    for i, track in enumerate(tracks):
        was[i, : len(track.corners)] = track.corners
        there[i, : len(track.corners)] = True
    now, used = was.copy(), there.copy()
    now[there], used[there] = _follow(was[there], before, after)
    shape = there.shape
    corners = _Corners(
        was,
        now,
        used,
        before.depths(was.reshape(-1, 2))[:, 0].reshape(shape),
        after.depths(now.reshape(-1, 2))[:, 0].reshape(shape),
    )
    known, change = corners.known, corners.change
    off = np.abs(change - _medians(change, known)[:, None])
    same = off < np.maximum(_TOLERANCE[0] * np.where(known, corners.before, 1), _TOLERANCE[1])
    return replace(corners, used=used & (~known | same))


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


def _medians(values: NDArray[np.floating], wanted: Mask) -> NDArray[np.float64]:
    """(T,) of those in (T, K) that are wanted; 0 where none is."""
    ordered = np.sort(np.where(wanted, values, np.inf), axis=1)
    number = wanted.sum(1)
    middle = ordered[np.arange(len(values)), np.maximum(number - 1, 0) // 2]
    return np.where(number > 0, middle, 0.0)


def _depths_now(
    depths: Depths, corners: _Corners, view: View, places: Places
) -> tuple[Depths, Mask]:
    """(T,) metres at the places, and whether these are what the corners' change lets expect."""
    expected = depths + _medians(corners.change, corners.known)
    seen = _middle(view.depths(places))
    both = np.isfinite(seen) & np.isfinite(expected)
    off = np.abs(np.where(both, seen, 0) - np.where(both, expected, 0))
    fits = off < np.maximum(_TOLERANCE[0] * np.where(both, expected, 1), _TOLERANCE[1])
    return np.where(np.isfinite(seen) & fits, seen, expected), fits


def _same_looks(known: NDArray[np.float32], seen: NDArray[np.float32]) -> Mask:
    """(T,) whether patches (T, 13, 13) show the same, in a light that may differ a little."""
    off = (seen - known).reshape(len(known), -1)
    shade = off.mean(1)
    rough = np.abs(off - shade[:, None]).mean(1)
    contrast = known.reshape(len(known), -1).std(1)
    return (np.abs(shade) < _SHADE) & (rough < _LOOKS + _CONTRAST * contrast)


@dataclass(frozen=True, eq=False)
class _Motion:
    """Of T tracks.

    shift: (T,) complex, of the points. turn: (T,) complex, what is added to 1 by turning and
    scaling. kept: (T, K) which corners agree. doubt: (T,) pixels, standard error of the shift.
    """

    shift: NDArray[np.complex128]
    turn: NDArray[np.complex128]
    kept: Mask
    doubt: NDArray[np.float64]


def _common_motion(corners: _Corners, places: Places, depths: Depths) -> _Motion:
    """How points move where most of their corners move so.

    Least squares in complex numbers, weighted again and again: shift + turn * offset + parallax,
    where parallax goes with the corner's inverse depth less the point's.
    """
    offset = _complex(corners.was - places[:, None]) / _REACH
    shift = _complex(corners.now - corners.was)
    known = np.isfinite(corners.before) & np.isfinite(depths)[:, None]
    here, there = np.where(known, depths[:, None], 1), np.where(known, corners.before, 1)
    parallax = (here / there - 1) / _TOLERANCE[0]
    columns = np.stack([np.ones(offset.shape, complex), offset, parallax + 0j], axis=2)
    near = corners.used / (1 + np.abs(offset) ** 2 + parallax**2)
    # Corners so few, or so near to each other, show no turning: then there is none.
    ridge = np.diag([1e-9, _RIDGE, _RIDGE])
    real, imaginary = _medians(shift.real, corners.used), _medians(shift.imag, corners.used)
    solution = np.zeros((len(places), 3), complex)
    solution[:, 0] = real + 1j * imaginary
    for _ in range(_ROUNDS):
        off = np.abs(shift - np.einsum('tkc,tc->tk', columns, solution))
        weight = near / (1 + (off / _OFF) ** 2) ** 2
        whole = np.maximum(weight.sum(1), 1e-9)
        weighted = columns.conj().swapaxes(1, 2) * (weight / whole[:, None])[:, None]
        solution = np.linalg.solve(weighted @ columns + ridge, weighted @ shift[..., None])[..., 0]
    off = np.abs(shift - np.einsum('tkc,tc->tk', columns, solution))
    kept = corners.used & (off < 2 * _OFF)
    square = (weight * off**2).sum(1) / whole
    doubt = np.sqrt(square / np.maximum(kept.sum(1) - 1, 1))
    return _Motion(solution[:, 0], solution[:, 1] / _REACH, kept, doubt)


def _complex(pairs: NDArray[np.floating]) -> NDArray[np.complex128]:
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1], np.complex128)


def _pairs(numbers: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.stack([numbers.real, numbers.imag], axis=-1)
