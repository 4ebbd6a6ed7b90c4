# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers given before: the same again for the same picture, a first draft for one like it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.answers import Answer, Question
from molmo_ros.engine.frame_cache import FrameKey

MAX_ANSWERS = 256  # that are given again
MAX_QUESTIONS = 64  # whose answers are drafts
MAX_VIEWS = 8  # of a question
STILL = 8.0  # mean difference of pixels, of 255, up to which a view is taken for the same as before

View = NDArray[np.int16]


def view_of(image: NDArray[np.uint8]) -> View:
    """Some of the pixels of an (H, W, 3) image, to tell a camera's pictures from another's."""
    height, width = image.shape[:2]
    return image[:: max(height // 24, 1), :: max(width // 32, 1)].astype(np.int16)


@dataclass(frozen=True)
class _Seen:
    view: View
    tokens: tuple[int, ...]

    def difference(self, view: View) -> float:
        """Mean of the pixels' differences; infinite for a picture of another size."""
        if self.view.shape != view.shape:
            return float('inf')
        return float(np.abs(self.view - view).mean())


class Recall:
    """What was answered, by picture and by view; the newest of each, so that it stays small.

    Greedy decoding gives the same answer to the same question about the same picture, so that
    needs no pass at all. A view is where a camera looks: its last answer is likely to be its next,
    also where other cameras are asked the same in between.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[FrameKey, Question], Answer] = OrderedDict()
        self._seen: OrderedDict[Question, list[_Seen]] = OrderedDict()

    def answer(self, key: FrameKey, question: Question) -> Answer | None:
        """What was answered to this question about this very picture."""
        return self._answers.get((key, question))

    def draft(self, view: View, question: Question) -> Sequence[int]:
        """The tokens of the answer about the likeliest view; none where it was never asked."""
        seen = self._seen.get(question, ())
        if not seen:
            return ()
        return min(reversed(seen), key=lambda one: one.difference(view)).tokens

    def keep(
        self,
        key: FrameKey,
        view: View,
        question: Question,
        answer: Answer,
        tokens: tuple[int, ...] | None = None,
    ) -> None:
        """Remember an answer. tokens: what is drafted for one like it; by default its own."""
        tokens = answer.tokens if tokens is None else tokens
        self._answers[key, question] = answer
        self._answers.move_to_end((key, question))
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        others = [
            one
            for one in self._seen.get(question, ())
            if one.tokens != tokens and one.difference(view) > STILL
        ]
        self._seen[question] = [*others, _Seen(view, tokens)][-MAX_VIEWS:]
        self._seen.move_to_end(question)
        if len(self._seen) > MAX_QUESTIONS:
            self._seen.popitem(last=False)
