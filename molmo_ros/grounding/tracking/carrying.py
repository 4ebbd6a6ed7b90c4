# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points carried from one view to the next by what is seen around them.

A point itself is often on a bare patch. Marks near it on the same surface are followed forward and
backward (pyramidal Lucas-Kanade), and the point moves as most of them do: shifted, turned and
scaled, and where the depth is known shifted by its inverse, as parallax is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.tracking.camera_motion import find_camera_motion
from molmo_ros.grounding.tracking.marks import LEAST, RELATIVE, Marks, marks_around, tolerance
from molmo_ros.grounding.tracking.view import View
from molmo_ros.pointing.points import ImagePoint, centred, from_centred

Places = NDArray[np.float32]
Mask = NDArray[np.bool_]
Depths = NDArray[np.floating]

# Marks of a point, fewer where there are many points: the time goes into these.
_MARKS, _FEWEST, _IN_ALL = 18, 8, 64
_MANY_LEFT = 0.6  # of the marks: with fewer new ones are looked for
_REST = 10  # views until marks are looked for again where there are hardly any
_REACH = 20.0  # grey pixels at which a mark has half the weight
_ROUNDS = 3
_WINDOW, _LEVELS = (11, 11), 3
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_BACK = 0.7  # grey pixels that a mark may be off after its way forward and back
_OFF = 1.0  # grey pixels from the common motion: half the weight
_ELSEWHERE = 0.3  # weight of what may not be on the thing
_TEXTURED = 8  # corners of its own by which a thing is followed whatever the camera does
_TOGETHER = 0.5  # share of these that agree if it moves by itself
_STILL = 0.02  # grey pixels, standard error where only the camera moves
_ITSELF = 0.6  # grey pixels a view by which outlines say that the thing itself moves
_LEAP = 2.0  # times the tolerance that the depth of a mark may change in a view
_RIDGE = 0.01  # square of what marks show against what the motion may be
_PATCH = 13  # grey pixels, side of what is compared with the looks at the answer
_NEW = 0.1  # share of what is seen that goes into these looks, for the light may change
_SHADE, _LOOKS, _CONTRAST = 20.0, 8.0, 0.6  # grey levels, and of the patch's contrast
_DOUBTS = 2  # views in a row that speak against a point until it is lost
# Grey pixels a view that cannot be seen from the marks; more where bare and shiny things may slip.
_CREEP, _SLIP = 0.05, 0.2
_UNSURE = 2.0  # grey pixels, standard error in a view with which a point is lost


@dataclass(frozen=True, eq=False)
class Track:
    """A point on its way.

    Attributes:
        point: as it was answered.
        place: (2,) where it is now, pixels of the grey picture with integers at their centres.
        scale: pixels of the picture to one of the grey one.
        depth: metres, infinite where not known.
        drift: how far it may be off by now, pixels of the picture.
        marks: what it is carried by.
        looks: (13, 13) float32 grey levels around it as they were at the answer.
        found: how many marks there were when they were last looked for.
        turn: by which the surroundings have been turned and scaled since, as a complex number.
        doubts: how many views in a row speak against it.
        rested: how many views ago marks were last looked for.
    """

    point: ImagePoint
    place: Places
    scale: int
    depth: float
    drift: float
    marks: Marks
    looks: NDArray[np.float32]
    found: int
    turn: complex = 1.0
    doubts: int = 0
    rested: int = 0

    @property
    def pixel(self) -> tuple[float, float]:
        """(u, v) as an `ImagePoint` has it."""
        u, v = ((float(c) + 0.5) * self.scale - 0.5 for c in self.place)
        return from_centred(u, v)


def anchored(points: Sequence[ImagePoint], view: View) -> list[Track]:
    """Tracks that begin where a model pointed in this view."""
    count = _marks_each(len(points))
    return [_anchored(point, view, count) for point in points]


def _marks_each(tracks: int) -> int:
    return max(_FEWEST, min(_MARKS, _IN_ALL // max(tracks, 1)))


def _anchored(point: ImagePoint, view: View, count: int) -> Track:
    wanted = (np.array(centred(point.u, point.v)) + 0.5) / view.scale - 0.5
    height, width = view.grey.shape
    place: Places = np.clip(wanted, 0, (width - 1, height - 1)).astype(np.float32)
    depth = float(view.middle_depths(place[None])[0])
    marks = marks_around(view, place, depth, count)
    return Track(point, place, view.scale, depth, 0.0, marks, _looks(view, place, 1.0), len(marks))


def _looks(view: View, place: Places, turn: complex) -> NDArray[np.float32]:
    """(13, 13) grey levels around a place, turned and scaled back."""
    c, s = turn.real, turn.imag
    middle = _PATCH // 2
    x, y = float(place[0]), float(place[1])
    to_view = np.array([[c, -s, x - middle * (c - s)], [s, c, y - middle * (s + c)]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(
        view.grey, to_view, (_PATCH, _PATCH), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(patch, np.float32)


def carry(tracks: Sequence[Track], before: View, after: View) -> list[Track | None]:
    """Each track in the next view; None where it is lost."""
    if not tracks or before.grey.shape != after.grey.shape:
        return [None] * len(tracks)
    marks = _followed(tracks, before, after)
    places = np.stack([track.place for track in tracks])
    depths = np.array([track.depth for track in tracks])
    motion = _motion(tracks, marks, places, depths, before, after)
    places = (places + motion.shift).astype(np.float32)
    turns = np.array([track.turn for track in tracks]) * (1 + motion.turn)
    looks = np.stack(
        [_looks(after, place, turn) for place, turn in zip(places, turns, strict=True)]
    )
    depths, fits, told = _depths_now(depths, marks, after, places)
    # A shadow changes the looks of a place, what comes before it the depth as well.
    fits &= told | _same_looks(np.stack([track.looks for track in tracks]), looks)
    lost = ~motion.known | (motion.doubt > _UNSURE) | ~after.contains(places)
    creep = np.where(np.isfinite(depths), _CREEP, _SLIP)
    count = _marks_each(len(tracks))
    return [
        None
        if lost[i]
        else _carried(
            track,
            after,
            count,
            place=places[i],
            depth=float(depths[i]),
            drift=track.drift + track.scale * (float(creep[i]) + float(motion.doubt[i])),
            marks=motion.marks_of(i, marks),
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
    marks: Marks,
    looks: NDArray[np.float32] | None,
    turn: complex,
) -> Track | None:
    """A track in the next view. looks: None where something speaks against it."""
    doubts = track.doubts + 1 if looks is None else 0
    if doubts >= _DOUBTS:
        return None
    found, rested = track.found, track.rested + 1
    few = len(marks) < _MANY_LEFT * found or (len(marks) <= LEAST and rested > _REST)
    if few and looks is not None:
        marks = marks_around(view, place, depth, count)
        found, rested = len(marks), 0
    known = track.looks if looks is None else track.looks + _NEW * (looks - track.looks)
    return Track(
        track.point, place, track.scale, depth, drift, marks, known, found, turn, doubts, rested
    )


@dataclass(frozen=True, eq=False)
class _Followed:
    """Of T tracks with up to K marks each.

    was, now: (T, K, 2) places. normals: (T, K, 2) and own: (T, K), as marks have them. used:
    (T, K) whether there is one that was found again, and whose depth has changed as at most of
    them. before, after: (T, K) depths, infinite where not known.
    """

    was: Places
    now: Places
    normals: Places
    own: Mask
    used: Mask
    before: Depths
    after: Depths

    @property
    def outline(self) -> Mask:
        """(T, K) whether it is on an outline."""
        return np.asarray(self.normals.any(-1))

    @property
    def known(self) -> Mask:
        """(T, K) whether it is used and both depths are known."""
        return self.used & np.isfinite(self.before) & np.isfinite(self.after)

    @property
    def change(self) -> Depths:
        """(T, K) of the depths; 0 where that is not known."""
        known = self.known
        return np.where(known, self.after, 0) - np.where(known, self.before, 0)


def _followed(tracks: Sequence[Track], before: View, after: View) -> _Followed:
    """The marks of tracks in the next view."""
    most = max(max(len(track.marks) for track in tracks), 1)
    shape = (len(tracks), most)
    was, normals = np.zeros((2, *shape, 2), np.float32)
    own, there = np.zeros((2, *shape), bool)
    for i, track in enumerate(tracks):
        number = len(track.marks)
        was[i, :number], normals[i, :number] = track.marks.places, track.marks.normals
        own[i, :number], there[i, :number] = track.marks.own, True
    now, used = was.copy(), there.copy()
    now[there], used[there] = _follow(was[there], normals[there], before, after)
    marks = _Followed(
        was,
        now,
        normals,
        own,
        used,
        before.depths(was.reshape(-1, 2))[:, 0].reshape(shape),
        after.depths(now.reshape(-1, 2))[:, 0].reshape(shape),
    )
    known, change = marks.known, marks.change
    off = np.abs(change - _medians(change, known)[:, None])
    allowed = tolerance(np.where(known, marks.before, 1))
    same = (off < allowed) & (np.abs(change) < _LEAP * allowed)
    return replace(marks, used=used & (~known | same))


def _follow(places: Places, normals: Places, before: View, after: View) -> tuple[Places, Mask]:
    """(N, 2) where marks are now, and whether they come back to where they were."""
    if not len(places):
        return places, np.zeros(0, bool)
    there, seen = _flow(before, after, places)
    back, again = _flow(after, before, there)
    off = _lengths(back - places, normals)
    found = seen & again & (off < _BACK) & after.contains(there)
    return np.where(found[:, None], there, places).astype(np.float32), found


def _flow(before: View, after: View, places: Places) -> tuple[Places, Mask]:
    there, seen, _ = cv2.calcOpticalFlowPyrLK(
        before.grey,
        after.grey,
        places,
        np.zeros_like(places),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_STOP,
    )
    return np.asarray(there, np.float32), np.asarray(seen).ravel() > 0


def _lengths(vectors: NDArray[np.floating], normals: Places) -> NDArray[np.floating]:
    """(...) of vectors (..., 2): along the normal where a mark has one."""
    along = np.abs((vectors * normals).sum(-1))
    return np.where(normals.any(-1), along, np.linalg.norm(vectors, axis=-1))


def _medians(values: NDArray[np.floating], wanted: Mask) -> NDArray[np.float64]:
    """(T,) of those in (T, K) that are wanted; 0 where none is."""
    ordered = np.sort(np.where(wanted, values, np.inf), axis=1)
    number = wanted.sum(1)
    middle = ordered[np.arange(len(values)), np.maximum(number - 1, 0) // 2]
    return np.where(number > 0, middle, 0.0)


def _depths_now(
    depths: Depths, marks: _Followed, view: View, places: Places
) -> tuple[Depths, Mask, Mask]:
    """(T,) metres at the places, whether these are what the marks' change lets expect, and whether
    there is a reading that says so."""
    expected = depths + _medians(marks.change, marks.known)
    seen = view.middle_depths(places)
    both = np.isfinite(seen) & np.isfinite(expected)
    off = np.abs(np.where(both, seen, 0) - np.where(both, expected, 0))
    fits = off < tolerance(np.where(both, expected, 1))
    return np.where(np.isfinite(seen) & fits, seen, expected), fits, both & fits


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

    shift: (T, 2) of the points. turn: (T,) complex, what is added to 1 by turning and scaling.
    off: (T, K) pixels by which marks are off this motion. kept: (T, K) which of them agree.
    settled: (T, K, 2) where they are; those on outlines are only seen across these. doubt: (T,)
    pixels, standard error of the shift. known: (T,) whether there is enough to tell it by.
    """

    shift: NDArray[np.float64]
    turn: NDArray[np.complex128]
    off: NDArray[np.float64]
    kept: Mask
    settled: Places
    doubt: NDArray[np.float64]
    known: Mask

    def marks_of(self, track: int, marks: _Followed) -> Marks:
        """Those of a track that are kept, where they are now."""
        kept = self.kept[track]
        turn = 1 + self.turn[track]
        c, s = turn.real / abs(turn), turn.imag / abs(turn)
        normals = marks.normals[track, kept] @ np.array([[c, s], [-s, c]], np.float32)
        return Marks(self.settled[track, kept], normals, marks.own[track, kept])


def _motion(
    tracks: Sequence[Track],
    marks: _Followed,
    places: Places,
    depths: Depths,
    before: View,
    after: View,
) -> _Motion:
    """How points move, by their own marks or as the camera's motion has it.

    A thing with many corners of its own is followed by these. Others stand still as far as their
    own marks do not speak against it: what bare things show, shine and the outlines of round
    forms, moves over them as the camera moves.
    """
    design, distance = _design(marks, places, depths)
    near = marks.used / (1 + distance) * np.where(marks.own, 1.0, _ELSEWHERE)
    alone = _fitted(marks, design, near)
    outline = marks.outline
    deep = marks.used & np.isfinite(marks.before)
    still = deep & ~outline
    camera = find_camera_motion(
        before, after, marks.was[still], marks.now[still], marks.before[still].astype(np.float64)
    )
    if camera is None:
        return alone
    moved = np.zeros(marks.was.shape)
    rays = before.rays(marks.was[deep])
    seen = after.project(camera.carried(rays, marks.before[deep].astype(np.float64)))
    moved[deep] = seen - marks.was[deep]
    rest = marks.now - marks.was - moved
    across = (rest * marks.normals).sum(-1)
    off = np.where(outline, np.abs(across), np.linalg.norm(rest, axis=-1))
    corners = deep & marks.own & ~outline
    many = corners.sum(1)
    against = np.where(many >= LEAST, _medians(off, corners), _medians(off, deep & outline))
    # What comes before a thing takes few of its marks along.
    mine = marks.own & ~outline
    together = (alone.kept & mine).sum(1) >= _TOGETHER * np.maximum(mine.sum(1), 1)
    together |= ~mine.any(1)
    stands = (many < _TEXTURED) & (against < _ITSELF) | ~together
    stands &= np.isfinite(depths)
    known = np.where(np.isfinite(depths), depths, 1.0)
    points = camera.carried(before.rays(places), known)
    shift = after.project(points) - places
    stands &= np.isfinite(shift).all(1)
    turn = known / points[:, 2] * np.exp(1j * np.arctan2(camera.R[1, 0], camera.R[0, 0])) - 1
    seen_across = np.where(outline[..., None], marks.normals * across[..., None], rest)
    each, pair = stands[:, None], stands[:, None, None]
    return _Motion(
        np.where(each, shift, alone.shift),
        np.where(stands, turn, alone.turn).astype(np.complex128),
        np.where(each, off, alone.off),
        np.where(each, deep & (off < 2 * _OFF), alone.kept),
        np.where(pair, marks.was + moved + seen_across, alone.settled).astype(np.float32),
        np.where(stands, _STILL, alone.doubt),
        stands | alone.known,
    )


def _design(
    marks: _Followed, places: Places, depths: Depths
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(T, K, 2, 6) how marks shift with the point's shift (2), scale, turn and parallax (2), and
    (T, K) how far they are from the point, squared.

    Parallax goes with the mark's inverse depth less the point's; what is nearer grows faster.
    """
    offset = (marks.was - places[:, None]) / _REACH
    known = np.isfinite(marks.before) & np.isfinite(depths)[:, None]
    nearer = np.where(known, depths[:, None], 1) / np.where(known, marks.before, 1)
    parallax = (nearer - 1) / RELATIVE
    design = np.zeros((*nearer.shape, 2, 6))
    x, y = offset[..., 0], offset[..., 1]
    design[..., 0, 0] = design[..., 1, 1] = 1
    design[..., 0, 2], design[..., 1, 2] = x * nearer, y * nearer
    design[..., 0, 3], design[..., 1, 3] = -y, x
    design[..., 0, 4] = design[..., 1, 5] = parallax
    return design, x**2 + y**2 + parallax**2


def _fitted(marks: _Followed, design: NDArray[np.float64], near: NDArray[np.float64]) -> _Motion:
    """Least squares, weighted again and again, so that most of the weight (T, K) agrees."""
    shift = (marks.now - marks.was).astype(np.float64)
    # Of a mark on an outline only what goes across it counts.
    outline = marks.outline
    corner = ~outline[..., None, None]
    rows = np.where(corner, design, 0)
    rows[..., 0, :] += (design * marks.normals[..., None]).sum(-2)
    aim = np.where(corner[..., 0], shift, 0)
    aim[..., 0] += (shift * marks.normals).sum(-1)
    ridge = np.diag([1e-6, 1e-6] + 4 * [_RIDGE])
    solution = np.zeros((len(shift), 6))
    for axis in range(2):
        solution[:, axis] = _medians(shift[..., axis], (near > 0) & ~outline)
    for _ in range(_ROUNDS):
        off = np.linalg.norm(aim - (rows @ solution[:, None, :, None])[..., 0], axis=-1)
        weight = near / (1 + (off / _OFF) ** 2) ** 2
        weight /= np.maximum(weight.sum(1), 1e-9)[:, None]
        weighted = (rows * weight[..., None, None]).reshape(len(shift), -1, 6).swapaxes(1, 2)
        information = weighted @ rows.reshape(len(shift), -1, 6) + ridge
        against = weighted @ aim.reshape(len(shift), -1, 1)
        solution = np.linalg.solve(information, against)[..., 0]
    moved = (design @ solution[:, None, :, None])[..., 0]
    rest = shift - moved
    across = (rest * marks.normals).sum(-1)
    off = np.where(outline, np.abs(across), np.linalg.norm(rest, axis=-1))
    kept = marks.used & (off < 2 * _OFF)
    seen = np.where(outline[..., None], marks.normals * across[..., None], rest)
    noise = (weight * off**2).sum(1) + 1e-4
    spread = np.linalg.inv(information)[:, :2, :2].trace(axis1=1, axis2=2)
    return _Motion(
        solution[:, :2],
        np.asarray(solution[:, 2] + 1j * solution[:, 3], np.complex128) / _REACH,
        off,
        kept,
        (marks.was + moved + seen).astype(np.float32),
        np.sqrt(noise * spread / 2 / np.maximum(kept.sum(1) - 1, 1)),
        kept.sum(1) >= LEAST,
    )
