# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines: one interface, `Engine.answer_each(image, questions)`, and what implements it.

Importing this does not import torch; `load_engine` does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from molmo_ros.engine.answers import (
    TRUNCATED,
    Answer,
    Engine,
    EngineError,
    InvalidImage,
    InvalidQuestion,
    OneByOne,
    Pointer,
    Question,
    QueuedQuestion,
    Stopped,
    as_engine,
    never,
)

__all__ = [
    'TRUNCATED',
    'Answer',
    'Engine',
    'EngineError',
    'InvalidImage',
    'InvalidQuestion',
    'OneByOne',
    'Pointer',
    'Question',
    'QueuedQuestion',
    'Stopped',
    'as_engine',
    'fetch_checkpoint',
    'load_engine',
    'never',
]


def load_engine(
    checkpoint: str | Path,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    max_crops: int | None = None,
    quantize: str = 'none',
    adapter: str | Path | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Engine:
    """Load a Molmo, Molmo2 or MolmoPoint checkpoint into an engine in this process. No network.

    `checkpoint` is a folder or a hub id (`owner/name`, `owner/name@revision`) that was fetched.
    `adapter` is a folder that `molmo-ros finetune` or peft wrote; it and `device`, `dtype`,
    `max_crops` and `quantize` are those of `model.options.LoadOptions`. `on_progress` is called
    with a stage's name and its share done, 0..1. Raises EngineError with what to do.
    """
    if on_progress is not None:
        on_progress('importing torch', 0.0)
    from molmo_ros.engine.opening import open_local
    from molmo_ros.model.hub import checkpoint_folder
    from molmo_ros.model.options import LoadOptions

    try:
        folder = checkpoint_folder(checkpoint)
    except ValueError as error:
        raise EngineError(str(error)) from error
    options = LoadOptions(
        device, dtype, max_crops, quantize, None if adapter is None else Path(adapter).expanduser()
    )
    return open_local(folder, options, on_progress)


def fetch_checkpoint(checkpoint: str) -> Path:
    """Download a checkpoint by hub id (`owner/name`, `owner/name@revision`); returns its folder.

    Safetensors and text only. Raises EngineError.
    """
    from molmo_ros.model.hub import fetch_checkpoint as fetch

    try:
        return fetch(checkpoint)
    except (ValueError, OSError) as error:
        raise EngineError(str(error)) from error
