# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an engine is asked and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import nan
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from molmo_ros.pointing import ImagePoint, Mode

TRUNCATED = (
    'the answer was cut off at the most tokens that one may have, so points may be missing: ask '
    'for less at a time, as one kind of thing or a part of the image'
)
NOT_TOLD = 'the engine returned without an answer: ask again'


class EngineError(RuntimeError):
    """The engine could not answer; the message is for the user."""


class InvalidImage(EngineError):
    """The image cannot be looked at; the message says what would do."""


class InvalidQuestion(EngineError):
    """The question cannot be asked; the message says what would do."""


class Stopped(EngineError):
    """`should_stop` said so before the answer was complete."""


@dataclass(frozen=True)
class Question:
    """`max_points` 0 means as many as the model finds."""

    query: str
    mode: Mode = Mode.POINT
    max_points: int = 0


@dataclass(frozen=True)
class Answer:
    """What the model wrote, read.

    Attributes:
        text: the model's answer as written.
        points: in pixels of the image given.
        count: the number the text states, if it states one.
        absent: whether the text says that there is nothing of the kind.
        passes: forward passes of the decoder that the answer took, prefill included.
        timings: seconds per stage: preprocess, vision, prefill, decode, parse; what the cache of
            frames saved takes 0.
        tokens: ids of the text as the model wrote it, up to where reading on was needless.
        work: counts of what went through the model: crops (encoder), image_tokens and text_tokens
            (decoder, drafts included), choices (head: what follows the question, and each token of
            the answer, drafts included). For questions about an image answered together, timings
            and work are those of all of them until this answer was known.
        presence: how likely the model finds it that there is anything to point at, 0..1; NaN where
            that is not known. `confidence` of a point says how sure it is of where.
        heat: (rows, columns) float32 over the whole image, how much of the model's belief each
            part of it has, summed over the points; None of a model that cannot tell (all but
            MolmoPoint), and without points.
        truncated: whether the answer has as many tokens as there may be, and the model would have
            gone on: of a list, points may be missing.
    """

    text: str
    points: tuple[ImagePoint, ...]
    count: int | None
    absent: bool
    passes: int = 0
    timings: Mapping[str, float] = field(default_factory=dict)
    tokens: tuple[int, ...] = ()
    work: Mapping[str, int] = field(default_factory=dict)
    presence: float = nan
    heat: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    truncated: bool = False

    @property
    def how_many(self) -> int:
        """The number that the text states, else how many points it gives."""
        return len(self.points) if self.count is None else self.count


@dataclass(frozen=True)
class Finding:
    """Of a test. passed: None where a person may judge, and nothing is refused for it."""

    name: str
    passed: bool | None
    detail: str


def never() -> bool:
    return False


@dataclass(frozen=True)
class QueuedQuestion:
    """One of several questions about an image, with an end of its own.

    tell: called once, with the answer as soon as it is known, or with the error that it ended in.
    should_stop: as in `Engine.answer`, for this question alone.
    """

    question: Question
    tell: Callable[[Answer | Exception], None]
    should_stop: Callable[[], bool] = never


@dataclass(frozen=True)
class AskedImage:
    """An (H, W, 3) RGB image, and questions about it."""

    image: NDArray[np.uint8]
    questions: Sequence[QueuedQuestion]


class Engine(ABC):
    """Answers questions about images.

    at_once: how many images it can be asked about at the same time, `answer_each` in as many
    threads. warnings: what whoever opened it should know. assumed: what is taken for granted of it
    in every answer.
    """

    at_once = 1
    warnings: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @abstractmethod
    def answer_each(self, image: NDArray[np.uint8], questions: Sequence[QueuedQuestion]) -> None:
        """Answer several questions about one RGB image of shape (H, W, 3).

        Returns when every one of them has been told its answer or its error; what becomes of one
        does not touch the others. Errors are EngineError, and are told, not raised.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds; it answers no more."""

    def answer_frames(self, first: AskedImage, more: Callable[[], AskedImage | None]) -> None:
        """As `answer_each`, and beside it what `more` gives, if the engine can.

        It asks for `more` when it could answer about a further image meanwhile, and has told all
        that it took when it returns. None: nobody waits now.
        """
        self.answer_each(first.image, first.questions)

    def own_findings(self) -> tuple[Finding, ...]:
        """What it finds about itself; a part of the self-test."""
        return ()

    def answer(
        self,
        image: NDArray[np.uint8],
        question: Question,
        should_stop: Callable[[], bool] = never,
    ) -> Answer:
        """Answer `question` about an RGB image of shape (H, W, 3).

        `should_stop` is asked before every pass. Raises EngineError and nothing else.
        """
        return self.answer_many(image, [question], should_stop)[0]

    def answer_many(
        self,
        image: NDArray[np.uint8],
        questions: Sequence[Question],
        should_stop: Callable[[], bool] = never,
    ) -> tuple[Answer, ...]:
        """Answer several questions about one image, in their order; all or none, as `answer`."""
        if not questions:
            raise InvalidQuestion('no question was asked; ask at least one')
        told: dict[int, Answer] = {}
        errors: list[Exception] = []

        def tell(index: int, outcome: Answer | Exception) -> None:
            if isinstance(outcome, Exception):
                errors.append(outcome)
            else:
                told[index] = outcome

        def stop() -> bool:
            return bool(errors) or should_stop()

        self.answer_each(
            image,
            [
                QueuedQuestion(question, partial(tell, index), stop)
                for index, question in enumerate(questions)
            ],
        )
        if errors:
            raise errors[0]
        if len(told) < len(questions):
            raise EngineError(NOT_TOLD)
        return tuple(told[index] for index in range(len(questions)))


class Pointer(Protocol):
    """The least that can answer: one question about one image, as `Engine.answer`, and an end."""

    def answer(
        self, image: NDArray[np.uint8], question: Question, should_stop: Callable[[], bool], /
    ) -> Answer: ...
    def close(self) -> None: ...


class OneByOne(Engine):
    """A whole engine around a pointer, which is asked one question after the other."""

    def __init__(self, pointer: Pointer) -> None:
        self._pointer = pointer

    def answer_each(self, image: NDArray[np.uint8], questions: Sequence[QueuedQuestion]) -> None:
        for one in questions:
            outcome: Answer | Exception
            try:
                outcome = self._pointer.answer(image, one.question, one.should_stop)
            except Exception as error:
                outcome = error
            one.tell(outcome)

    def close(self) -> None:
        self._pointer.close()


def as_engine(given: Pointer) -> Engine:
    """A whole engine, of whatever can answer.

    Called where one arrives from outside (the node's worker, `evaluate`), because there people give
    what has only `answer` and `close`; behind, nobody has to ask what an engine can do.
    """
    return given if isinstance(given, Engine) else OneByOne(given)
