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
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from molmo_ros.model.checkpoint import OTHER_SPELLINGS, KeyMap, Piece, key_map, unused_keys
from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint, WrongFile

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
    stored = stored_tensors(weight_files(folder))
    _check_keys(set(expected), stored, unused, folder)
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


def stored_tensors(files: Collection[Path]) -> dict[str, tuple[Path, str]]:
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
    expected: set[str],
    stored: Mapping[str, tuple[Path, str]],
    unused: tuple[str, ...],
    folder: Path,
) -> None:
    problems = []
    if missing := sorted(expected - set(stored)):
        problems.append(f'missing: {_some(missing)}')
    if extra := sorted(key for key in set(stored) - expected if not key.startswith(unused)):
        files = sorted({stored[key][0].name for key in extra})
        problems.append(f'unexpected: {_some(extra)}, in {_some(files)}')
    if problems:
        raise WrongFile(
            f'{folder} does not hold the weights its config.json describes ({"; ".join(problems)})'
        )


def _some(names: list[str], limit: int = 4) -> str:
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
        raise WrongFile(
            f'{file}: {key} has shape {tuple(stored.get_shape())}; config.json asks for {shape}'
        )
    first = 0
    for piece in pieces:
        target = _materialised(model, piece.name, device).detach()[piece.index]
        step = max(_CHUNK_BYTES // (4 * target[0].numel()), 1)
        for row in range(0, len(target), step):
            rows = stored[first + row : first + min(row + step, len(target))]
            refuse_no_numbers(rows, key, file)
            target[row : row + step] = rows.to(target.device)
            refuse_overflow(target[row : row + step], key, file)
        first += len(target)


def refuse_no_numbers(weights: Tensor, name: str, file: Path) -> None:
    """Raise UnsupportedCheckpoint for weights with NaN or infinity, of a file."""
    if not _numbers(weights):
        raise UnsupportedCheckpoint(
            f'{file} is damaged: {name} holds NaN or infinity; download it again'
        )


def refuse_overflow(weights: Tensor, name: str, place: Path) -> None:
    """Raise UnsupportedCheckpoint for weights too large for the type that they were given, of a
    file or folder."""
    if weights.dtype == torch.float16 and not _numbers(weights):
        raise UnsupportedCheckpoint(
            f'{place}: {name} is too large for float16; choose bfloat16 or float32 as dtype'
        )


def refuse_no_numbers_in(folder: Path) -> None:
    """As `refuse_no_numbers`, of all that a folder's files hold."""
    for key, (file, name) in stored_tensors(weight_files(folder)).items():
        with safe_open(file, 'pt', backend='pread') as tensors:
            stored = tensors.get_slice(name)
            shape = stored.get_shape()
            step = max(_CHUNK_BYTES // (4 * max(math.prod(shape[1:]), 1)), 1)
            for row in range(0, shape[0] if shape else 0, step):
                refuse_no_numbers(stored[row : min(row + step, shape[0])], key, file)


def refuse_far_more(model: nn.Module, folder: Path) -> None:
    """Raise WrongFile where the weights of a folder could fill no more than half of a model."""
    needed, held = sum(weight.numel() for weight in model.parameters()), 0
    for file, name in stored_tensors(weight_files(folder)).values():
        with safe_open(file, 'pt', backend='pread') as tensors:
            held += math.prod(tensors.get_slice(name).get_shape())
    if needed > 2 * held:
        raise WrongFile(
            f'{folder / "config.json"} describes a network of {needed:,} parameters, and the '
            f'weights beside it are {held:,}'
        )


def file_of_shape(folder: Path, shape: Sequence[int]) -> Path | None:
    """Where the tensors of a shape are; None if in several files or none."""
    found = set()
    for file, name in stored_tensors(weight_files(folder)).values():
        with safe_open(file, 'pt', backend='pread') as tensors:
            if list(tensors.get_slice(name).get_shape()) == list(shape):
                found.add(file)
    return found.pop() if len(found) == 1 else None


def _numbers(weights: Tensor) -> bool:
    # NaN is the least and the largest of whatever it is among; nothing is copied to find it.
    return all(math.isfinite(end.item()) for end in weights.aminmax())


def _materialised(model: nn.Module, name: str, device: torch.device | str) -> Tensor:
    parameter = model.get_parameter(name)
    if parameter.is_meta:
        owner, _, leaf = name.rpartition('.')
        parameter = nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=False)
        setattr(model.get_submodule(owner), leaf, parameter)
    return parameter
