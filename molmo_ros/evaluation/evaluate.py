# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Asking an engine the questions of a data set."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
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
    together. first: whether it was the first question about its picture. position: None where
    nothing was hit or nothing is known in 3D.
    """

    sample: Sample
    answer: Answer
    judgement: Judgement
    seconds: float
    first: bool
    position: PositionError | None = None


def evaluate(
    engine: Pointer, samples: Iterable[Sample], *, one_by_one: bool = False
) -> Iterator[Evaluated]:
    """Ask every sample, in order; the questions about one picture together.

    one_by_one: each by itself, as a robot would ask, to time answers. Raises EngineError, and
    InvalidData where a picture cannot be read.
    """
    whole = as_engine(engine)
    for _, group in groupby(samples, key=lambda sample: sample.image_id):
        about_one = tuple(group)
        image = about_one[0].image()
        step = 1 if one_by_one else TOGETHER
        for begin in range(0, len(about_one), step):
            yield from _asked(whole, image, about_one[begin : begin + step], begin == 0)


def _asked(
    engine: Engine, image: Image, samples: tuple[Sample, ...], first: bool
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
        yield Evaluated(sample, answer, judgement, seconds, first, position)
        first = False
