# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An answer as a server sends it, token by token, and what it comes to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log, nan
from typing import Any

import numpy as np

from molmo_ros.engine.answers import Answer, EngineError, Question
from molmo_ros.engine.confidence import is_number, with_confidence
from molmo_ros.engine.remote.manner import Manner
from molmo_ros.engine.writer import Prediction
from molmo_ros.pointing import Mode, Reading, complete, finished, label_for, openings

_MOST_TEXT = 1 << 17
_LEAST = 1e-30  # of a probability, so that it has a logarithm


@dataclass(frozen=True)
class _Token:
    """One that the server chose, its probability, and those of the likeliest, itself among them."""

    text: str
    probability: float
    others: dict[str, float]


@dataclass(frozen=True)
class _Written:
    """What confidence is measured on; see `confidence.Written`."""

    text: str
    starts: Sequence[int]
    predictions: Sequence[Prediction]


@dataclass
class Reply:
    """Collects what comes. begun: when the question was sent, in `time.monotonic` seconds."""

    question: Question
    manner: Manner
    begun: float
    text: str = ''
    ended: str = ''  # the server's reason; '' while there may come more
    first: float = nan
    ids: list[int] = field(default_factory=list)
    tokens: list[_Token] = field(default_factory=list)
    work: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether reading on is needless though the server writes on."""
        style, most = self.manner.style, self.question.max_points
        if len(self.text) > _MOST_TEXT:
            return True
        return bool(most and style and self._may_finish and finished(self.text, most, style))

    @property
    def _may_finish(self) -> bool:
        return self.question.mode is not Mode.ASK

    def take(self, chunk: Any) -> bool:
        """Take in a part of the stream; whether it brought anything written."""
        if usage := getattr(chunk, 'usage', None):
            self.work = {
                'prompt_tokens': usage.prompt_tokens or 0,
                'text_tokens': usage.completion_tokens or 0,
            }
            # vLLM tells it at the end alone, and only if it was started so.
            if (details := getattr(usage, 'prompt_tokens_details', None)) is not None:
                self.work['cached_tokens'] = getattr(details, 'cached_tokens', None) or 0
        if not chunk.choices:
            return False
        choice = chunk.choices[0]
        written = (choice.delta.content if choice.delta else None) or ''
        self.text += written
        self.ids += getattr(choice, 'token_ids', None) or ()
        logprobs = getattr(choice, 'logprobs', None)
        self.tokens += map(_token, (logprobs and logprobs.content) or ())
        self.ended = choice.finish_reason or self.ended
        brought = bool(written or self.ids or self.tokens)
        if brought and self.first != self.first:
            self.first = time.monotonic()
        return brought

    def answer(self, width: int, height: int, preprocess: float) -> Answer:
        """Of an image of that size, which took so many seconds to prepare. Raises EngineError."""
        if self.ended == 'content_filter':
            raise EngineError('the server refused to answer: its filter stopped the text')
        ended = time.monotonic()
        text = self._whole()
        most = self.question.max_points
        reading = self.manner.read(text, width, height)
        points = reading.points[: most or None]
        written = self._as_written()
        if written is not None and self.manner.style is not None:
            points = with_confidence(
                points, written, self._numbers, width, height, self.manner.style
            )
        first = self.first if self.first == self.first else ended
        timings = {
            'preprocess': preprocess,
            'prefill': first - self.begun,
            'decode': max(ended - first, 0.0),
            'parse': time.monotonic() - ended,
        }
        count = max(len(self.ids), len(self.tokens), self.work.get('text_tokens', 0))
        return Answer(
            text,
            points,
            reading.count,
            reading.absent,
            count,
            timings,
            tuple(self.ids),
            self.work,
            self._presence(reading),
            truncated=self.ended == 'length',
        )

    def _whole(self) -> str:
        """The text, its tag closed where the server was told to stop in it, or reading stopped."""
        style = self.manner.style
        if style is None or not self._may_finish:
            return self.text
        if not finished(self.text, self.question.max_points, style):
            return self.text
        return complete(self.text, label_for(self.question.query), style)

    @property
    def _numbers(self) -> list[str]:
        """All texts of numbers that the server gave a probability, in an order."""
        return sorted({text for token in self.tokens for text in token.others if is_number(text)})

    def _as_written(self) -> _Written | None:
        """Where each token stands in the text; None where the server does not tell, or otherwise
        than it writes."""
        if not self.tokens or not ''.join(t.text for t in self.tokens).startswith(self.text):
            return None
        ends = np.cumsum([0, *(len(token.text) for token in self.tokens)])
        numbers = self._numbers
        return _Written(
            self.text,
            [int(end) for end in ends[:-1]],
            [
                Prediction(
                    -1,
                    token.probability,
                    np.array([token.others.get(n, 0.0) for n in numbers], np.float32),
                )
                for token in self.tokens
            ],
        )

    def _presence(self, reading: Reading) -> float:
        """The belief that there is anything, of what the answer may have begun with; NaN where
        the first token does not tell."""
        style = self.manner.style
        if not self.tokens or style is None:
            return nan
        pointing, denying = openings(style)
        first = self.tokens[0]

        def begins(text: str) -> tuple[bool, bool]:
            return _begins(text, pointing), _begins(text, denying)

        pointed = begins(first.text) == (True, False) and bool(reading.points)
        denied = begins(first.text) == (False, True) and reading.absent
        if not (pointed or denied):
            return nan
        there = sum(p for text, p in first.others.items() if begins(text) == (True, False))
        none = sum(p for text, p in first.others.items() if begins(text) == (False, True))
        odds = log(max(there, _LEAST)) - log(max(none, _LEAST))
        return 1 / (1 + exp(-odds))


def _token(told: Any) -> _Token:
    own = exp(min(told.logprob, 0.0))
    others = {one.token: exp(min(one.logprob, 0.0)) for one in told.top_logprobs or ()}
    return _Token(told.token, own, {**others, told.token: own})


def _begins(token: str, texts: tuple[str, ...]) -> bool:
    """Whether one of the texts may begin with a token, whatever the blank before it."""
    token = token.strip()
    return bool(token) and any(text.strip().startswith(token) for text in texts)
