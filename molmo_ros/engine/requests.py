# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every engine does with a request before its model sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.answers import EngineError, InvalidImage, InvalidQuestion, Question, Stopped
from molmo_ros.model.config import LanguageConfig
from molmo_ros.pointing import Mode, Style, bare_phrase, in_known_words, prompt_for, respelt

MIN_SIDE = 16
MAX_PIXELS = 64_000_000
TURN_CHECK = 0.02  # s between looks at should_stop while others are answered
STAGES = ('preprocess', 'vision', 'prefill', 'decode', 'parse')


class Stopwatch:
    """Seconds spent in each stage of an answer; `with watch('vision'): ...`.

    synchronize: waits for what a stage has only started, on a device that works on its own.
    """

    clock = staticmethod(time.perf_counter)

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = self.clock()
        try:
            yield
        finally:
            self._synchronize()
            self.seconds[stage] += self.clock() - begin


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise InvalidImage for what is no RGB image of a size that can be looked at."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InvalidImage(
            f'expected an RGB image of shape (height, width, 3) and uint8; got '
            f'{image.shape} {image.dtype}'
        )
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise InvalidImage(
            f'the image is {width}x{height}; both sides must be at least {MIN_SIDE} pixels'
        )
    if height * width > MAX_PIXELS:
        raise InvalidImage(
            f'the image has {width}x{height} pixels; at most {MAX_PIXELS} are accepted'
        )


def prompt_of(question: Question, style: Style = Style.MOLMO) -> str:
    """Word a question as the model was trained on it. Raises InvalidQuestion."""
    try:
        return prompt_for(question.query, question.mode, style)
    except ValueError as error:
        raise InvalidQuestion(str(error)) from error


def heard(question: Question, language: LanguageConfig) -> Question:
    """The question as a checkpoint wants to be asked it; one asked as it stands stays so."""
    query = question.query
    if question.mode is Mode.ASK:
        return question
    if language.lower_case:
        query = query.lower()
    if language.bare_phrases:
        query = bare_phrase(query, question.mode)
    if language.words:
        query = respelt(query, language.words.split(), language.other_words.split())
    query = in_known_words(query, language.synonyms)
    return replace(question, query=query)


def as_engine_error(error: Exception) -> EngineError:
    """What to tell whoever asked."""
    if isinstance(error, EngineError):
        return error
    told = EngineError(f'inference failed: {error}')
    told.__cause__ = error
    return told


def continue_or_stop(should_stop: Callable[[], bool]) -> None:
    """Raise Stopped if `should_stop` says so."""
    if should_stop():
        raise Stopped('stopped before the answer was complete')


@contextmanager
def turn(lock: Lock, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Wait for one's turn, and give up waiting where `should_stop` says so."""
    while not lock.acquire(timeout=TURN_CHECK):
        continue_or_stop(should_stop)
    try:
        yield
    finally:
        lock.release()
