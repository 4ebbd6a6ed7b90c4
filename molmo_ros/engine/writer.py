# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One answer as it is written: what to draft next, and which of the drafted tokens stand.

A draft is put through the model together with the token it follows. The model's own choice after
each of them says how far the draft is what it would have written; from the first difference on,
its choice counts. The tokens are those of greedy decoding, whatever was drafted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.answers import Question
from molmo_ros.model.tokens import Tokenizer
from molmo_ros.pointing import Mode, Style, complete, draft, finished, label_for

MAX_DRAFT = 128


@dataclass(frozen=True)
class Prediction:
    """The model's choice after a token, its probability, and those of the tokens of numbers and of
    those that an answer begins with."""

    token: int
    probability: float
    numbers: NDArray[np.float32]
    openings: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


class Writer:
    """The answer to one question, up to the end of text or until the last coordinate is known.

    limit: how many tokens it may take. stops: the ids that end a text. remembered: an earlier
    answer's tokens, the first draft.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        question: Question,
        limit: int,
        stops: Collection[int],
        remembered: Sequence[int] = (),
        style: Style = Style.MOLMO,
    ) -> None:
        self._tokenizer, self._style, self._limit = tokenizer, style, limit
        self._stops = frozenset(stops)
        self._remembered = list(remembered)
        self._max_points = question.max_points
        self._may_finish = question.mode is not Mode.ASK
        self._label = label_for(question.query)
        self._cut_short = False
        self.ids: list[int] = []
        self.predictions: list[Prediction] = []
        self.starts: list[int] = []  # where in the text each token begins
        self.text = ''
        self.done = limit < 1

    @property
    def answer(self) -> str:
        """What was written, with its tag closed where reading stopped at the last coordinate."""
        return complete(self.text, self._label, self._style) if self._cut_short else self.text

    def draft(self) -> list[int]:
        """Ids that may come next; none where nothing can be guessed."""
        room = min(self._limit - len(self.ids) - 1, MAX_DRAFT)
        return self._guess()[: max(room, 0)]

    def accept(self, drafted: Sequence[int], predictions: Sequence[Prediction]) -> int:
        """Take the model's choices before and after each drafted token; return how many stand."""
        for index, prediction in enumerate(predictions):
            self._write(prediction)
            if self.done or index == len(drafted) or prediction.token != drafted[index]:
                return index
        return len(drafted)

    def _guess(self) -> list[int]:
        done = len(self.ids)
        if done < len(self._remembered) and self._remembered[:done] == self.ids:
            return self._remembered[done:]
        more = draft(self.text, self._label, self._style)
        if not more:
            return []
        # As the tokenizer would write the whole, if that is how the model began.
        whole = self._tokenizer.encode(self.text + more)
        return whole[done:] if whole[:done] == self.ids else self._tokenizer.encode(more)

    def _write(self, prediction: Prediction) -> None:
        if prediction.token in self._stops:
            self.done = True
            return
        self.starts.append(len(self.text))
        self.ids.append(prediction.token)
        self.predictions.append(prediction)
        self.text = self._tokenizer.decode(self.ids)
        self._cut_short = self._may_finish and finished(self.text, self._max_points, self._style)
        self.done = self._cut_short or len(self.ids) >= self._limit
