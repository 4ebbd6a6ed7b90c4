# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How likely the model finds that there is anything to point at, from the pass that it began with.

An answer begins as one that points or as one that says that there is none; how likely the model
found either is told with its choice. Worth as much as the model was taught to deny: what it never
learned to tell from things that it knows, it believes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, nan

from molmo_ros.engine.writer import Writer
from molmo_ros.model.tokens import Tokenizer
from molmo_ros.pointing import Reading, Style, openings

_LEAST = 1e-30  # of a probability, so that it has a logarithm


@dataclass(frozen=True)
class Openings:
    """The ids that an answer begins with: where it points, and where it denies."""

    pointing: tuple[int, ...]
    denying: tuple[int, ...]

    @staticmethod
    def of(tokenizer: Tokenizer, style: Style) -> Openings:
        pointing, denying = (
            tuple(dict.fromkeys(tokenizer.encode(text)[0] for text in texts))
            for texts in openings(style)
        )
        return Openings(pointing, denying)

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.pointing, *self.denying)


def presence_of(writer: Writer, reading: Reading, openings: Openings, temperature: float) -> float:
    """The belief that there is anything to point at, 0..1.

    NaN where the answer begins as neither, or goes on otherwise than it began. temperature: what
    the log odds are divided by.
    """
    if not writer.predictions:
        return nan
    first = writer.predictions[0]
    pointed = first.token in openings.pointing and bool(reading.points)
    denied = first.token in openings.denying and reading.absent
    if not (pointed or denied):
        return nan
    there = sum(first.openings[: len(openings.pointing)].tolist())
    none = sum(first.openings[len(openings.pointing) :].tolist())
    odds = (log(max(there, _LEAST)) - log(max(none, _LEAST))) / temperature
    return 1 / (1 + exp(-odds))
