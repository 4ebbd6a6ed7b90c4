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
from molmo_ros.pointing import Follower, Mode, Style, complete, label_for

MAX_DRAFT = 128
_BEFORE_DRAFT = 8  # tokens that the tokenizer sees again, to write a draft as it would the whole
_UNDECODED = '\N{REPLACEMENT CHARACTER}'  # stands for a character that has only begun


@dataclass(frozen=True)
class Digits:
    """The ids of the ten digits; alone: whether each is a token, also amid a number."""

    ids: tuple[int, ...]
    alone: bool

    @staticmethod
    def of(tokenizer: Tokenizer) -> Digits:
        ids = tuple(tokenizer.encode(digit)[0] for digit in '0123456789')
        return Digits(ids, len(tokenizer.encode('61')) == 2)


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
        self._follower = Follower(self._label, style)
        self._follower.read('')
        self._as_remembered = bool(self._remembered)
        self._decoded = _Decoded(tokenizer)
        self._cut_short = self._stopped = False
        self.ids: list[int] = []
        self.predictions: list[Prediction] = []
        self.starts: list[int] = []  # where in the text each token begins
        self.text = ''
        self.done = limit < 1

    @property
    def answer(self) -> str:
        """What was written, with its tag closed where reading stopped at the last coordinate."""
        return complete(self.text, self._label, self._style) if self._cut_short else self.text

    @property
    def truncated(self) -> bool:
        """Whether the limit ended the answer, before the model did or the last coordinate."""
        return self.done and not self._cut_short and not self._stopped

    def draft(self) -> list[int]:
        """Ids that may come next; none where nothing can be guessed."""
        room = min(self._limit - len(self.ids) - 1, MAX_DRAFT)
        return self._guess()[: max(room, 0)]

    def branches(self, drafted: Sequence[int], digits: Digits) -> list[list[int]]:
        """What may come after a draft that ends where a digit does: each digit, and what follows.

        Empty where no single digit is expected there.
        """
        room = self._limit - len(self.ids) - len(drafted) - 1
        if self._as_remembered or room < 1:
            return []
        more = self._tokenizer.decode(list(drafted))
        _, expected = self._follower.after(more)
        if not expected or not (digits.alone or (self.text + more).endswith('.')):
            return []
        follows = [self._follower.after(f'{more}{digit}')[0] for digit in range(10)]
        encoded = {text: self._tokenizer.encode(text) if text else [] for text in set(follows)}
        ways = ([one, *encoded[text]] for one, text in zip(digits.ids, follows, strict=True))
        return [way[:room] for way in ways]

    def accept(self, drafted: Sequence[int], predictions: Sequence[Prediction]) -> int:
        """Take the model's choices before and after each drafted token; return how many stand."""
        for index, prediction in enumerate(predictions):
            self._write(prediction)
            if self.done or index == len(drafted) or prediction.token != drafted[index]:
                return index
        return len(drafted)

    def _guess(self) -> list[int]:
        done = len(self.ids)
        if self._as_remembered and done < len(self._remembered):
            return self._remembered[done : done + MAX_DRAFT]
        more = self._follower.draft()
        if not more:
            return []
        # As the tokenizer would write the whole, if that is how the model began.
        before = self.ids[-_BEFORE_DRAFT:]
        start = self.starts[-len(before)] if before else 0
        whole = self._tokenizer.encode(self.text[start:] + more)
        if whole[: len(before)] == before:
            return whole[len(before) :]
        return self._tokenizer.encode(more)

    def _write(self, prediction: Prediction) -> None:
        if prediction.token in self._stops:
            self._stopped = self.done = True
            return
        index = len(self.ids)
        self._as_remembered = (
            self._as_remembered
            and index < len(self._remembered)
            and self._remembered[index] == prediction.token
        )
        self.starts.append(len(self.text))
        self.ids.append(prediction.token)
        self.predictions.append(prediction)
        self.text, settled = self._decoded.with_next(prediction.token)
        self._follower.read(self.text, settled)
        self._cut_short = self._may_finish and self._follower.finished(self._max_points)
        self.done = self._cut_short or len(self.ids) >= self._limit


class _Decoded:
    """The text of ids that come one by one; the last few alone are decoded again.

    A token's text may depend on the token before it, and a character may take several tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._settled = ''
        self._before: list[int] = []  # the last ids of what has settled, and their text
        self._text_before = ''
        self._open: list[int] = []

    def with_next(self, token: int) -> tuple[str, int]:
        """The text with one more id, and how much of it stays whatever follows."""
        self._open.append(token)
        text = self._tokenizer.decode(self._before + self._open)[len(self._text_before) :]
        whole = self._settled + text
        if not text.endswith(_UNDECODED):
            self._settled = whole
            self._before, self._open = self._open, []
            self._text_before = self._tokenizer.decode(self._before)
        return whole, len(self._settled)
