# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers for the page: an engine's in this process, and pixels that need none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from molmo_ros.engine import Answer, Engine, Question
from molmo_ros.grounding.ground import GroundedPoint, GroundingSettings, Watch, ground
from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.spatial import GraspSettings, LiftSettings
from molmo_ros.spatial.grasp import quaternion_of
from molmo_ros.viewing.views import Box, Gripper, Shown, ShownPoint, View

OnShown = Callable[[Shown], None]


def answered(
    engine: Engine,
    question: Question,
    view: View,
    tell: OnShown,
    should_stop: Callable[[], bool],
) -> Shown:
    """The engine's answer, grounded. Raises EngineError.

    tell: told as soon as there is something to show, and again
    when more is known.
    """
    answer = engine.answer(view.capture.frame.color, question, should_stop)
    shown = Shown(
        view,
        question.query,
        question.mode,
        _status(answer),
        answer.text.strip(),
        answer.how_many,
        answer.presence,
        stages=dict(answer.timings),
    )
    return _grounded(shown, answer.points, tell, engine.assumed)


def clicked(u: float, v: float, view: View) -> Shown:
    """What is behind a pixel of a view, without a model. u, v: from the top left corner."""
    shown = Shown(view, '', Mode.POINT, 'CLICKED')
    return _grounded(shown, (ImagePoint(u, v, ''),), lambda shown: None)


def _status(answer: Answer) -> str:
    if answer.points:
        return 'SUCCESS'
    return 'ABSENT' if answer.absent else 'NO_POINTS'


def _grounded(
    shown: Shown, points: tuple[ImagePoint, ...], tell: OnShown, assumed: tuple[str, ...] = ()
) -> Shown:
    view = shown.view
    settings = GroundingSettings(LiftSettings(preset=view.noise), GraspSettings(), '--noise')
    watch = _Telling(shown, tell)
    found = ground(points, view.capture, settings, view.target, watch)
    return replace(
        shown,
        points=tuple(map(_shown_point, found.points)),
        stages={**shown.stages, **watch.seconds},
        notes=(*found.notes, *assumed, *found.assumed),
    )


@dataclass
class _Telling(Watch):
    """Times the stages, and shows the points before the things that they are on are measured."""

    shown: Shown
    told: OnShown
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - begun

    def tell(self, stage: str, points: tuple[GroundedPoint, ...]) -> None:
        if stage == 'lift':
            self.told(replace(self.shown, points=tuple(map(_shown_point, points))))


def _shown_point(point: GroundedPoint) -> ShownPoint:
    extent, pose = point.pick.extent, point.pick.pose
    box = gripper = None
    if extent is not None:
        turn = quaternion_of(extent.axes.T)
        box = Box(extent.centre, turn, extent.size)
    if pose is not None:
        gripper = Gripper(pose.position, pose.quaternion, pose.width)
    return ShownPoint(point.image, point.surface, box, gripper, point.pick.reason)
