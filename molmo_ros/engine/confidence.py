# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How sure the model was of where to point, from the passes that wrote the point.

Digit by digit the model gives every other digit a probability too: a 6 of 0.8 before a 5 of 0.2
says that a fifth of its belief lies ten percent of the image to the left. What would have followed
another digit is not known: it is taken as spread evenly over the numbers that begin so, and where
they are next to those that begin as the point's does, as falling off from there.

Whether there is anything to point at is another question, and not asked here: how likely the model
finds it depends on how often it was asked in vain while it learned.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Protocol

from molmo_ros.engine.writer import Prediction
from molmo_ros.pointing import ImagePoint, Style

NEAR = 5.0  # percent of the image: belief this close to the point counts as belief in it

_NUMBER = re.compile(r'[0-9]+|\.')
_PAIR = re.compile(r'\sx([0-9]{0,6})="\s?([0-9]+(?:\.[0-9]+)?)"\s+y\1="\s?([0-9]+(?:\.[0-9]+)?)')
_COORDS = re.compile(r'coords="([0-9 \t:;,]*)')
_TRIPLE = re.compile(r'[0-9]+ ([0-9]{3,4}) ([0-9]{3,4})')


@dataclass(frozen=True)
class _Belief:
    """Belief near a written number, and the mean square of how far the belief is from it."""

    near: float
    variance: float  # percent²


class Written(Protocol):
    """A text, where in it each token begins, and what was predicted there; a `Writer` is one."""

    @property
    def text(self) -> str: ...
    @property
    def starts(self) -> Sequence[int]: ...
    @property
    def predictions(self) -> Sequence[Prediction]: ...


Span = tuple[int, int]
Interval = tuple[float, float]


def is_number(text: str) -> bool:
    """Whether a token's text is one that a coordinate is written with."""
    return _NUMBER.fullmatch(text) is not None


def number_tokens(vocabulary: Mapping[str, int]) -> tuple[list[int], list[str]]:
    """Ids and texts of the tokens that a coordinate is written with."""
    written = {token: index for token, index in vocabulary.items() if is_number(token)}
    return list(written.values()), list(written)


def with_confidence(
    points: Sequence[ImagePoint],
    writer: Written,
    numbers: Sequence[str],
    width: int,
    height: int,
    style: Style = Style.MOLMO,
) -> tuple[ImagePoint, ...]:
    """Return the points with `confidence` and `spread`; NaN stays for those not in a tag.

    confidence: the belief within NEAR of its x, times that of its y. spread: pixels, the root mean
    square distance of the belief from the point. numbers: texts of the tokens in
    `Prediction.numbers`.
    """
    measured: dict[tuple[float, float], tuple[float, float]] = {}
    scale = 0.1 if style is Style.MOLMO2 else 1.0
    for x, y in _spans(writer.text, style):
        in_x = _belief(writer, x, numbers, style)
        in_y = _belief(writer, y, numbers, style)
        u = float(writer.text[slice(*x)]) * scale / 100 * width
        v = float(writer.text[slice(*y)]) * scale / 100 * height
        spread = sqrt(in_x.variance * width**2 + in_y.variance * height**2) / 100
        measured.setdefault(_place(u, v), (in_x.near * in_y.near, spread))
    nowhere = (float('nan'), float('nan'))
    return tuple(
        replace(point, confidence=confidence, spread=spread)
        for point in points
        for confidence, spread in [measured.get(_place(point.u, point.v), nowhere)]
    )


def _spans(text: str, style: Style) -> Iterator[tuple[Span, Span]]:
    """Where the x and the y of each point stand in the text."""
    if style is Style.MOLMO2:
        for coords in _COORDS.finditer(text):
            for triple in _TRIPLE.finditer(text, *coords.span(1)):
                yield triple.span(1), triple.span(2)
    else:
        for pair in _PAIR.finditer(text):
            yield pair.span(2), pair.span(3)


def _place(u: float, v: float) -> tuple[float, float]:
    return round(u, 6), round(v, 6)


def _tokens(writer: Written, span: Span) -> range:
    """Those that begin within a span."""
    return range(bisect_left(writer.starts, span[0]), bisect_left(writer.starts, span[1]))


def _belief(writer: Written, span: Span, numbers: Sequence[str], style: Style) -> _Belief:
    text = writer.text[slice(*span)]
    chosen, whole = _value(text, style)
    near, variance, reached = 0.0, 0.0, 1.0
    for index in _tokens(writer, span):
        prediction = writer.predictions[index]
        before = writer.text[span[0] : writer.starts[index]]
        last = index == len(writer.starts) - 1
        end = len(writer.text) if last else writer.starts[index + 1]
        taken = writer.text[writer.starts[index] : min(end, span[1])]
        own = _bounds(before + taken, whole, style)
        for other in (prediction.numbers > 1e-4).nonzero()[0].tolist():
            bounds = _bounds(before + numbers[other], whole, style)
            # A token that begins as the written number goes on is the one that was taken.
            if bounds is None or text[len(before) :].startswith(numbers[other]):
                continue
            share = reached * float(prediction.numbers[other])
            inside, square = _elsewhere(
                chosen, bounds, beside=own is not None and _touch(own, bounds)
            )
            near += share * inside
            variance += share * square
        reached *= prediction.probability
    return _Belief(near + reached, variance)


def _elsewhere(chosen: float, bounds: Interval, beside: bool) -> tuple[float, float]:
    """Belief in an interval: its share within NEAR of `chosen`, and the mean square distance.

    Beside the digit that was taken it is the slope of the same hill, falling to nothing at the far
    end; elsewhere it is even.
    """
    low, high = bounds
    width = high - low
    edge = low - chosen if low >= chosen else chosen - high
    reach = min(max((NEAR - edge) / width, 0.0), 1.0)
    if beside:
        return 1 - (1 - reach) ** 2, edge**2 + 2 * edge * width / 3 + width**2 / 6
    return reach, edge**2 + edge * width + width**2 / 3


def _touch(a: Interval, b: Interval) -> bool:
    return abs(a[0] - b[1]) < 1e-6 or abs(a[1] - b[0]) < 1e-6


def _value(text: str, style: Style) -> tuple[float, int]:
    """A written number in percent, and how many digits its like have before the point."""
    if style is Style.MOLMO2:
        return float(text) / 10, 3
    return float(text), min(len(text.partition('.')[0]), 2)


def _bounds(begun: str, whole: int, style: Style) -> Interval | None:
    """Between which percents a number lies that begins so; None if no number does."""
    head, point, decimals = begun.partition('.')
    if not head.isdigit() or (decimals and not decimals.isdigit()):
        return None
    step = 10.0 ** (-len(decimals) if point else max(whole - len(head), 0))
    low = float(begun) if point else int(head) * step
    unit = 0.1 if style is Style.MOLMO2 else 1.0
    return min(low * unit, 100.0), min(low * unit, 100.0) + step * unit
