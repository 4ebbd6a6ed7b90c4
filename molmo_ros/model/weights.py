# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Safetensors into a model, piece by piece.

Only safetensors: a pickle runs code when it is read. Tensors are read with `pread`, because the
pages of a mapped file count as the process's memory for as long as the file is open.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from molmo_ros.model.checkpoint import OTHER_SPELLINGS, KeyMap, Piece, key_map, unused_keys
from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint

_PICKLES = ('*.bin', '*.pt', '*.pth', '*.ckpt')
_CHUNK_BYTES = 32 << 20


def load_weights(
    model: nn.Module,
    config: MolmoConfig,
    folder: Path,
    device: torch.device | str = 'cpu',
    on_progress: Callable[[float], None] | None = None,
    on_filled: Callable[[str], None] | None = None,
) -> None:
    """Fill `model` from the safetensors in `folder`, casting to its dtype.

    A parameter on the meta device gets its memory, on `device`, when its first rows arrive, and
    stored tensors are read in chunks, so the peak is little more than the weights. `on_filled` is
    called with the name of each parameter that is complete, `on_progress` with the share done,
    0..1.

    Raises UnsupportedCheckpoint naming keys that are missing, unexpected or of a wrong shape.
    """
    fill(model, key_map(config), unused_keys(config), folder, device, on_progress, on_filled)


def fill(
    model: nn.Module,
    expected: KeyMap,
    unused: tuple[str, ...],
    folder: Path,
    device: torch.device | str = 'cpu',
    on_progress: Callable[[float], None] | None = None,
    on_filled: Callable[[str], None] | None = None,
) -> None:
    """As `load_weights`, with the keys that a folder has to hold, and prefixes of those it may."""
    stored = _stored_tensors(weight_files(folder))
    _check_keys(set(expected), set(stored), unused, folder)
    missing = Counter(piece.name for pieces in expected.values() for piece in pieces)
    for done, (key, pieces) in enumerate(expected.items(), 1):
        file, name = stored[key]
        with safe_open(file, 'pt', backend='pread') as tensors:
            _place(key, tensors.get_slice(name), pieces, model, device, file)
        for piece in pieces:
            missing[piece.name] -= 1
            if not missing[piece.name] and on_filled is not None:
                on_filled(piece.name)
        if on_progress is not None:
            on_progress(done / len(expected))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors that a folder's index names, or its only one."""
    index = folder / 'model.safetensors.index.json'
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())['weight_map'].values()))
        files = [folder / name for name in names]
    else:
        files = [folder / 'model.safetensors']
    missing = [file.name for file in files if not file.is_file()]
    if not missing:
        return files
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        raise UnsupportedCheckpoint(
            f'{folder} holds its weights as pickles ({_some(pickles)}), which run code when they '
            'are read; only safetensors are: get that version of the checkpoint, or convert it '
            'where you trust it'
        )
    raise UnsupportedCheckpoint(
        f'{folder} lacks {_some(missing)}; get the whole checkpoint (only safetensors are read)'
    )


def _stored_tensors(files: Collection[Path]) -> dict[str, tuple[Path, str]]:
    """Where each tensor is: its file, and its key there."""
    places: dict[str, tuple[Path, str]] = {}
    for file in files:
        try:
            with safe_open(file, 'pt', backend='pread') as stored:
                keys = list(stored.keys())
        except SafetensorError as error:
            raise UnsupportedCheckpoint(
                f'{file} is damaged or incomplete ({error}); fetch it again'
            ) from error
        places |= {OTHER_SPELLINGS.get(key, key): (file, key) for key in keys}
    return places


def _check_keys(
    expected: set[str], stored: set[str], unused: tuple[str, ...], folder: Path
) -> None:
    problems = []
    if missing := sorted(expected - stored):
        problems.append(f'missing: {_some(missing)}')
    if extra := sorted(key for key in stored - expected if not key.startswith(unused)):
        problems.append(f'unexpected: {_some(extra)}')
    if problems:
        raise UnsupportedCheckpoint(
            f'{folder} does not hold the weights its config.json describes ({"; ".join(problems)})'
        )


def _some(names: list[str], limit: int = 8) -> str:
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


def _place(
    key: str,
    stored: Any,
    pieces: tuple[Piece, ...],
    model: nn.Module,
    device: torch.device | str,
    file: Path,
) -> None:
    """Copy a stored tensor, of which slices can be read, into the parameters it fills."""
    targets = [model.get_parameter(piece.name)[piece.index] for piece in pieces]
    shape = (sum(len(target) for target in targets), *targets[0].shape[1:])
    if tuple(stored.get_shape()) != shape:
        raise UnsupportedCheckpoint(
            f'{key} has shape {tuple(stored.get_shape())}; config.json asks for {shape}'
        )
    first = 0
    for piece in pieces:
        target = _materialised(model, piece.name, device).detach()[piece.index]
        step = max(_CHUNK_BYTES // (4 * target[0].numel()), 1)
        for row in range(0, len(target), step):
            rows = stored[first + row : first + min(row + step, len(target))]
            refuse_no_numbers(rows, key, file)
            target[row : row + step] = rows.to(target.device)
        first += len(target)


def refuse_no_numbers(weights: Tensor, name: str, place: Path) -> None:
    """Raise UnsupportedCheckpoint for weights with NaN or infinity, of a file or folder."""
    # NaN is the least and the largest of whatever it is among; nothing is copied to find it.
    if not all(math.isfinite(end.item()) for end in weights.aminmax()):
        raise UnsupportedCheckpoint(
            f'{place} is damaged: {name} holds NaN or infinity; download it again'
        )


def _materialised(model: nn.Module, name: str, device: torch.device | str) -> Tensor:
    parameter = model.get_parameter(name)
    if parameter.is_meta:
        owner, _, leaf = name.rpartition('.')
        parameter = nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=False)
        setattr(model.get_submodule(owner), leaf, parameter)
    return parameter
