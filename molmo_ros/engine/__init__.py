# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: one interface, `Engine.answer(image, question) -> Answer`, and what implements it.

Importing this does not import torch; `load_engine` does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from molmo_ros.engine.answers import (
    Answer,
    Engine,
    EngineError,
    InvalidImage,
    InvalidQuestion,
    Question,
    Stopped,
    answer_many,
    never,
)

__all__ = [
    'Answer',
    'Engine',
    'EngineError',
    'InvalidImage',
    'InvalidQuestion',
    'Question',
    'Stopped',
    'answer_many',
    'load_engine',
    'never',
]


def load_engine(
    checkpoint: str | Path,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    max_crops: int | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Engine:
    """Load a checkpoint folder into an engine in this process.

    `device`, `dtype` and `max_crops` are those of `model.loading.load_molmo`; `on_progress` is
    called with a stage's name and its share done, 0..1. Raises EngineError with what to do.
    """
    if on_progress is not None:
        on_progress('importing torch', 0.0)
    from molmo_ros.engine.local import load_local

    return load_local(
        Path(checkpoint),
        device=device,
        dtype=dtype,
        max_crops=max_crops,
        on_progress=on_progress,
    )
