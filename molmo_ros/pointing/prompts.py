# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The questions, worded as the models were trained on them."""

from __future__ import annotations

import enum


class Mode(enum.Enum):
    """What is asked of the model; the values are those of PointQuery.srv."""

    POINT = 0
    COUNT = 1
    ASK = 2


def prompt_for(query: str, mode: Mode) -> str:
    """Return the text that stands between `User: ` and ` Assistant:`."""
    query = query.strip()
    if mode is Mode.POINT:
        return f"Point to {query}\nPlease say 'This isn't in the image.' if it is not in the image."
    if mode is Mode.COUNT:
        return f'How many {query} are there?'
    return query


def label_for(query: str) -> str:
    """Return the phrase that the model is expected to repeat as the label."""
    return query.strip().lower()
