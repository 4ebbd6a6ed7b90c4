# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The newest messages of each stream, and which of them belong together.

Nothing here knows rclpy: a message is anything with `header.stamp`. Stamps are nanoseconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from molmo_ros.cameras.message_fields import stamp_ns
from molmo_ros.ros.deadline import ENDLESS, Deadline
from molmo_ros.spatial.time_jump import TimeJump

IMAGE, DEPTH, CAMERA_INFO, DEPTH_CAMERA_INFO = STREAMS = (
    'image',
    'depth',
    'camera_info',
    'depth_camera_info',
)
# What does not change from image to image, so that one of another time does as well.
CALIBRATIONS = (CAMERA_INFO, DEPTH_CAMERA_INFO)

# Messages that arrive this much older than the newest of their stream mean that time went back.
_JUMP_NS = 1_000_000_000
_POLL_S = 0.05
_CALIBRATIONS_KEPT = 10
# Of a stream whose images may be of any age.
_ANY_AGE_S = 1.0
# Seconds, and messages left out, after which a stream has stopped.
PAUSE_S = 2.0
PAUSE_MESSAGES = 5


class NoFrame(Exception):
    """There is no frame to answer about; `stream` names the one that is missing or too old."""

    def __init__(self, stream: str, reason: str) -> None:
        super().__init__(reason)
        self.stream = stream


@dataclass(frozen=True)
class Match:
    """An image and what belongs to it; `missing` says, per stream, why there is none.

    All are messages as they came; depth_camera_info is only needed where depth is not aligned.
    Of calibrations there are all that are kept, the likeliest first: those of the image's time,
    the nearest first, then the others, the newest first.
    """

    image: Any
    depth: Any | None
    camera_info: tuple[Any, ...]
    depth_camera_info: tuple[Any, ...]
    missing: dict[str, str]


@dataclass(frozen=True)
class StreamState:
    """What diagnostics say of a stream. stamp_ns: of the newest message; rate: Hz, NaN unknown.

    quiet: seconds since the last message arrived, NaN if none did.
    """

    received: int
    stamp_ns: int | None
    rate: float
    quiet: float


def kept_seconds(max_age: float, wait: float, slop: float) -> float:
    """Seconds of each stream that may still make a frame: depth comes late over a network."""
    return (max_age or _ANY_AGE_S) + wait + slop


@dataclass(frozen=True, eq=False)
class _Kept:
    """A message, and what is asked of it again and again. size: bytes; camera_infos are small."""

    message: Any
    stamp: int
    size: int


def _kept(message: Any) -> _Kept:
    return _Kept(message, stamp_ns(message), len(getattr(message, 'data', ())))


class _Stream:
    """The messages that are kept of a stream, in the order in which they came."""

    def __init__(self, most: int | None) -> None:
        self.kept: deque[_Kept] = deque(maxlen=most)
        self.newest_ns = 0  # of all of these
        self.size = 0  # bytes
        self.arrivals: deque[float] = deque(maxlen=30)
        self.received = 0
        self.left_over = False  # whether something of before the last jump was heard after it

    def add(self, new: _Kept) -> None:
        if not self.kept or new.stamp > self.newest_ns:
            self.newest_ns = new.stamp
        if len(self.kept) == self.kept.maxlen:
            self._drop_first()
        self.kept.append(new)
        self.size += new.size

    def arrive(self, now: float) -> None:
        """Note when a message came; one after a long pause begins another rate."""
        came = self.arrivals
        if len(came) > 1:
            usual = (came[-1] - came[0]) / (len(came) - 1)
            if now - came[-1] > max(PAUSE_S, PAUSE_MESSAGES * usual):
                came.clear()
        self.arrivals.append(now)
        self.received += 1

    def expire(self, keep_ns: int, memory: int) -> None:
        """Drop what is too old or too much, and one that the last has the stamp of."""
        if len(self.kept) > 1 and self.kept[-2].stamp == self.kept[-1].stamp:
            self.size -= self.kept[-2].size
            del self.kept[-2]
        oldest_ns = self.newest_ns - keep_ns
        while len(self.kept) > 1 and (self.size > memory or self.kept[0].stamp < oldest_ns):
            self._drop_first()

    def forget(self, last: bool) -> None:
        """Drop all, or all but the last."""
        remaining = list(self.kept)[-1:] if last else []
        self.kept.clear()
        self.size = 0
        for one in remaining:
            self.add(one)
        self.arrivals.clear()
        self.left_over = False

    def _drop_first(self) -> None:
        first = self.kept.popleft()
        self.size -= first.size
        if first.stamp == self.newest_ns:
            self.newest_ns = max((one.stamp for one in self.kept), default=0)


class FrameStore:
    """Keeps the newest messages of each stream, undecoded. Safe to use from any thread.

    keep: seconds by which an image may be older than the newest of its stream; of calibrations the
    last few are kept, whatever their age. memory: bytes that a stream may take, oldest messages
    first; the newest message always stays. on_jump: called when messages show that time has gone
    back, for whoever keeps things by time.
    """

    def __init__(
        self,
        keep: float = 2.0,
        memory: int = 256 << 20,
        on_jump: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_jump = on_jump
        self._keep_ns = int(keep * 1e9)
        self._memory = memory
        self._streams = {
            name: _Stream(_CALIBRATIONS_KEPT if name in CALIBRATIONS else None) for name in STREAMS
        }
        self._changed = threading.Condition()
        self._jump: TimeJump | None = None
        self._jumps = 0
        self._present = (0, 0.0)  # stamp of the last image or depth, and when that came

    def add(self, stream: str, message: Any) -> None:
        """Take a message; one that is far older than its stream's newest forgets all the others.

        What is left over from before a jump that was told by `clear` is not taken.
        """
        new = _kept(message)
        # A calibration may be stamped 0, or with the time the camera was started at.
        timed = stream not in CALIBRATIONS
        with self._changed:
            into = self._streams[stream]
            if timed and self._jump is not None and self._jump.left_over(new.stamp):
                into.left_over = True
                return
            jumped = timed and bool(into.kept) and new.stamp < into.newest_ns - _JUMP_NS
            if jumped:
                self._forget()
            into.add(new)
            now = time.monotonic()
            if timed:
                into.expire(self._keep_ns, self._memory)
                self._present = new.stamp, now
            into.arrive(now)
            self._changed.notify_all()
        if jumped:
            self._on_jump()

    def add_new(self, stream: str, message: Any) -> None:
        """Take a message that may have come by another way, unless one of its stamp is kept."""
        with self._changed:
            known = stamp_ns(message) in [one.stamp for one in self._streams[stream].kept]
        if not known:
            self.add(stream, message)

    def clear(self, jump: TimeJump | None = None) -> None:
        """Forget every message but the last calibrations, as when time jumps back."""
        with self._changed:
            self._jump = jump
            self._forget()

    def present_ns(self) -> int:
        """What time it is by the last image or depth, and how long ago that came."""
        with self._changed:
            stamp, arrived = self._present
        return stamp + int((time.monotonic() - arrived) * 1e9)

    @property
    def jumps(self) -> int:
        """How often all was forgotten."""
        return self._jumps

    def _forget(self) -> None:
        self._jumps += 1
        for name, stream in self._streams.items():
            # One that was published once will not come again.
            stream.forget(last=name in CALIBRATIONS)

    @property
    def size(self) -> int:
        """Bytes of the messages that are kept."""
        with self._changed:
            return sum(stream.size for stream in self._streams.values())

    def only_left_over(self, stream: str) -> bool:
        """Whether all that has come of a stream since time jumped back is not taken."""
        with self._changed:
            of = self._streams[stream]
            return of.left_over and not of.kept

    def state(self, stream: str) -> StreamState:
        """How many messages came, when, and how often."""
        with self._changed:
            of = self._streams[stream]
            arrivals = of.arrivals
            span = arrivals[-1] - arrivals[0] if len(arrivals) > 1 else 0.0
            rate = (len(arrivals) - 1) / span if span > 0 else float('nan')
            newest = of.newest_ns if of.kept else None
            quiet = time.monotonic() - arrivals[-1] if arrivals else float('nan')
            return StreamState(of.received, newest, rate, quiet)

    def newest(
        self,
        now_ns: Callable[[], int],
        *,
        slop: float,
        max_age: float,
        expected: Collection[str],
        wait: float,
        deadline: Deadline = ENDLESS,
    ) -> Match:
        """The newest image with the depth that belongs to it, and the calibrations there are.

        slop: seconds by which stamps that belong together may differ. max_age: seconds between
        the image's stamp and now_ns(), 0 for any. expected: streams worth waiting for, because
        somebody publishes them. wait: seconds to wait for a frame that has all of these, as far as
        the deadline allows; then the newest image does with what there is. Raises NoFrame.
        """
        waiting = Deadline.after(deadline.within(wait), deadline.should_stop)
        slop_ns, max_age_ns = int(slop * 1e9), int(max_age * 1e9)
        with self._changed:
            self._keep_ns = int(kept_seconds(max_age, wait, slop) * 1e9)
            while True:
                match, problem = self._best(now_ns(), slop_ns, max_age_ns)
                if match is not None and not set(expected) & set(match.missing):
                    return match
                if waiting.passed or waiting.should_stop():
                    break
                self._changed.wait(waiting.within(_POLL_S))
            if match is None:
                raise NoFrame(IMAGE, problem)
            return match

    def _best(self, now_ns: int, slop_ns: int, max_age_ns: int) -> tuple[Match | None, str]:
        """The fresh image with most companions, the newest of those; or what is wrong."""
        kept = self._streams[IMAGE].kept
        images = sorted(kept, key=lambda one: one.stamp, reverse=True)
        if not images:
            return None, self._none_of(IMAGE)
        age_ns = now_ns - images[0].stamp
        if max_age_ns and abs(age_ns) > max_age_ns:
            return None, _stale(age_ns * 1e-9, max_age_ns * 1e-9)
        # An older one cannot have what no message has come of.
        silent = sum(
            not self._streams[stream].kept for stream in (DEPTH, CAMERA_INFO, DEPTH_CAMERA_INFO)
        )
        best = None
        for image in images:
            if max_age_ns and now_ns - image.stamp > max_age_ns:
                break
            match = self._match(image, slop_ns)
            if best is None or len(match.missing) < len(best.missing):
                best = match
            if len(best.missing) == silent:
                break
        return best, ''

    def _match(self, image: _Kept, slop_ns: int) -> Match:
        missing: dict[str, str] = {}
        depth = self._nearest(DEPTH, image.stamp, slop_ns, missing)
        depth_stamp = (depth or image).stamp
        return Match(
            image.message,
            None if depth is None else depth.message,
            self._likeliest(CAMERA_INFO, image.stamp, slop_ns, missing),
            self._likeliest(DEPTH_CAMERA_INFO, depth_stamp, slop_ns, missing),
            missing,
        )

    def _none_of(self, stream: str) -> str:
        since = '' if self._jump is None else ' since time jumped back'
        return f'no {stream} has arrived{since}'

    def _likeliest(
        self, stream: str, stamp: int, slop_ns: int, missing: dict[str, str]
    ) -> tuple[Any, ...]:
        kept = self._streams[stream].kept
        if not kept:
            missing[stream] = f'no {stream} has arrived'

        def offset_ns(one: _Kept) -> int:
            return abs(one.stamp - stamp)

        within = [one for one in kept if offset_ns(one) <= slop_ns]
        others = [one for one in reversed(kept) if offset_ns(one) > slop_ns]
        return tuple(one.message for one in (*sorted(within, key=offset_ns), *others))

    def _nearest(
        self, stream: str, stamp: int, slop_ns: int, missing: dict[str, str]
    ) -> _Kept | None:
        kept = self._streams[stream].kept
        if not kept:
            missing[stream] = self._none_of(stream)
            return None
        nearest = min(kept, key=lambda one: abs(one.stamp - stamp))
        offset_ns = nearest.stamp - stamp
        if abs(offset_ns) <= slop_ns:
            return nearest
        missing[stream] = (
            f"the nearest {stream} is {offset_ns * 1e-9:+.3f} s off the image's stamp, more than "
            f'sync_slop ({slop_ns * 1e-9:.3f} s)'
        )
        return None


def _stale(age: float, max_age: float) -> str:
    if age < 0:
        return (
            f'the newest image is stamped {-age:.3f} s in the future: set use_sim_time alike for '
            "the camera and this node, or synchronise the machines' clocks"
        )
    return (
        f'the newest image is {age:.3f} s old, more than max_frame_age ({max_age:.3f} s): look '
        'whether the camera still publishes and whether use_sim_time is set alike everywhere'
    )
