# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which weights answer, and as what: so that figures can be told apart later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from molmo_ros.model.hub import checkpoint_folder
from molmo_ros.model.options import LoadOptions, choose_device, choose_dtype
from molmo_ros.model.weights import weight_files

_CHUNK = 1 << 22
_BESIDE_WEIGHTS = ('config.json', 'preprocessor_config.json', 'tokenizer.json')


@dataclass(frozen=True)
class ModelIdentity:
    """What was asked.

    Attributes:
        checkpoint: as it was named.
        digest: SHA-256 of its weights, configurations and tokenizer; '' where it is no folder.
        adapter, adapter_digest: the folder and the digest of its files; '' where there is none.
        dtype: of the weights in memory.
        quantization: of the decoder, 'none' where it is as it was.
        max_crops: of a picture at most; 0 where that is not known.
        device: 'cpu', or 'cuda' with the name of the GPU.
    """

    checkpoint: str
    digest: str
    adapter: str
    adapter_digest: str
    dtype: str
    quantization: str
    max_crops: int
    device: str


def identity_of(checkpoint: str, options: LoadOptions) -> ModelIdentity:
    """Identify what `load_engine` opens with these; reads all of the weights.

    Raises UnsupportedCheckpoint and ValueError as loading does, and OSError.
    """
    adapter, device = options.adapter, choose_device(options.device)
    folder = None if '://' in checkpoint else checkpoint_folder(checkpoint)
    return ModelIdentity(
        checkpoint=checkpoint,
        digest='' if folder is None else _digest(_files(folder)),
        adapter='' if adapter is None else str(adapter),
        adapter_digest='' if adapter is None else _digest(sorted(adapter.glob('adapter_*'))),
        dtype=str(choose_dtype(options.dtype, device)).removeprefix('torch.'),
        quantization=options.quantize,
        max_crops=options.max_crops or (0 if folder is None else _trained_crops(folder)),
        device=_name_of(device),
    )


def _files(folder: Path) -> list[Path]:
    beside = [folder / name for name in _BESIDE_WEIGHTS]
    return [*weight_files(folder), *(path for path in beside if path.is_file())]


def _digest(files: Iterable[Path]) -> str:
    """Of names and bytes."""
    whole = hashlib.sha256()
    for path in files:
        whole.update(f'{path.name}\0{path.stat().st_size}\0'.encode())
        with path.open('rb') as file:
            while chunk := file.read(_CHUNK):
                whole.update(chunk)
    return whole.hexdigest()


def _trained_crops(folder: Path) -> int:
    for name in ('processor_config.json', 'preprocessor_config.json'):
        try:
            fields = json.loads((folder / name).read_text())
            crops = {**fields, **fields.get('image_processor', {})}.get('max_crops')
        except (OSError, TypeError, AttributeError, json.JSONDecodeError):
            continue
        if isinstance(crops, int):
            return crops
    return 0


def _name_of(device: torch.device) -> str:
    if device.type != 'cuda':
        return device.type
    return f'cuda ({torch.cuda.get_device_name(device)})'
