# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whose points are on their way, by which ids, and what becomes of them when an answer comes.

An answer is about a view of some time ago. It is carried forward through the views since then, and
takes the place of what was tracked until then; a point that was known before keeps its id.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from molmo_ros.grounding.tracking.carrying import Track, anchored, carry
from molmo_ros.grounding.tracking.view import View, ViewHistory
from molmo_ros.pointing.points import ImagePoint

_NEAR = 0.05  # of the picture's diagonal: so far off it is the same point, which is tracked
_NEAR_LOST = 0.25  # likewise, of a point that was lost and may have gone anywhere
_REMEMBERED_NS = 5_000_000_000  # how long the id of a lost point is kept for it

Pixel = tuple[float, float]


@dataclass(frozen=True)
class Tracked:
    """A point where it is in the newest view.

    Attributes:
        id: the same for as long as the point is followed or found again; from 1.
        point: where it is now; label and confidence are those of its answer, and its spread is
            widened by the drift.
        drift: how far carrying it may have moved it off, pixels.
        answered: whether an answer has put it there since the last view.
    """

    id: int
    point: ImagePoint
    drift: float
    answered: bool


@dataclass(frozen=True, eq=False)
class _Known:
    """A point with an id. trail: where it was, by the stamps of views. lost: since when, if so."""

    id: int
    track: Track
    trail: Mapping[int, Pixel] = field(default_factory=dict)
    lost: int | None = None
    answered: bool = True

    def at(self, stamp: int) -> Pixel:
        """Where it was at that time, or the last that is known of it."""
        return self.trail.get(stamp, self.track.pixel)


class PointTracker:
    """Follows the points of several questions through the views of one camera.

    memory: bytes of views that may be kept while a question is being answered. Safe to use from any
    thread: views come from one, answers from another. lock: who keeps something beside the points
    holds it to read both as they belong together.
    """

    def __init__(self, memory: int = 64 << 20) -> None:
        self._history = ViewHistory(memory)
        self._newest: View | None = None
        self._asked: int | None = None
        self._known: dict[Hashable, tuple[_Known, ...]] = {}
        self._ids = count(1)
        self.lock = threading.RLock()

    def add_view(self, view: View) -> dict[Hashable, tuple[Tracked, ...]]:
        """Carry all points to the next view; where they are in it, by question.

        A view that is older than the last means that time went back: everything is forgotten.
        """
        with self.lock:
            if self._newest is not None and view.stamp <= self._newest.stamp:
                self._history.clear()
                self._known = dict.fromkeys(self._known, ())
                self._newest = self._asked = None
            if self._newest is not None:
                self._carry_all(self._newest, view)
            self._newest = view
            if self._asked is None:
                self._history.clear()
            self._history.add(view)
            told = {key: _told(known) for key, known in self._known.items()}
            self._known = {
                key: tuple(replace(one, answered=False) for one in known)
                for key, known in self._known.items()
            }
            return told

    def begin(self, stamp: int) -> bool:
        """A question is put about the view of that stamp: all views from it on are kept.

        False where that view is not kept any more. One at a time: what was kept for an earlier
        question is given up.
        """
        with self.lock:
            if not any(view.stamp == stamp for view in self._history.since(stamp)):
                return False
            self._asked = stamp
            self._history.forget_before(stamp)
            self._known = {
                key: tuple(_trimmed(one, stamp) for one in known)
                for key, known in self._known.items()
            }
            return True

    def end(self) -> None:
        """The answer is there, or will never be: only the newest view is kept."""
        with self.lock:
            self._asked = None

    def answered(
        self,
        key: Hashable,
        stamp: int,
        points: Sequence[ImagePoint],
        then: Callable[[], object] = lambda: None,
    ) -> bool:
        """Take the points of an answer about the view of that stamp in place of those before.

        False where that view is not kept any more, so that nobody knows where they are now. Takes
        the time that carrying them through all views since needs; views go on arriving meanwhile.
        then: called as they take that place, with the lock held.
        """
        with self.lock:
            views = list(self._history.since(stamp))
        if not views or views[0].stamp != stamp:
            return False
        before = views[0]
        tracks: list[Track | None] = list(anchored(points, before))
        trails: list[dict[int, Pixel]] = [{stamp: track.pixel} for track in tracks if track]
        while True:
            for view in views:
                if view.stamp > before.stamp:
                    tracks = _carry_some(tracks, before, view)
                    _mark(trails, tracks, view.stamp)
                    before = view
            with self.lock:
                views = [v for v in self._history.since(stamp) if v.stamp > before.stamp]
                if not views:
                    if self._newest is not before:  # time went back meanwhile
                        return False
                    self._install(key, stamp, points, tracks, trails)
                    then()
                    return True

    def forget(self, key: Hashable) -> None:
        """The question is not asked any more."""
        with self.lock:
            self._known.pop(key, None)

    def _carry_all(self, before: View, after: View) -> None:
        keys = [key for key, known in self._known.items() for one in known if one.lost is None]
        live = [one for known in self._known.values() for one in known if one.lost is None]
        moved = carry([one.track for one in live], before, after)
        carried: dict[Hashable, list[_Known]] = {
            key: [
                one
                for one in known
                if one.lost is not None and after.stamp - one.lost < _REMEMBERED_NS
            ]
            for key, known in self._known.items()
        }
        for key, one, track in zip(keys, live, moved, strict=True):
            moved_one = _moved(one, track, after.stamp)
            if self._asked is None:
                # No answer about an earlier view is awaited.
                moved_one = _trimmed(moved_one, after.stamp)
            carried[key].append(moved_one)
        self._known = {key: tuple(sorted(k, key=lambda o: o.id)) for key, k in carried.items()}

    def _install(
        self,
        key: Hashable,
        stamp: int,
        points: Sequence[ImagePoint],
        tracks: Sequence[Track | None],
        trails: Sequence[Mapping[int, Pixel]],
    ) -> None:
        """Put the carried points in place; called with the lock held."""
        view = self._newest
        assert view is not None
        old = self._known.get(key, ())
        diagonal = math.hypot(*view.grey.shape) * view.scale
        same = _matches(points, old, stamp, diagonal)
        known = []
        for number, (track, trail) in enumerate(zip(tracks, trails, strict=True)):
            before = same.get(number)
            if track is not None:
                number_ = before.id if before is not None else next(self._ids)
                known.append(_Known(number_, track, trail))
            elif before is not None:
                # It cannot be carried from the answer's view; it may be followed from before.
                known.append(before)
        kept = {one.id for one in known}
        for one in old:
            if one.id not in kept:
                known.append(replace(one, lost=one.lost or view.stamp))
        self._known[key] = tuple(known)


def _told(known: Sequence[_Known]) -> tuple[Tracked, ...]:
    return tuple(_tell(one) for one in known if one.lost is None)


def _tell(one: _Known) -> Tracked:
    answered, drift = one.track.point, one.track.drift
    u, v = one.track.pixel
    spread = math.hypot(0.0 if math.isnan(answered.spread) else answered.spread, drift)
    return Tracked(one.id, replace(answered, u=u, v=v, spread=spread), drift, one.answered)


def _moved(one: _Known, track: Track | None, stamp: int) -> _Known:
    if track is None:
        return replace(one, lost=stamp)
    return replace(one, track=track, trail={**one.trail, stamp: track.pixel})


def _trimmed(one: _Known, stamp: int) -> _Known:
    return replace(one, trail={at: pixel for at, pixel in one.trail.items() if at >= stamp})


def _carry_some(tracks: Sequence[Track | None], before: View, after: View) -> list[Track | None]:
    """As `carry`, leaving out those that are lost already."""
    moved = iter(carry([track for track in tracks if track is not None], before, after))
    return [None if track is None else next(moved) for track in tracks]


def _mark(trails: Sequence[dict[int, Pixel]], tracks: Sequence[Track | None], stamp: int) -> None:
    for trail, track in zip(trails, tracks, strict=True):
        if track is not None:
            trail[stamp] = track.pixel


def _matches(
    points: Sequence[ImagePoint], known: Sequence[_Known], stamp: int, diagonal: float
) -> dict[int, _Known]:
    """Which points of an answer are known ones, by number; nearest first, each once.

    Those that are followed come before those that were lost.
    """
    found: dict[int, _Known] = {}
    for lost, reach in (False, _NEAR * diagonal), (True, _NEAR_LOST * diagonal):
        several = [one for one in known if (one.lost is not None) == lost]
        for number, one in _nearest_first(points, several, stamp, reach):
            if number not in found and all(one.id != other.id for other in found.values()):
                found[number] = one
    return found


def _nearest_first(
    points: Sequence[ImagePoint], known: Sequence[_Known], stamp: int, reach: float
) -> Iterator[tuple[int, _Known]]:
    pairs = []
    for number, point in enumerate(points):
        for one in known:
            u, v = one.at(stamp)
            off = math.hypot(point.u - u, point.v - v)
            if off < reach and point.label == one.track.point.label:
                pairs.append((off, number, one))
    for _, number, one in sorted(pairs, key=lambda pair: pair[:2]):
        yield number, one
