# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What goes on behind the page: a picture, a label, and points that are kept or not yet.

All browsers see one. A thread of its own asks the model, so that a slow one holds up nobody.
"""

from __future__ import annotations

import enum
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import dist

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine import Engine, EngineError, Question
from molmo_ros.errors import UserError, shortened
from molmo_ros.evaluation.points_folder import IMAGES, InvalidFolder, read_image
from molmo_ros.viewing.labelling.book import LabelBook, Pixel
from molmo_ros.viewing.session import OpenEngine

_ENDS_S = 0.7


class Click(enum.Enum):
    """What a click into the picture does; moves and removes: the nearest point."""

    ADDS = 'adds'
    MOVES = 'moves'
    REMOVES = 'removes'


@dataclass(frozen=True, eq=False)
class Shown:
    """What is to be seen.

    picture, number: its name, and which of the pictures it is, from 0. color: (H, W, 3) RGB; None
    where it cannot be read. points: pixels. kept: whether that is what is written. busy: whether
    the model is asked. told: what was done or went wrong.
    """

    picture: str
    number: int
    color: NDArray[np.uint8] | None
    label: str
    points: tuple[Pixel, ...]
    kept: bool
    busy: bool
    told: str


class Labeller:
    """show: told of every change, from several threads, one at a time."""

    def __init__(
        self, book: LabelBook, open_engine: OpenEngine, show: Callable[[Shown], None], label: str
    ) -> None:
        self.book, self._open_engine, self._show = book, open_engine, show
        self._lock = threading.RLock()
        self._number, self._label = 0, label
        self._color: NDArray[np.uint8] | None = None
        self._points: tuple[Pixel, ...] = ()
        self._dirty = False
        self._before: list[tuple[Pixel, ...]] = []  # to undo
        self._told, self._busy, self._asks = '', False, False
        self._went_on = False  # to another picture, while the model was asked
        self._engine: Engine | None = None
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()  # False: end
        self._ending, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._answer, name='label', daemon=True)

    def start(self) -> None:
        """Show the first picture that has no line about the label."""
        self._thread.start()
        with self._lock:
            self._go(self._next_open(-1) or 0)

    def close(self) -> None:
        """End, and wait a moment for what is under way."""
        self._ending.set()
        self._stopping.set()
        self._wanted.put(False)
        if self._thread.is_alive():
            self._thread.join(_ENDS_S)

    def go(self, number: int) -> None:
        """Show a picture; what is not kept is dropped."""
        with self._lock:
            self._go(number)

    def step(self, by: int) -> None:
        """The picture so many further."""
        with self._lock:
            self._go(self._number + by)

    def choose_label(self, label: str) -> None:
        """Say where things of another name are. Points that are not kept yet become its."""
        with self._lock:
            self._label = ' '.join(label.split())
            if not self._dirty:
                self._load()
            self._tell('')

    def ask_by_itself(self, asks: bool) -> None:
        """Ask the model about every picture that is shown and has no line about the label."""
        with self._lock:
            self._asks = asks
            self._propose_if_open()

    def propose(self) -> None:
        """Ask the model where the things are."""
        with self._lock:
            if not self._label:
                self._tell('write a label first: what you will ask for')
            elif not self._busy:
                self._busy = True
                self._stopping.clear()
                self._tell('asking the model')
                self._wanted.put(True)

    def stop(self) -> None:
        """Give up asking."""
        self._stopping.set()

    def click(self, u: float, v: float, what: Click) -> None:
        """Correct the points. u, v: pixels from the top left corner."""
        with self._lock:
            points, at = list(self._points), (round(u, 1), round(v, 1))
            if what is Click.ADDS:
                points.append(at)
            elif not points:
                self._tell('there is no point to move or to remove')
                return
            else:
                nearest = min(range(len(points)), key=lambda i: dist(points[i], at))
                points[nearest : nearest + 1] = [at] if what is Click.MOVES else []
            self._change(points)
            self._tell('')

    def undo(self) -> None:
        """Take the last change back."""
        with self._lock:
            if self._before:
                self._points, self._dirty = self._before.pop(), True
            self._tell('')

    def clear(self) -> None:
        """No points."""
        with self._lock:
            self._change([])
            self._tell('')

    def keep(self, go_on: bool) -> None:
        """Write the points, or that there are none. go_on: to the next picture without a line."""
        with self._lock:
            if not (self._label and self._label.isprintable()):
                self._tell('write a label first: what you will ask for')
                return
            picture = self.book.pictures[self._number]
            try:
                self.book.keep(picture, self._label, self._points)
            except UserError as error:
                self._tell(str(error))
                return
            self._dirty, self._before = False, []
            number = len(self._points)
            what = f'{number} point{"s" * (number > 1)}' if number else 'that there is none'
            told = f'kept for {picture}: {what}'
            following = self._next_open(self._number) if go_on else None
            if following is not None:
                self._go(following, told)
            else:
                self._tell(f'{told}. It was the last one' if go_on else told)

    def remove(self) -> None:
        """Write nothing about the label in this picture."""
        with self._lock:
            try:
                self.book.remove(self.book.pictures[self._number], self._label)
            except UserError as error:
                self._tell(str(error))
                return
            self._load()
            self._tell('nothing is written about it now')

    def _go(self, number: int, told: str = '') -> None:
        dropped = 'what was not kept is dropped' if self._dirty else ''
        self._number = min(max(number, 0), len(self.book.pictures) - 1)
        self._went_on = self._busy
        self._stopping.set()
        try:
            path = self.book.folder / IMAGES / self.book.pictures[self._number]
            self._color = read_image(path)
        except InvalidFolder as error:
            self._color, told = None, str(error)
        self._load()
        self._tell(told or dropped)
        self._propose_if_open()

    def _load(self) -> None:
        """What is written about the label."""
        known = self.book.points(self.book.pictures[self._number], self._label)
        self._points, self._dirty, self._before = known or (), False, []

    def _propose_if_open(self) -> None:
        picture = self.book.pictures[self._number]
        if self._asks and self._label and self.book.points(picture, self._label) is None:
            self.propose()

    def _next_open(self, after: int) -> int | None:
        """The next picture without a line; after the last comes the first. None: there is none."""
        count = len(self.book.pictures)
        numbers = [*range(after + 1, count), *range(after)]
        pictures = self.book.pictures
        return next(
            (i for i in numbers if self.book.points(pictures[i], self._label) is None), None
        )

    def _change(self, points: Sequence[Pixel]) -> None:
        self._before.append(self._points)
        self._points, self._dirty = tuple(points), True

    def _tell(self, told: str) -> None:
        self._told = told
        if self._ending.is_set():
            return
        picture = self.book.pictures[self._number]
        written = self.book.points(picture, self._label) is not None
        self._show(
            Shown(
                picture,
                self._number,
                self._color,
                self._label,
                self._points,
                written and not self._dirty,
                self._busy,
                told,
            )
        )

    # The thread that asks.

    def _answer(self) -> None:
        while self._wanted.get() and not self._ending.is_set():
            told = ''
            try:
                told = self._proposed()
            except Exception as error:
                told = '' if self._went_on else 'stopped'
                if not self._stopping.is_set():
                    told = _told(error)
            with self._lock:
                self._busy = False
                self._tell(told)
                if self._went_on:
                    self._went_on = False
                    self._propose_if_open()
        if self._engine is not None:
            with suppress(EngineError):
                self._engine.close()

    def _proposed(self) -> str:
        with self._lock:
            number, label, color = self._number, self._label, self._color
            before = self._points
        if color is None:
            return 'the picture cannot be read'
        if self._engine is None:
            self._engine = self._open_engine(self._loading)
        answer = self._engine.answer(color, Question(label), self._stopping.is_set)
        with self._lock:
            if (number, label) != (self._number, self._label):
                return ''
            if self._points is not before:
                return 'the points were changed meanwhile: ask again, if you want the model to say'
            self._change([(point.u, point.v) for point in answer.points])
            found = len(answer.points)
            return (
                f'the model points at {found}: correct them, and keep them'
                if found
                else 'the model finds none: add what there is, or keep that there is none'
            )

    def _loading(self, what: str, share: float) -> None:
        part = f' {share:.0%}' if 0 < share <= 1 else ''
        with self._lock:
            self._tell(f'the model: {what}{part}')


def _told(error: Exception) -> str:
    if isinstance(error, EngineError | UserError):
        return str(error)
    return f'{type(error).__name__}: {shortened(str(error), 300)}'
