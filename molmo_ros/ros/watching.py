# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Standing questions at work: one thread follows the camera, another asks the engine.

The points of an answer are about an image that is as old as the answer took. They are carried to
the newest image when it comes, and from image to image from then on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

import numpy as np

from molmo_ros.engine import Answer, InvalidImage, InvalidQuestion, Question, Stopped
from molmo_ros.errors import shortened
from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundedPoint, ground
from molmo_ros.grounding.picking import MOVED, Pick, pick_near
from molmo_ros.grounding.tracking import FollowedPicks, PointTracker, Tracked, view_of
from molmo_ros.pointing.prompts import Mode
from molmo_ros.ros.answering import Refused, Request, Status, points_within
from molmo_ros.ros.engine_worker import EngineNotReady
from molmo_ros.ros.node_settings import NodeSettings
from molmo_ros.ros.standing import Standing, StandingBook
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.sync import DEPTH, IMAGE, STREAMS

_LOOK_S = 0.004  # between looks whether an image has come
_DEPTH_LATE_S = 0.03  # after its image depth may come
_POLL_S = 0.02  # between looks at the engine
_OVERTAKEN = 'time jumped back before the answer came: the question is asked again'
_SILENCE_S = 1.0  # without an image, until that is said; and between tries of what has failed

TargetOf = Callable[[Request, Frame], TargetFrame]


class Asked(Protocol):
    """Where the engine is: `EngineWorker`, or what stands for it."""

    @property
    def waiting(self) -> int:
        """How many questions wait for their turn."""

    @property
    def assumed(self) -> tuple[str, ...]:
        """What is taken for granted of it in every answer."""

    def require_ready(self) -> None:
        """Raises EngineNotReady."""

    def submit(
        self, image: np.ndarray, question: Question, should_stop: Callable[[], bool], /
    ) -> Future[Answer]:
        """Queue a question."""


@dataclass(frozen=True)
class LastAnswer:
    """How the last answer ended. stamp: of the image that the last good one is about, ns."""

    status: Status = Status.NOT_READY
    message: str = 'not answered yet'
    stamp: int = 0


@dataclass(frozen=True, eq=False)
class Sighting:
    """Where the points of a standing question are in an image; capture: None where there is none.

    points, tracked: the same points, in space and in the picture. target: the frame that they are
    in.
    """

    standing: Standing
    last: LastAnswer
    capture: Capture | None = None
    frame_id: str = ''
    points: tuple[GroundedPoint, ...] = ()
    tracked: tuple[Tracked, ...] = ()
    assumed: tuple[str, ...] = ()
    target: TargetFrame | None = None

    @property
    def measured(self) -> tuple[GroundedPoint, ...] | None:
        """The points, with the things only that were measured in this image; None without any."""
        points = tuple(
            replace(point, pick=Pick()) if point.pick.reason.startswith(MOVED) else point
            for point in self.points
        )
        return points if any(point.pick.extent is not None for point in points) else None


class Watching:
    """Answers the questions of a book until closed, in threads of its own.

    target: where an image's optical frame is in the frame that a request wants, within the
    request's timeout. settings: read now and then. tell: gets what is known of all questions in
    each image. log_error: gets what nobody expected.
    """

    def __init__(
        self,
        book: StandingBook,
        engine: Asked,
        streams: CameraStreams,
        target: TargetOf,
        settings: Callable[[], NodeSettings],
        tell: Callable[[Sequence[Sighting]], object],
        log_error: Callable[[str], object],
    ) -> None:
        self._book = book
        self._engine = engine
        self._streams = streams
        self._targets = _Targets(target)
        self._read_settings = settings
        self._tell = tell
        self._log_error = log_error
        self._tracker = PointTracker()
        self._picks = FollowedPicks()
        self._closing = threading.Event()
        self._latest: Capture | None = None
        self._followed = -inf  # stamp of the last image that was followed
        self._jumps = 0  # of time, as of that image
        self._last: dict[object, LastAnswer] = {}
        self._begun: dict[object, float] = {}
        self._paused_until: dict[object, float] = {}
        self._gave_way = False
        self._seen: tuple[int, ...] = ()
        self._settings = settings()
        self._settings_at = time.monotonic()
        self._threads = [
            threading.Thread(target=self._run, args=(once,), name=name, daemon=True)
            for name, once in (('standing-follow', self._follow), ('standing-ask', self._ask))
        ]
        for thread in self._threads:
            thread.start()

    def close(self, timeout: float) -> bool:
        """Ask and tell no more; False if that takes longer than `timeout` seconds."""
        self._closing.set()
        self._book.close()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, once: Callable[[], None]) -> None:
        while self._book.wait_for_any():
            try:
                once()
            except Exception as error:
                if not self._closing.is_set():
                    self._log_error(f'a standing question failed: {error!r}')
                self._closing.wait(_SILENCE_S)

    # The thread that follows the camera.

    def _follow(self) -> None:
        self._refresh_settings()
        try:
            capture = self._next_capture()
        except Refused as refusal:
            self._latest = None
            self._tell_of_none(LastAnswer(refusal.status, str(refusal)))
            self._closing.wait(_SILENCE_S)
            return
        if capture is None:
            return
        went_back = capture.frame.stamp <= self._followed
        self._followed = capture.frame.stamp
        view = view_of(capture)
        # An answer that comes now is told in the next image, with its points.
        with self._tracker.lock:
            told = self._tracker.add_view(view)
            if went_back:
                self._last = {}  # as the tracker has forgotten their points
            last = dict(self._last)
        self._latest = capture
        living = self._book.living()
        keys = {standing.key for standing in living}
        for key in told.keys() - keys:
            self._tracker.forget(key)
        with self._tracker.lock:
            self._last = {key: one for key, one in self._last.items() if key in keys}
        self._picks.keep({one.id for points in told.values() for one in points})
        self._targets.begin(self._settings.frames.transform_timeout)
        self._tell(
            [
                self._sighting(one, told.get(one.key, ()), last.get(one.key, LastAnswer()), capture)
                for one in living
            ]
        )

    def _refresh_settings(self) -> None:
        if time.monotonic() - self._settings_at > _SILENCE_S:
            self._settings, self._settings_at = self._read_settings(), time.monotonic()

    def _next_capture(self) -> Capture | None:
        """The next image with what belongs to it; None where nobody wants it. Raises Refused."""
        end = time.monotonic() + _SILENCE_S
        while self._book.living() and not self._closing.is_set():
            late = time.monotonic() > end
            if self._something_new() or late:
                jumps = self._streams.jumps
                capture = self._streams.capture(replace(self._settings.frames, frame_wait=0.0))
                if capture.frame.stamp > self._followed or jumps != self._jumps:
                    self._jumps = jumps
                    return capture
                if late:
                    raise Refused(
                        Status.NO_FRAME, f'no image with a newer stamp for {_SILENCE_S:g} s'
                    )
            self._closing.wait(_LOOK_S)
        return None

    def _something_new(self) -> bool:
        """Whether a message has come since the last look that found one; its depth may be late."""
        states = {stream: self._streams.state(stream) for stream in STREAMS}
        seen = tuple(state.received for state in states.values())
        image, depth = states[IMAGE], states[DEPTH]
        if image.stamp_ns is not None and depth.stamp_ns is not None:
            behind = image.stamp_ns - depth.stamp_ns > self._settings.frames.sync_slop * 1e9
            if behind and image.quiet < _DEPTH_LATE_S:
                return False
        new, self._seen = seen != self._seen, seen
        return new

    def _tell_of_none(self, why: LastAnswer) -> None:
        living = self._book.living()
        last = [self._last.get(one.key, LastAnswer()) for one in living]
        self._tell(
            [
                Sighting(one, replace(why, stamp=known.stamp))
                for one, known in zip(living, last, strict=True)
            ]
        )

    def _sighting(
        self, standing: Standing, tracked: tuple[Tracked, ...], last: LastAnswer, capture: Capture
    ) -> Sighting:
        target = self._targets.of(standing.request, capture.frame)
        frame_id = standing.request.target_frame or capture.frame.frame_id
        grounding = replace(self._settings.grounding, grasp=None)
        found = ground([one.point for one in tracked], capture, grounding, target)
        points = tuple(
            replace(
                _widened(point, one.drift, capture, target),
                pick=self._pick(point, one, frame_id, capture, target),
            )
            for point, one in zip(found.points, tracked, strict=True)
        )
        message = '; '.join(filter(None, [last.message, *found.notes]))
        return Sighting(
            standing,
            replace(last, message=message),
            capture,
            frame_id,
            points,
            tracked,
            tuple(dict.fromkeys((*self._engine.assumed, *found.assumed))),
            target,
        )

    def _pick(
        self,
        point: GroundedPoint,
        tracked: Tracked,
        frame_id: str,
        capture: Capture,
        target: TargetFrame,
    ) -> Pick:
        lift, grasp = self._settings.grounding.lift, self._settings.grounding.grasp
        if grasp is None:
            return point.pick

        def measure() -> Pick:
            pixel = point.image.centred
            return pick_near(pixel, point.surface, capture, target, lift, grasp)[1]

        return self._picks.of(tracked.id, tracked.answered, point.surface, frame_id, measure)

    # The thread that asks.

    def _ask(self) -> None:
        capture, now = self._latest, time.monotonic()
        due = self._due(now)
        others = self._engine.waiting > 0 and not self._gave_way
        if capture is None or not due or others:
            self._closing.wait(_POLL_S)
            return
        why = self._why_not_ready()
        if why:
            for one in due:
                self._note(one, Status.NOT_READY, why)
            self._closing.wait(_POLL_S)
            return
        if self._tracker.begin(capture.frame.stamp):
            try:
                self._answer(due, capture)
            finally:
                self._tracker.end()

    def _why_not_ready(self) -> str:
        """Why the engine cannot be asked; '' where it can."""
        try:
            self._engine.require_ready()
        except EngineNotReady as error:
            return str(error)
        return ''

    def _due(self, now: float) -> list[Standing]:
        """Those whose turn it is by the period that they have now."""
        living = self._book.living()
        keys = {one.key for one in living}
        self._begun = {key: at for key, at in self._begun.items() if key in keys}
        self._paused_until = {key: at for key, at in self._paused_until.items() if key in keys}
        return [
            one
            for one in living
            if (one.key not in self._last or self._begun.get(one.key, -inf) + one.period <= now)
            and self._paused_until.get(one.key, -inf) <= now
        ]

    def _answer(self, due: Sequence[Standing], capture: Capture) -> None:
        """Ask all that are due about one image, so that what they share is computed once."""
        begun = time.monotonic()
        stop = threading.Event()
        pending: dict[Standing, Future[Answer]] = {}
        for one in due:
            unwanted = self._unwanted(one, stop)
            try:
                future = self._engine.submit(capture.frame.color, one.question, unwanted)
            except EngineNotReady as error:  # just now
                self._note(one, Status.NOT_READY, str(error))
            else:
                pending[one] = future
        gave_way = False
        while pending:
            for one, future in list(pending.items()):
                if future.done():
                    del pending[one]
                    self._take(one, future, capture, begun)
            if not pending:
                break
            mine = sum(not (f.running() or f.done()) for f in pending.values())
            # Others come first, but not every time.
            if self._engine.waiting > mine and not self._gave_way and not stop.is_set():
                gave_way = True
                _stop(stop, pending.values())
            if self._closing.is_set():
                return _stop(stop, pending.values())
            if not stop.is_set() and self._why_not_ready():
                _stop(stop, pending.values())
            if time.monotonic() - begun > self._settings.timeout:
                for one in pending:
                    self._note(one, Status.TIMEOUT, _too_late(self._settings.timeout))
                    self._pause(one)
                return _stop(stop, pending.values())
            time.sleep(_POLL_S / 4)
        self._gave_way = gave_way

    def _unwanted(self, standing: Standing, stop: threading.Event) -> Callable[[], bool]:
        def unwanted() -> bool:
            return stop.is_set() or standing.key not in [one.key for one in self._book.living()]

        return unwanted

    def _take(
        self, standing: Standing, future: Future[Answer], capture: Capture, begun: float
    ) -> None:
        """What has become of a question."""
        self._begun[standing.key] = begun
        stamp = capture.frame.stamp
        try:
            answer = future.result()
        except (CancelledError, Stopped):
            del self._begun[standing.key]
        except EngineNotReady as error:
            del self._begun[standing.key]
            self._note(standing, Status.NOT_READY, str(error))
        except (InvalidImage, InvalidQuestion) as error:
            self._failed(standing, Status.INVALID_REQUEST, str(error))
        except Exception as error:
            self._failed(
                standing, Status.ENGINE_FAILED, f'the model failed: {shortened(error, 500)}'
            )
        else:
            points = points_within(answer, standing.request.max_points)
            nothing = not points
            said = 'the model pointed at nothing' if nothing else ''
            if nothing and standing.request.mode is Mode.ASK:
                said = answer.text.strip()
            status = Status.NO_POINTS if nothing else Status.SUCCESS
            last = LastAnswer(status, said, stamp)
            if not self._tracker.answered(
                standing.key, stamp, points, lambda: self._set_last(standing, last)
            ):
                del self._begun[standing.key]
                self._note(standing, Status.NOT_READY, _OVERTAKEN)

    def _set_last(self, standing: Standing, last: LastAnswer) -> None:
        with self._tracker.lock:
            self._last[standing.key] = last

    def _failed(self, standing: Standing, status: Status, message: str) -> None:
        self._note(standing, status, message)
        self._pause(standing)

    def _pause(self, standing: Standing) -> None:
        self._paused_until[standing.key] = time.monotonic() + _SILENCE_S

    def _note(self, standing: Standing, status: Status, message: str) -> None:
        """An answer that there is not: the one before it stays."""
        last = self._last.get(standing.key, LastAnswer())
        self._set_last(standing, replace(last, status=status, message=message))


class _Targets:
    """Where the frames asked for are, in one image after the other.

    A frame that is not to be had is waited for only now and then: all points wait with it.
    """

    def __init__(self, target: TargetOf) -> None:
        self._target = target
        self._timeout = 0.0
        self._found: dict[str, TargetFrame] = {}
        self._patient_at: dict[str, float] = {}

    def begin(self, timeout: float) -> None:
        """Another image; timeout: seconds that a frame may be waited for."""
        self._timeout = timeout
        self._found.clear()

    def of(self, request: Request, frame: Frame) -> TargetFrame:
        """Where the image's optical frame is in the one that the request names."""
        name = request.target_frame
        if name not in self._found:
            now = time.monotonic()
            patient = self._patient_at.get(name, 0.0) <= now
            wanted = replace(request, timeout=self._timeout if patient else 0.0)
            found = self._target(wanted, frame)
            if patient and found.T_target_optical is None:
                self._patient_at[name] = now + 2 * _SILENCE_S
            self._found[name] = found
        return self._found[name]


def _widened(
    point: GroundedPoint, drift: float, capture: Capture, target: TargetFrame
) -> GroundedPoint:
    """The point with a covariance that holds what carrying may have moved it off."""
    camera, T = capture.frame.camera, target.T_target_optical
    if camera is None or T is None or not np.all(np.isfinite(point.surface.position)):
        return point
    distance = float(np.linalg.norm(point.surface.position - T[:3, 3]))
    off = drift * distance / float(camera.K[0, 0])
    covariance = point.surface.covariance + off**2 * np.eye(3)
    return replace(point, surface=replace(point.surface, covariance=covariance))


def _stop(stop: threading.Event, pending: Iterable[Future[Answer]]) -> None:
    stop.set()
    for future in list(pending):
        future.cancel()


def _too_late(timeout: float) -> str:
    return f'no answer within {timeout:g} s: set timeout higher, or max_crops lower'
