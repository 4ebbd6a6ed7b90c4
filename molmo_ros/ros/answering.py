# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The way of a question, from the frame it is about to points in space; no messages here.

The service and the action are both thin shells around `Answering.answer`.
"""

from __future__ import annotations

import concurrent.futures
import enum
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import nan

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine import (
    TRUNCATED,
    Answer,
    EngineError,
    InvalidImage,
    InvalidQuestion,
    Question,
    Stopped,
)
from molmo_ros.errors import shortened
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import (
    GroundedPoint,
    GroundingSettings,
    Watch,
    ground,
    not_lifted,
)
from molmo_ros.grounding.optical import body_warning, taken_as_optical, why_body
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.pointing.prompts import Mode
from molmo_ros.ros.deadline import Deadline
from molmo_ros.ros.engine_host import EngineHost, EngineView
from molmo_ros.ros.engine_worker import EngineNotReady, EngineWorker
from molmo_ros.ros.room import NoRoom, Room
from molmo_ros.ros.transforms import NoTransform, Transforms, wait_for_transform

_POLL_S = 0.02  # how soon a cancel or the end of the time is noticed
_MOST_QUERY = 2000
_MOST_FRAME = 256
_MOST_POINTS = 1000
_SHOWN_ERROR = 500


class Status(enum.IntEnum):
    """How a question ended; the numbers of PointQuery.srv."""

    SUCCESS = 0
    NO_POINTS = 1
    INVALID_REQUEST = 2
    NO_FRAME = 3
    NOT_READY = 4
    BUSY = 5
    TIMEOUT = 6
    CANCELED = 7
    ENGINE_FAILED = 8


class Refused(Exception):
    """A question ends here, with a status and what to do about it."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Request:
    """What is asked. target_frame: '' is the image's own; max_points: 0 is any; timeout: s.

    door: how it came. size: bytes of the pictures that it brought. source: whom it is from, as far
    as that can be told.
    """

    query: str
    mode: Mode = Mode.POINT
    target_frame: str = ''
    max_points: int = 0
    timeout: float = 60.0
    door: str = ''
    size: int = 0
    source: str = ''


@dataclass(frozen=True)
class Result:
    """How a question ended, and with what. stage_times: seconds, in order. count: -1 is none.
    presence: as of an `Answer`; NaN where there is none. target: the frame of the 3D.
    """

    status: Status
    message: str
    answer: str = ''
    capture: Capture | None = None
    frame_id: str = ''
    points: tuple[GroundedPoint, ...] = ()
    count: int = -1
    stage_times: Mapping[str, float] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    presence: float = nan
    target: TargetFrame = OPTICAL


@dataclass(frozen=True)
class AnswerSettings:
    """How an answer is made of what the model says.

    transform_timeout: seconds. up_frame: whose z axis is up for grasps; '': the way that the
    things' supporting planes face. optical_frame: one that is known to be optical; '': none is.
    request_memory: bytes that the questions that are here may have brought.
    """

    grounding: GroundingSettings = field(default_factory=GroundingSettings)
    transform_timeout: float = 0.5
    up_frame: str = ''
    optical_frame: str = ''
    request_memory: int = 256 << 20


Progress = Callable[[str, tuple[GroundedPoint, ...]], None]


def check_query(query: str) -> None:
    """Raises Refused for a query that says nothing, or is too long to be one."""
    if not query.strip():
        raise Refused(Status.INVALID_REQUEST, 'query is empty: say what to point at')
    if len(query) > _MOST_QUERY:
        raise Refused(
            Status.INVALID_REQUEST,
            f'query has {len(query)} characters, more than {_MOST_QUERY}: ask in fewer words',
        )


def check_frame(name: str, what: str) -> None:
    """Raises Refused for a frame whose name is too long to be one. what: the field it is from."""
    if len(name) > _MOST_FRAME:
        raise Refused(
            Status.INVALID_REQUEST,
            f"{what} has {len(name)} characters, more than {_MOST_FRAME} ('{shortened(name)}'): "
            'give the name of a frame on /tf',
        )


def points_within(answer: Answer, most: int) -> tuple[ImagePoint, ...]:
    """The points of an answer that are told: as many as were asked for (0: any), and not without
    end."""
    return tuple(answer.points[: min(most or _MOST_POINTS, _MOST_POINTS)])


class Answering:
    """Answers questions about one image at a time, while a few may wait their turn.

    worker: where the engine is. transforms: where target frames are looked up. max_waiting: how
    many questions may wait beside the one that runs. log_error: gets what nobody expected.
    """

    def __init__(
        self,
        worker: EngineHost | EngineView | EngineWorker,
        transforms: Transforms,
        max_waiting: int,
        log_error: Callable[[str], object],
    ) -> None:
        self._worker = worker
        self._transforms = transforms
        self._room = Room(max_waiting)
        self._log_error = log_error

    def answer(
        self,
        request: Request,
        capture: Callable[[Deadline], Capture],
        settings: AnswerSettings,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Progress = lambda stage, points: None,
    ) -> Result:
        """Answer a question; never raises, whatever happens is in the result's status.

        capture: fetches the frame within the deadline; raises Refused where there is none.
        on_progress: told each stage as it begins, with the points so far.
        """
        run = _Run(request, settings, should_stop, on_progress)
        try:
            self._require_engine()
            self._check(request, settings)
            with self._room.place(request.door, request.size, settings.request_memory):
                return self._answer(run, capture)
        except NoRoom as error:
            return run.ended(Status.BUSY, str(error))
        except Refused as refusal:
            return run.ended(refusal.status, str(refusal))
        except Exception as error:
            self._log_error(f'a question failed: {error!r}')
            told = f'{type(error).__name__}: {shortened(error, _SHOWN_ERROR)}'
            return run.ended(Status.ENGINE_FAILED, told)

    def target(
        self,
        request: Request,
        frame: Frame,
        settings: AnswerSettings,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> TargetFrame:
        """Where a frame is in the one that is asked for, if that is known in the request's time."""
        return self._target(_Run(request, settings, should_stop, lambda stage, points: None), frame)

    @property
    def held(self) -> int:
        """Bytes of the pictures that questions which are here have brought."""
        return self._room.size

    def _check(self, request: Request, settings: AnswerSettings) -> None:
        if request.size > settings.request_memory:
            raise Refused(
                Status.INVALID_REQUEST,
                f'the pictures in the request are {request.size / 1e6:.1f} MB, more than '
                f'request_memory ({settings.request_memory >> 20} MiB): send smaller ones, or set '
                'it higher',
            )
        check_query(request.query)
        check_frame(request.target_frame, 'target_frame')
        if request.timeout <= 0:
            raise Refused(Status.INVALID_REQUEST, 'timeout is negative: give seconds, or zero')

    def _answer(self, run: _Run, capture: Callable[[Deadline], Capture]) -> Result:
        with run.stage('frame'):
            run.capture = capture(run.deadline)
        with run.stage('transform'):
            run.target = target = self._target(run, run.capture.frame)
        answer = self._ask(run, run.capture)
        assumed = self._worker.assumed  # of the model that answered, before it is another
        points = points_within(answer, run.request.max_points)
        run.answer, run.points = answer, tuple(not_lifted(point) for point in points)
        found = ground(points, run.capture, run.settings.grounding, target, run)
        run.assumed = tuple(dict.fromkeys((*assumed, *found.assumed)))
        notes = (*_left_out(run.request, answer), *found.notes)
        return run.ended(*_outcome(run.request, answer, notes))

    def _require_engine(self) -> None:
        """Say so early, whatever else is missing."""
        try:
            self._worker.require_ready()
        except EngineNotReady as error:
            raise Refused(Status.NOT_READY, str(error)) from error

    def _target(self, run: _Run, frame: Frame) -> TargetFrame:
        """Where the optical frame is in the frame asked for, and which way is up there."""
        run.frame_id = run.request.target_frame or frame.frame_id
        up_frame = run.settings.up_frame if run.settings.grounding.grasp is not None else ''
        try:
            T = self._wait_for(run.frame_id, run, frame)
        except NoTransform as error:
            return TargetFrame(None, str(error), notes=self._body_warning(run, frame))
        up, body = None, self._body_warning(run, frame)
        notes = body
        if up_frame:
            try:
                up = T[:3, :3] @ self._wait_for(up_frame, run, frame)[2, :3]
            except NoTransform as error:
                notes += (f"grasp.up_frame is not known ({error}): 'above' goes by the plane",)
        elsewhere = run.frame_id != frame.frame_id or up is not None
        assumed = self._assumed(run, frame) if elsewhere and not body else ()
        return TargetFrame(T, up=up, notes=notes, assumed=assumed)

    def _assumed(self, run: _Run, frame: Frame) -> tuple[str, ...]:
        """What is taken for granted of an image's frame of which only the name is known."""
        if frame.frame_id == run.settings.optical_frame:
            return ()
        taken = taken_as_optical(frame.frame_id, 'image', 'optical_frame')
        return (taken,) if taken else ()

    def _body_warning(self, run: _Run, frame: Frame) -> tuple[str, ...]:
        """What is said of an image whose frame is a body frame, by its name and place on /tf."""
        if frame.frame_id == run.settings.optical_frame:
            return ()
        why = why_body(frame.frame_id, self._transforms, run.settings.up_frame)
        settled_by = 'set optical_frame to the one that is'
        return (body_warning(frame.frame_id, 'image', why, settled_by),) if why else ()

    def _wait_for(self, target: str, run: _Run, frame: Frame) -> NDArray[np.float64]:
        """The pose of the image's optical frame in another at its stamp. Raises NoTransform."""
        if target == frame.frame_id:
            return np.eye(4)
        if not frame.frame_id:
            raise NoTransform(
                'the image names no frame: set optical_frame, or have its header.frame_id filled in'
            )
        timeout = run.deadline.within(run.settings.transform_timeout)
        stop = run.deadline.should_stop
        return wait_for_transform(
            self._transforms, target, frame.frame_id, frame.stamp, timeout, stop
        )

    def _ask(self, run: _Run, capture: Capture) -> Answer:
        run.require_time()
        request = run.request
        question = Question(request.query, request.mode, request.max_points)
        stop = threading.Event()
        begun = time.monotonic()
        run.on_progress('wait', ())
        try:
            future = self._worker.submit(capture.frame.color, question, stop.is_set, request.source)
            answer = _await(future, run, stop, self._room.others)
        except EngineNotReady as error:
            raise Refused(Status.NOT_READY, str(error)) from error
        except (InvalidImage, InvalidQuestion) as error:
            raise Refused(Status.INVALID_REQUEST, str(error)) from error
        except Stopped as error:
            raise Refused(Status.CANCELED, 'stopped before the model had finished') from error
        except Refused:
            raise
        except Exception as error:
            self._log_error(f'the engine failed: {error!r}')
            what = str(error) if isinstance(error, EngineError) else repr(error)
            raise Refused(
                Status.ENGINE_FAILED, f'the model failed: {shortened(what, _SHOWN_ERROR)}'
            ) from error
        spent = sum(answer.timings.values())
        run.stage_times['wait'] = max(time.monotonic() - begun - spent, 0.0)
        run.stage_times.update(answer.timings)
        return answer


class _Run(Watch):
    """What has come of a question so far; follows its grounding."""

    def __init__(
        self,
        request: Request,
        settings: AnswerSettings,
        should_stop: Callable[[], bool],
        on_progress: Progress,
    ) -> None:
        self.request = request
        self.settings = settings
        self.deadline = Deadline.after(request.timeout, should_stop)
        self.on_progress = on_progress
        self.capture: Capture | None = None
        self.frame_id = ''
        self.target = OPTICAL
        self.answer: Answer | None = None
        self.points: tuple[GroundedPoint, ...] = ()
        self.assumed: tuple[str, ...] = ()
        self.stage_times: dict[str, float] = {}

    def remaining(self) -> float:
        """Seconds left until the question's time is up, at least 0."""
        return self.deadline.remaining()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce and time a stage; a question that was cancelled begins none."""
        self.check()
        self.on_progress(name, self.points)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.stage_times[name] = time.monotonic() - begun

    def check(self) -> None:
        """Raises Refused where nobody wants the answer any more."""
        if self.deadline.should_stop():
            raise Refused(Status.CANCELED, 'canceled')

    def require_time(self) -> None:
        """Raises Refused where nothing is left for the model."""
        self.check()
        if self.deadline.passed:
            spent = ', '.join(f'{name} {took:.2f} s' for name, took in self.stage_times.items())
            raise Refused(
                Status.TIMEOUT,
                f'the {self.request.timeout:g} s were over before the model was asked ({spent}): '
                'give a longer timeout, or set frame_wait and transform_timeout lower',
            )

    def tell(self, stage: str, points: tuple[GroundedPoint, ...]) -> None:
        """Keep and announce what a stage has brought."""
        self.points = points
        if stage == 'lift':
            self.on_progress(stage, points)

    def ended(self, status: Status, message: str) -> Result:
        answer, points = self.answer, self.points
        count = -1
        if answer is not None:
            count = answer.count if answer.count is not None else len(points)
        return Result(
            status,
            message,
            answer=answer.text if answer is not None else '',
            capture=self.capture,
            frame_id=self.frame_id,
            points=points,
            count=count,
            stage_times=dict(self.stage_times),
            assumed=self.assumed,
            presence=answer.presence if answer is not None else nan,
            target=self.target,
        )


def _await(
    future: concurrent.futures.Future[Answer],
    run: _Run,
    stop: threading.Event,
    others: Callable[[], int],
) -> Answer:
    """The answer; or, when the time is up or nobody wants it any more, Refused at once.

    The engine sees `stop` before its next pass; nobody waits for that here.
    """
    announced = False
    while not concurrent.futures.wait([future], run.deadline.within(_POLL_S)).done:
        if run.deadline.should_stop():
            stop.set()
            future.cancel()
            raise Refused(Status.CANCELED, 'canceled')
        if run.deadline.passed:
            stop.set()
            raise Refused(*_too_late(future.cancel(), run.request.timeout, others()))
        if future.running() and not announced:
            announced = True
            run.on_progress('engine', ())
    return future.result()


def _too_late(never_began: bool, timeout: float, others: int) -> tuple[Status, str]:
    if never_began:
        return Status.BUSY, (
            f'other questions took all of the {timeout:g} s, and {others} are still here: '
            'ask again, or longer'
        )
    return Status.TIMEOUT, (
        f'no answer within {timeout:g} s: give a longer timeout, or set max_crops or max_points '
        'lower'
    )


def _left_out(request: Request, answer: Answer) -> Iterator[str]:
    """That the model wrote more points than are told, though nobody asked for fewer; or fewer than
    it would have."""
    if answer.truncated:
        yield TRUNCATED
    if len(answer.points) > _MOST_POINTS and not 0 < request.max_points <= _MOST_POINTS:
        yield f'the model wrote {len(answer.points)} points, the first {_MOST_POINTS} are told'


def _outcome(request: Request, answer: Answer, notes: Sequence[str]) -> tuple[Status, str]:
    if not answer.points and (request.mode is not Mode.ASK or not answer.text.strip()):
        said = f": it wrote '{shortened(answer.text.strip(), 200)}'" if answer.text.strip() else ''
        return Status.NO_POINTS, '; '.join([f'the model pointed at nothing{said}', *notes])
    return Status.SUCCESS, '; '.join(notes)
