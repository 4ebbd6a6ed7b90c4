# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Asking an engine the questions of a data set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from molmo_ros.engine import Answer, Engine, Pointer, Question, as_engine
from molmo_ros.evaluation.judging import Judgement, Verdict, judge
from molmo_ros.evaluation.samples import Image, PositionError, Sample

TOGETHER = 16
"""At most so many questions about one picture go through the model at once."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """How a sample was answered.

    seconds: what the answer took, or its share of what the answers to several questions took
    together. first: whether it was the first question about its picture. size: width and height of
    the picture. position: None where nothing was hit or nothing is known in 3D.
    """

    sample: Sample
    answer: Answer
    judgement: Judgement
    seconds: float
    first: bool
    size: tuple[int, int]
    position: PositionError | None = None


def nothing_known(sample: Sample) -> None:
    """Of an evaluation that begins."""


def evaluate(
    engine: Pointer,
    samples: Iterable[Sample],
    *,
    one_by_one: bool = False,
    known: Callable[[Sample], Evaluated | None] = nothing_known,
) -> Iterator[Evaluated]:
    """Ask every sample, in order; the questions about one picture together.

    one_by_one: each by itself, as a robot would ask, to time answers. known: what is known of a
    sample already, which is then not asked. Raises EngineError, and InvalidData where a picture
    cannot be read.
    """
    whole = as_engine(engine)
    for _, group in groupby(samples, key=lambda sample: sample.image_id):
        about_one = []
        for sample in group:
            before = known(sample)
            if before is None:
                about_one.append(sample)
            else:
                yield before
        if not about_one:
            continue
        image = about_one[0].image()
        step = 1 if one_by_one else TOGETHER
        for begin in range(0, len(about_one), step):
            yield from _asked(whole, image, about_one[begin : begin + step], begin == 0)


def _asked(
    engine: Engine, image: Image, samples: Sequence[Sample], first: bool
) -> Iterator[Evaluated]:
    begun = time.perf_counter()
    questions = [Question(sample.query, sample.mode) for sample in samples]
    answers = engine.answer_many(image, questions)
    seconds = (time.perf_counter() - begun) / len(samples)
    height, width = image.shape[:2]
    for sample, answer in zip(samples, answers, strict=True):
        judgement = judge(sample, answer, width, height)
        position = None
        if sample.position is not None and judgement.verdict is Verdict.HIT:
            position = sample.position(answer.points[0])
        yield Evaluated(sample, answer, judgement, seconds, first, (width, height), position)
        first = False
