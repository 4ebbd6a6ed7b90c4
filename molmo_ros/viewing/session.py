# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What goes on behind the page: following a camera, and asking about it.

One thread follows the camera, another asks, so that a slow model holds up no picture. All browsers
see one session.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import isinf
from typing import Protocol

from molmo_ros.engine import Engine, EngineError, Question
from molmo_ros.errors import UserError, shortened
from molmo_ros.pointing import Mode, prompt_for
from molmo_ros.viewing.asking import answered, clicked
from molmo_ros.viewing.feeds import Feed
from molmo_ros.viewing.views import Shown, View

_IDLE_S = 0.05
_RETRY_S = 1.0
_ENDS_S = 0.7
_MOST_CHARACTERS = 2000  # as many as the node takes
# Answers that can be looked at again, as far as their pictures fit.
_HISTORY, _HISTORY_BYTES = 30, 200 << 20


class Listener(Protocol):
    """Whoever shows it; called from the session's threads."""

    def on_camera(self, name: str, feed: Feed) -> None:
        """Another camera is looked through."""

    def on_view(self, view: View) -> None:
        """A new view of it."""

    def on_at(self, at: float) -> None:
        """Where in a recording it is."""

    def on_answer(self, shown: Shown, number: int, kept: list[int]) -> None:
        """An answer, or more of one; number: counts answers, from 0; kept: that are still kept."""

    def on_state(self, text: str, busy: bool) -> None:
        """What is being done or went wrong; busy: a question is being answered."""


OpenFeed = Callable[[], Feed]
# Loads the model; told what it is doing.
OpenEngine = Callable[[Callable[[str, float], None]], Engine]


class Session:
    """cameras: by name, each opened when it is chosen. open_engine: of cameras that do not answer
    themselves; None where all do. rate: views a second at most."""

    def __init__(
        self,
        cameras: Mapping[str, OpenFeed],
        open_engine: OpenEngine | None,
        listener: Listener,
        rate: float = 10.0,
    ) -> None:
        self._cameras, self._open_engine, self._listener = cameras, open_engine, listener
        self._period = 1.0 / rate
        self._ending = threading.Event()
        self._stopping = threading.Event()
        self._wanted, self._opened = next(iter(cameras)), ''
        self._frame: str | None = None
        self._at, self._seen_at, self._plays = 0.0, 0.0, True
        self._holds = 0
        # What people wish and what a thread of here sets after a look at it, a moment later.
        self._wishing = threading.Lock()
        self._feed: Feed | None = None
        self._trouble = ''  # why the camera shows nothing
        self._using = threading.Lock()  # the feed, so that it is not closed under a question
        self._view: View | None = None
        self._answers: dict[int, Shown] = {}
        self._number = 0
        self._noting = threading.Lock()
        self._questions: queue.Queue[Question | None] = queue.Queue()  # None: load the model
        self._waiting = False  # for an answer
        self._engine: Engine | None = None
        self._threads = [
            threading.Thread(target=target, name=f'view_{target.__name__}', daemon=True)
            for target in (self._follow, self._answer)
        ]

    def start(self) -> None:
        """Begin to follow the first camera."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End, and wait a moment for what is under way."""
        self._ending.set()
        self._stopping.set()
        self._questions.put(None)
        end = time.monotonic() + _ENDS_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(end - time.monotonic(), 0.0))

    @property
    def view(self) -> View | None:
        """The newest one."""
        return self._view

    def choose_camera(self, name: str) -> None:
        """Look through another camera; what is no name of one is passed over."""
        if name in self._cameras:
            with self._wishing:
                self._wanted, self._frame, self._at = name, None, 0.0

    def choose_frame(self, frame: str) -> None:
        """Show all in another frame."""
        self._frame = frame

    def seek(self, at: float) -> None:
        """Go to so many seconds of a recording, or to a picture."""
        with self._wishing:
            self._at = at

    def play(self, plays: bool) -> None:
        """Follow the camera, or stay at what is seen now."""
        self._plays = plays

    def hold(self, view: View) -> None:
        """Stay at a view that was seen before: questions and clicks are about it."""
        with self._wishing:
            self._plays, self._frame, self._view = False, view.frame, view
            self._holds += 1

    def ask(self, query: str, mode: Mode) -> None:
        """Ask about what is seen when its turn comes."""
        try:
            prompt_for(query, mode)
        except ValueError as error:
            self._state(str(error))
            return
        if len(query) > _MOST_CHARACTERS:
            self._state(f'a question has {_MOST_CHARACTERS} characters at most')
            return
        with self._wishing:
            busy, self._waiting = self._waiting, True
            if not busy:
                self._stopping.clear()
        if busy:
            self._state('a question is being answered: wait for it, or stop it')
            return
        self._questions.put(Question(query.strip(), mode))

    def stop(self) -> None:
        """Give up the question that is being answered."""
        self._stopping.set()

    def lift(self, u: float, v: float) -> None:
        """Show what is behind a pixel of the newest view, without a model."""
        view = self._view
        if view is not None:
            self._tell(clicked(u, v, view), self._next_number())

    def again(self, number: int) -> Shown | None:
        """An answer by its number, if it is still kept."""
        with self._noting:
            return self._answers.get(number)

    def _state(self, text: str) -> None:
        if not self._ending.is_set():
            self._listener.on_state(text, self._waiting)

    # The thread that follows the camera.

    def _follow(self) -> None:
        told = ''
        while not self._ending.is_set():
            begun = time.monotonic()
            try:
                if self._wanted != self._opened:
                    self._trouble = told = ''
                    self._opened = self._wanted
                    self._release()
                    self._state(f'opening {self._opened}')
                feed = self._feed or self._open(self._opened)
                self._look(feed)
                if told:
                    self._state('')
                self._trouble = told = ''
                pause = self._period
            except Exception as error:
                # Whatever a library raises, it is tried again.
                self._trouble = _told(error)
                if self._trouble != told:
                    told = self._trouble
                    self._state(told)
                pause = _RETRY_S
            while not self._ending.is_set() and self._wanted == self._opened:
                left = begun + pause - time.monotonic()
                if left <= 0:
                    break
                time.sleep(min(left, _IDLE_S))
        self._release()

    def _open(self, name: str) -> Feed:
        feed = self._cameras[name]()
        with self._using:
            self._feed = feed
        self._frame = feed.frame
        self._listener.on_camera(name, feed)
        self._state('')
        return feed

    def _release(self) -> None:
        with self._using:
            feed, self._feed, self._view = self._feed, None, None
        if feed is not None:
            feed.close()

    def _shown_in(self, feed: Feed) -> str:
        """The frame that all is shown in."""
        return feed.frame if self._frame is None else self._frame

    def _look(self, feed: Feed) -> None:
        frame = self._shown_in(feed)
        with self._wishing:
            last, before, holds = self._view, self._at, self._holds
        at = before
        fresh = last is None or last.frame != frame
        if isinf(feed.lasts):
            if not (fresh or self._plays):
                return
        elif not fresh and at == self._seen_at:
            if not self._plays or feed.counts or not feed.lasts:
                return
            at = (at + self._period) % feed.lasts
        view = replace(feed.take(at, frame), camera=self._opened)
        with self._wishing:
            if self._holds != holds:  # somebody went to another view meanwhile, to stay there
                return
            self._seen_at, self._view = at, view
            stays = self._at == before  # else somebody has moved it meanwhile
            if stays:
                self._at = at
        if stays and feed.lasts and not isinf(feed.lasts):
            self._listener.on_at(at)
        if (last is None or not _same(last, view)) and not self._ending.is_set():
            self._listener.on_view(view)

    # The thread that asks.

    def _answer(self) -> None:
        while not self._ending.is_set():
            question = self._questions.get()
            if self._ending.is_set():
                break
            problem = ''
            try:
                if question is None:
                    self._load()
                else:
                    self._asked(question)
            except Exception as error:
                problem = 'stopped' if self._stopping.is_set() else _told(error)
            with self._wishing:
                self._waiting = self._waiting and question is None
            self._state(problem)
        engine, self._engine = self._engine, None
        if engine is not None:
            with suppress(EngineError):
                engine.close()

    def load(self) -> None:
        """Have the model loaded before there is a question."""
        self._questions.put(None)

    def _load(self) -> None:
        if self._engine is not None:
            return
        if self._open_engine is None:
            raise UserError('there is no model here: choose a camera whose node answers')

        def told(what: str, share: float) -> None:
            part = f' {share:.0%}' if 0 < share <= 1 else ''
            self._state(f'the model: {what}{part}')

        self._engine = self._open_engine(told)

    def _asked(self, question: Question) -> None:
        self._state(f"asking '{shortened(question.query, 60)}'")
        stop = self._stopping.is_set
        # A camera may take seconds for its first picture.
        while self._view is None and not self._trouble and not stop():
            time.sleep(_IDLE_S)
        with self._using:
            feed = self._feed
            if feed is None:
                raise UserError(self._trouble or 'another camera is being opened: ask again')
            frame = self._shown_in(feed)
            ask = getattr(feed, 'ask', None)
            if ask is not None:
                shown = ask(question, frame, stop)
                view = replace(shown.view, camera=self._opened)
                self._tell(replace(shown, view=view), self._next_number())
                return
        view = self._view
        if view is None:
            raise UserError(self._trouble or 'the camera has shown nothing yet')
        self._load()
        assert self._engine is not None
        number = self._next_number()

        def tell(shown: Shown) -> None:
            self._tell(shown, number)

        tell(answered(self._engine, question, view, tell, stop))

    def _next_number(self) -> int:
        with self._noting:
            self._number += 1
            return self._number - 1

    def _tell(self, shown: Shown, number: int) -> None:
        with self._noting:
            kept = self._answers
            kept[number] = shown
            while len(kept) > 1 and (
                len(kept) > _HISTORY or _bytes_of(kept.values()) > _HISTORY_BYTES
            ):
                del kept[min(kept)]
            numbers = [*kept]
        if not self._ending.is_set():
            self._listener.on_answer(shown, number, numbers)


def _told(error: Exception) -> str:
    if isinstance(error, EngineError | UserError):
        return str(error)
    return f'{type(error).__name__}: {shortened(str(error), 300)}'


def _same(one: View, other: View) -> bool:
    a, b = one.capture.frame, other.capture.frame
    return a.color is b.color and a.depth is b.depth and one.frame == other.frame


def _bytes_of(answers: Iterable[Shown]) -> int:
    """Of their pictures, each counted once."""
    frames = {id(f.color): f for shown in answers for f in [shown.view.capture.frame]}
    return sum(f.color.nbytes + (0 if f.depth is None else f.depth.nbytes) for f in frames.values())
