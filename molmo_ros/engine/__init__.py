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
    AskedImage,
    Engine,
    EngineError,
    Finding,
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
from molmo_ros.engine.remote import is_address

__all__ = [
    'TRUNCATED',
    'Answer',
    'AskedImage',
    'Engine',
    'EngineError',
    'Finding',
    'InvalidImage',
    'InvalidQuestion',
    'OneByOne',
    'Pointer',
    'Question',
    'QueuedQuestion',
    'Stopped',
    'as_engine',
    'fetch_checkpoint',
    'is_address',
    'load_engine',
    'never',
]

_AS_SERVED = ('auto', 'auto', None, 'none')


def load_engine(
    checkpoint: str | Path,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    max_crops: int | None = None,
    quantize: str = 'none',
    adapter: str | Path | None = None,
    style: str = 'auto',
    self_test: str | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Engine:
    """Load a checkpoint of Molmo, Molmo2 or MolmoPoint into an engine here; or ask a server.

    `checkpoint` is a folder, a hub id (`owner/name`, `owner/name@revision`) that was fetched, or a
    server's address (`http://HOST:PORT/v1#MODEL`). No network but for the last. `adapter` is a
    folder that `molmo-ros finetune` or peft wrote; it and `device`, `dtype`, `max_crops` and
    `quantize` are those of `model.options.LoadOptions`, and for a server they stay as they are.
    `style` is how a served model writes: 'auto', or the name of a `remote.manner.Manner`.
    `self_test` is 'on', 'warn' or 'off', see `self_test.self_test`; None: on for a server, off in
    this process, where it may take minutes on a CPU. `on_progress` is called with a stage's name
    and its share done, 0..1. Raises EngineError with what to do.
    """
    if is_address(checkpoint):
        if adapter is not None or (device, dtype, max_crops, quantize) != _AS_SERVED:
            raise EngineError(
                'adapter, device, dtype, max_crops and quantize are those of the server that has '
                'the model: set them there (docs/serving.md), and leave them out here'
            )
        return _served(str(checkpoint), style, self_test or 'on', on_progress or _untold)
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
    engine = open_local(folder, options, on_progress)
    try:
        if (self_test or 'off') != 'off':
            from molmo_ros.engine.self_test import pictures_for
            from molmo_ros.engine.self_test import self_test as testing

            if on_progress is not None:
                on_progress('testing', 0.0)
            testing(str(self_test), pictures_for(folder, engine.parameters, adapter is not None))(
                engine
            )
    except BaseException:
        engine.close()
        raise
    return engine


def _served(
    address: str, style: str, self_test: str, on_progress: Callable[[str, float], None]
) -> Engine:
    from molmo_ros.engine.remote.engine import open_server
    from molmo_ros.engine.self_test import drawn_pictures
    from molmo_ros.engine.self_test import self_test as testing

    engine = open_server(address, style, on_progress)
    try:
        on_progress('testing', 0.0)
        engine.trust_if(testing(self_test, drawn_pictures()))
    except BaseException:
        engine.close()
        raise
    return engine


def _untold(what: str, share: float) -> None:
    """Nobody wants to know how far loading is."""


def fetch_checkpoint(checkpoint: str, on_download: Callable[[str], None] | None = None) -> Path:
    """Download a checkpoint by hub id (`owner/name`, `owner/name@revision`); returns its folder.

    Safetensors and text only. on_download: told in words how large it is, and how much is free,
    before it begins. Raises EngineError.
    """
    from molmo_ros.model.hub import fetch_checkpoint as fetch

    try:
        return fetch(checkpoint, lambda download: on_download and on_download(str(download)))
    except (ValueError, OSError) as error:
        raise EngineError(str(error)) from error
