# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked about a label and what Molmo would answer, in the releases' own words."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from molmo_ros.evaluation.points_folder import Label
from molmo_ros.finetuning.views import Window
from molmo_ros.pointing import (
    COUNT_PROMPTS,
    POINT_PROMPTS,
    Mode,
    Style,
    format_absence,
    format_count,
    format_points,
    label_for,
    prompt_for,
    read_points,
)

COUNT_SHARE = 0.1
AS_ASKED_SHARE = 0.6  # in the wording that Mode.POINT asks in
ARTICLES = ('the ', 'the ', 'a ', '')


@dataclass(frozen=True)
class Exchange:
    """A prompt, as in `prompt_for`, and an answer with what its style begins with."""

    prompt: str
    answer: str


def exchange_about(label: Label, rng: random.Random, style: Style = Style.MOLMO) -> Exchange:
    """A question about a label in one of many wordings, and its answer."""
    name, points = label.label, label.points
    if rng.random() < COUNT_SHARE:
        return Exchange(
            rng.choice(COUNT_PROMPTS).replace('{label}', name),
            format_count(points, label_for(name), style),
        )
    if rng.random() < AS_ASKED_SHARE:
        prompt = prompt_for(rng.choice(ARTICLES) + label_for(name), Mode.POINT)
    else:
        prompt = rng.choice(POINT_PROMPTS).replace('{label}', name)
    if points:
        return Exchange(prompt, format_points(points, label_for(name), style))
    return Exchange(prompt, format_absence(prompt, style))


def mirrored(label: Label) -> Label:
    """The same in the picture mirrored left to right."""
    return replace(label, points=tuple((100 - x, y) for x, y in label.points))


def through(label: Label, window: Window) -> Label:
    """The same where only a window of the picture is shown, which holds all of its points."""
    return replace(label, points=tuple(window.moved(point) for point in label.points))


def moved(exchange: Exchange, window: Window, style: Style = Style.MOLMO) -> Exchange | None:
    """The same about a window of the picture; None where it points at something outside."""
    reading = read_points(exchange.answer, 100, 100)
    points = [window.moved((point.u, point.v)) for point in reading.points]
    if not points:
        return exchange
    if not all(0 <= value <= 100 for point in points for value in point):
        return None
    write = format_points if reading.count is None else format_count
    return Exchange(exchange.prompt, write(points, reading.points[0].label, style))
