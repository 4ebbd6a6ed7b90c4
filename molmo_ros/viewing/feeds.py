# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras and recordings as the page follows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isinf
from typing import Protocol

from molmo_ros.cameras.pictures import PictureFolder
from molmo_ros.cameras.source import Source
from molmo_ros.engine import Question
from molmo_ros.grounding.capture import Capture
from molmo_ros.viewing.views import Shown, View


class Feed(Protocol):
    """Where views come from; used from one thread, but for `ask`.

    lasts: seconds of a recording, or the number of the last picture; 0: one picture, infinite: a
    camera. counts: `at` counts pictures. frame: that all is shown in at first.
    """

    lasts: float
    counts: bool
    frame: str

    def take(self, at: float, frame: str) -> View:
        """What there is at `at` seconds of a recording, or now. Raises UserError."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class AnsweringFeed(Feed, Protocol):
    """A camera whose node answers."""

    def ask(self, question: Question, frame: str, should_stop: Callable[[], bool]) -> Shown:
        """The node's answer about its newest frame. Raises UserError."""
        ...


class StillFeed:
    """One picture that does not change."""

    lasts, counts, frame = 0.0, True, ''

    def __init__(self, capture: Capture, about: str, noise: str = '') -> None:
        self._view = View(capture, about=about, noise=noise)

    def take(self, at: float, frame: str) -> View:
        """See Feed."""
        return self._view

    def close(self) -> None:
        """See Feed."""


@dataclass
class SourceFeed:
    """Any source of frames. finish: adds to a capture what the user said of the camera.

    noise: preset of its depth camera.
    """

    source: Source
    finish: Callable[[Capture], Capture] = lambda capture: capture
    frame: str = ''
    noise: str = ''

    def __post_init__(self) -> None:
        self.counts = isinstance(self.source, PictureFolder)
        self.lasts = self.source.lasts
        if isinstance(self.source, PictureFolder):
            self.lasts = len(self.source.pictures) - 1.0

    def take(self, at: float, frame: str) -> View:
        """See Feed."""
        source = self.source
        if isinf(self.lasts):
            taken = source.follow()
        else:
            taken = source.capture(float(int(at)) if self.counts else at)
        capture = self.finish(taken)
        target = source.target(frame, capture)
        frames = source.frames(frame, capture)
        return View(capture, target, frame, frames, source.about, self.noise)

    def close(self) -> None:
        """See Feed."""
        self.source.close()
