# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Safetensors into a model, one tensor at a time.

Only safetensors: a pickle runs code when it is read. Tensors are read with `pread`, because the
pages of a mapped file count as the process's memory for as long as the file is open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from molmo_ros.model.checkpoint import OTHER_SPELLINGS, KeyMap, Piece, key_map, unused_keys
from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint

_PICKLES = ('*.bin', '*.pt', '*.pth', '*.ckpt')
_LAYER = re.compile(r'text\.layers\.\d+')


def load_weights(
    model: nn.Module,
    config: MolmoConfig,
    folder: Path,
    device: torch.device | str = 'cpu',
    on_progress: Callable[[float], None] | None = None,
    on_layer: Callable[[nn.Module], None] | None = None,
) -> None:
    """Fill `model` from the safetensors in `folder`, casting to its dtype.

    A parameter on the meta device gets its memory, on `device`, when its first rows arrive, so the
    peak is the weights and one stored tensor. `on_layer` is called with each layer of the decoder
    when it is complete, `on_progress` with the share done, 0..1.

    Raises UnsupportedCheckpoint naming keys that are missing, unexpected or of a wrong shape.
    """
    expected = key_map(config)
    stored = _stored_tensors(weight_files(folder))
    _check_keys(set(expected), set(stored), unused_keys(config), folder)
    remaining = _keys_per_layer(expected)
    for done, (key, pieces) in enumerate(expected.items(), 1):
        _place(key, _read(*stored[key]), pieces, model, device)
        if layer := _LAYER.match(pieces[0].name):
            remaining[layer[0]] -= 1
            if not remaining[layer[0]] and on_layer is not None:
                on_layer(model.get_submodule(layer[0]))
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


def _read(file: Path, key: str) -> Tensor:
    with safe_open(file, 'pt', backend='pread') as stored:
        return stored.get_tensor(key)


def _keys_per_layer(expected: KeyMap) -> dict[str, int]:
    layers = [_LAYER.match(pieces[0].name) for pieces in expected.values()]
    names = [layer[0] for layer in layers if layer]
    return {name: names.count(name) for name in set(names)}


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


@torch.no_grad()
def _place(
    key: str,
    tensor: Tensor,
    pieces: tuple[Piece, ...],
    model: nn.Module,
    device: torch.device | str,
) -> None:
    targets = [model.get_parameter(piece.name)[piece.index] for piece in pieces]
    rows = [target.shape[0] for target in targets]
    shape = (sum(rows), *targets[0].shape[1:])
    if tensor.shape != shape:
        raise UnsupportedCheckpoint(
            f'{key} has shape {tuple(tensor.shape)}; config.json asks for {shape}'
        )
    for piece, part in zip(pieces, tensor.split(rows), strict=True):
        _materialised(model, piece.name, device)[piece.index].copy_(part)


def _materialised(model: nn.Module, name: str, device: torch.device | str) -> Tensor:
    parameter = model.get_parameter(name)
    if parameter.is_meta:
        owner, _, leaf = name.rpartition('.')
        parameter = nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=False)
        setattr(model.get_submodule(owner), leaf, parameter)
    return parameter
