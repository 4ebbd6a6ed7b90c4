# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where one frame stands in another at a stamp, from what was said on /tf.

As tf2 has it: linear interpolation of the position and slerp of the rotation between the two
samples around the stamp, no extrapolation, stamp 0 for the latest common time. Other than in tf2, a
frame whose samples go on at an earlier time is followed there, though nobody says that time jumped.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from molmo_ros.errors import shortened
from molmo_ros.spatial.frames import frame_name
from molmo_ros.spatial.time_jump import LEFT_OVER, TimeJump

_POLL_S = 0.01
# Samples in a row that are older than what is kept, and the nanoseconds that they go through: less
# may be stragglers, or of a second publisher whose clock is behind.
_RUN = 10
_RUN_NS = 1_000_000_000
_MOST_NAMED = 20
_RESTARTED = (
    'goes on at an earlier time, and is followed there: a recording has started again, or a clock '
    'was set back; if not, two publish it'
)


class NoTransform(Exception):
    """The transform is not to be had; the text says which, and why."""


class Transforms(Protocol):
    """A source of transforms."""

    def look_up(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """The (4, 4) pose of frame `source` in frame `target`, at once or not at all.

        stamp_ns: nanoseconds of ROS time; 0: the latest for which all of it is known.
        Raises NoTransform.
        """
        ...

    def clear(self, jump: TimeJump | None = None) -> None:
        """Forget what moves, as when time jumps back; then also what is left over from before."""
        ...

    def parents(self) -> dict[str, str]:
        """Every frame on /tf that has a parent, and which."""
        ...


def wait_for_transform(
    transforms: Transforms,
    target: str,
    source: str,
    stamp_ns: int,
    timeout: float,
    should_stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.float64]:
    """`look_up`, tried again for `timeout` seconds of wall time (a paused /clock cannot hold it).

    Blocks the calling thread; another one has to be serving /tf. Raises NoTransform.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return transforms.look_up(target, source, stamp_ns)
        except NoTransform:
            if time.monotonic() >= deadline or should_stop():
                raise
        time.sleep(_POLL_S)


def poses_in(transforms: Transforms, target: str, stamp_ns: int) -> dict[str, NDArray[np.float64]]:
    """(4, 4) poses in `target` of all frames that are connected with it then, by name."""
    parents = transforms.parents()
    poses: dict[str, NDArray[np.float64]] = {}
    for frame in sorted({*parents, *parents.values()}):
        with suppress(NoTransform):
            poses[frame] = transforms.look_up(target, frame, stamp_ns)
    return poses


class TransformTree:
    """Frames over time. Thread-safe; no ROS in it but the fields of a geometry_msgs/Transform.

    cache_time: seconds that are kept. log: told, once for each frame, why its samples are refused.
    """

    def __init__(
        self, cache_time: float, log: Callable[[str], object] = lambda reason: None
    ) -> None:
        from pytransform3d.transform_manager import TemporalTransformManager

        self._log = log
        self._said: set[tuple[str, str]] = set()
        self._jump: TimeJump | None = None
        self._cache_ns = int(cache_time * 1e9)
        self._lock = threading.Lock()
        self._graph = TemporalTransformManager()
        self._edges: dict[str, tuple[str, _Series]] = {}  # child: (parent, its samples)

    def add(self, parent: str, child: str, stamp_ns: int, transform: Any, *, static: bool) -> None:
        """Take a sample; one that is no pose, or hangs a frame on itself, is refused."""
        parent, child = frame_name(parent), frame_name(child)
        translation, rotation = transform.translation, transform.rotation
        t = np.array([translation.x, translation.y, translation.z])
        q = _unit(np.array([rotation.x, rotation.y, rotation.z, rotation.w]))
        if parent == child:
            return self._refuse(child, 'it is its own parent')
        if not np.all(np.isfinite(t)):
            return self._refuse(child, 'its position is NaN or Inf')
        if q is None:
            return self._refuse(child, 'its quaternion is zero, NaN or Inf')
        with self._lock:
            if not static and self._jump is not None and self._jump.left_over(stamp_ns):
                if child in self._edges:
                    self._edges[child][1].left_over = True
                return
            restarted = self._series(parent, child).add(stamp_ns, t, q, static)
        if restarted:
            self._say(child, _RESTARTED)

    def _series(self, parent: str, child: str) -> _Series:
        known = self._edges.get(child)
        if known is None or known[0] != parent:
            if known is not None:
                self._graph.remove_transform(child, known[0])
            self._edges[child] = known = (parent, _Series(self._cache_ns))
            self._graph.add_transform(child, parent, _time_varying(known[1]))
        return known[1]

    def _refuse(self, child: str, reason: str) -> None:
        self._say(child, f'is not used: {reason}')

    def _say(self, child: str, what: str) -> None:
        with self._lock:
            if (child, what) in self._said:
                return
            self._said.add((child, what))
        self._log(f"the transform of '{child}' on /tf {what}")

    def clear(self, jump: TimeJump | None = None) -> None:
        """See Transforms."""
        with self._lock:
            self._jump = jump
            for _, series in self._edges.values():
                series.clear()

    def parents(self) -> dict[str, str]:
        """See Transforms."""
        with self._lock:
            return {child: parent for child, (parent, _) in self._edges.items()}

    def look_up(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        """See Transforms."""
        target, source = frame_name(target), frame_name(source)
        with self._lock:
            path = self._path(target, source)
            if stamp_ns == 0:
                moving = [edge.newest for edge in path if not edge.static]
                if None in moving:
                    raise NoTransform(
                        f"no transform from '{shortened(source)}' to '{shortened(target)}' since "
                        'time began'
                    )
                stamp_ns = min((stamp for stamp in moving if stamp is not None), default=0)
            try:
                pose = self._graph.get_transform_at_time(source, target, stamp_ns)
            except KeyError as error:
                known = frames_there(self._graph.nodes)
                pair = f"'{shortened(source)}' and '{shortened(target)}'"
                reason = f'{pair} are not connected {known}'
                raise NoTransform(reason) from error
            except ValueError as error:
                raise NoTransform(
                    f"from '{shortened(source)}' to '{shortened(target)}': {error}"
                ) from error
            return np.asarray(pose, np.float64)

    def _path(self, target: str, source: str) -> list[_Series]:
        for frame in (target, source):
            if frame not in self._graph.nodes:
                raise NoTransform(unknown_frame(frame, self._graph.nodes))
        up, down = self._ancestry(source), self._ancestry(target)
        return [self._edges[child][1] for child in {*up} ^ {*down}]

    def _ancestry(self, frame: str) -> list[str]:
        """The frames from `frame` up that have a parent."""
        frames: list[str] = []
        while frame in self._edges and frame not in frames:
            frames.append(frame)
            frame = self._edges[frame][0]
        return frames


_Pose = tuple[NDArray[np.float64], NDArray[np.float64]]  # position and unit quaternion


class _Series:
    """The samples of one edge of the tree, by stamp."""

    def __init__(self, cache_ns: int) -> None:
        self.static = False
        self.left_over = False  # whether something of before the last jump was heard after it
        self._cache_ns = cache_ns
        self._stamps: list[int] = []
        self._poses: list[_Pose] = []
        self._behind: list[tuple[int, _Pose]] = []  # too old to be kept, with none between them

    @property
    def newest(self) -> int | None:
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp: int, t: NDArray[np.float64], q: NDArray[np.float64], static: bool) -> bool:
        """Take a sample; whether time has gone back with it, so that the later ones are gone."""
        if static or self.static:
            self._stamps, self._poses = [stamp], [(t, q)]
            self.static = static
            return False
        if self._stamps and stamp < self._stamps[-1] - self._cache_ns:
            return self._fall_behind(stamp, (t, q))
        self._behind = []
        self._insert(stamp, t, q)
        return False

    def _fall_behind(self, stamp: int, pose: _Pose) -> bool:
        run = self._behind
        if run and stamp == run[-1][0]:
            return False  # no time goes by there
        if run and stamp < run[-1][0]:
            run.clear()
        run.append((stamp, pose))
        if len(run) < _RUN or stamp < run[0][0] + _RUN_NS:
            return False
        self.clear()
        for earlier, (t, q) in run:
            self._insert(earlier, t, q)
        return True

    def _insert(self, stamp: int, t: NDArray[np.float64], q: NDArray[np.float64]) -> None:
        at = bisect.bisect_right(self._stamps, stamp)
        same = self._poses[bisect.bisect_left(self._stamps, stamp) : at]
        if any(np.array_equal(t, t0) and np.array_equal(q, q0) for t0, q0 in same):
            return
        self._stamps.insert(at, stamp)
        self._poses.insert(at, (t, q))
        expired = bisect.bisect_left(self._stamps, self._stamps[-1] - self._cache_ns)
        del self._stamps[:expired], self._poses[:expired]

    def clear(self) -> None:
        if not self.static:
            self._stamps, self._poses, self._behind = [], [], []
            self.left_over = False

    def at(self, stamp: int) -> NDArray[np.float64]:
        """The (4, 4) pose at a stamp. Raises ValueError outside of the samples."""
        stamps = self._stamps
        if not stamps:
            but = f' but a sample that is not used: {LEFT_OVER}' if self.left_over else ''
            raise ValueError(f'nothing is known since time jumped back{but}')
        if self.static:
            return rigid_matrix(*self._poses[0])
        if stamp > stamps[-1]:
            late = (stamp - stamps[-1]) * 1e-9
            raise ValueError(f'the newest sample on /tf is {late:.3f} s before the stamp asked for')
        if stamp < stamps[0]:
            early = (stamps[0] - stamp) * 1e-9
            raise ValueError(f'the oldest sample kept is {early:.3f} s after the stamp asked for')
        if stamp == stamps[-1]:
            return rigid_matrix(*self._poses[-1])
        if stamp == stamps[0]:
            return rigid_matrix(*self._poses[0])
        after = bisect.bisect_right(stamps, stamp)
        (t0, q0), (t1, q1) = self._poses[after - 1], self._poses[after]
        share = (stamp - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        return rigid_matrix(t0 + share * (t1 - t0), _slerp(q0, q1, share))


def unknown_frame(frame: str, known: Iterable[Any]) -> str:
    """What to say of a frame that is not among those known."""
    return f"frame '{shortened(frame)}' is not on /tf {frames_there(known)}"


def frames_there(known: Iterable[Any]) -> str:
    """The frames known, or the first of them, in brackets, to end a sentence with."""
    names = [shortened(name) for name in sorted(map(str, known))]
    more = len(names) - _MOST_NAMED
    told = [*names[:_MOST_NAMED], f'and {more} more'] if more > 0 else names
    return f'(frames there: {", ".join(told) or "none"})'


def _unit(q: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """A quaternion (4,) of length 1; None where it has no direction."""
    largest = np.abs(q).max()
    if not np.isfinite(largest) or largest == 0:
        return None
    q = q / largest  # squares of large and of tiny numbers do not fit
    return np.asarray(q / np.linalg.norm(q))


def _time_varying(series: _Series) -> Any:
    from pytransform3d.transform_manager import TimeVaryingTransform

    class Samples(TimeVaryingTransform):
        def as_matrix(self, query_time: Any) -> NDArray[np.float64]:
            return series.at(query_time)

        def check_transforms(self) -> Samples:
            return self

    return Samples()


def _slerp(q0: NDArray[np.float64], q1: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    cosine = float(q0 @ q1)
    if cosine < 0:
        q1, cosine = -q1, -cosine
    angle = float(np.arccos(min(cosine, 1.0)))
    if angle < 1e-9:
        return q0
    q = np.sin((1 - share) * angle) * q0 + np.sin(share * angle) * q1
    return np.asarray(q / np.linalg.norm(q))


def pose_matrix(transform: Any) -> NDArray[np.float64]:
    """The (4, 4) matrix of a geometry_msgs/Transform. Raises NoTransform where it is no pose."""
    t, q = transform.translation, transform.rotation
    position = np.array([t.x, t.y, t.z])
    rotation = _unit(np.array([q.x, q.y, q.z, q.w]))
    if rotation is None or not np.all(np.isfinite(position)):
        raise NoTransform('what /tf holds is no pose: its numbers are zero, NaN or Inf')
    return rigid_matrix(position, rotation)


def rigid_matrix(t: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (4, 4) matrix of a position (3,) and a unit quaternion (4,) x, y, z, w."""
    x, y, z, w = q
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, 3] = t
    return T
