# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters in peft's layout, added to the weights as they are loaded; peft is not needed.

W + scale·B·A is one weight like any other, so what is fast or quantised stays so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from molmo_ros.model.checkpoint import Piece, key_map
from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint
from molmo_ros.model.hub import refuse_pointers
from molmo_ros.model.weights import weight_files

WEIGHTS = 'adapter_model.safetensors'
CONFIG = 'adapter_config.json'
BASE_DIGEST = 'base_digest'
"""Metadata of an adapter's safetensors: `base_digest` of the checkpoint it was made for."""
MERGED = 'merged.json'
"""In a checkpoint's folder: which adapter was merged into it."""

_PREFIX = 'base_model.model.'
_DOWN, _UP = '.lora_A.weight', '.lora_B.weight'
_DIGEST_KEY, _DIGEST_ROWS = 'model.transformer.wte.embedding', 1024
# What peft can do to a linear layer beyond W + scale·B·A.
_UNSUPPORTED = (
    'alpha_pattern',
    'fan_in_fan_out',
    'layer_replication',
    'lora_bias',
    'modules_to_save',
    'rank_pattern',
    'target_parameters',
    'trainable_token_indices',
    'use_dora',
    'use_qalora',
)


class UnsupportedAdapter(UnsupportedCheckpoint):
    """The adapter cannot be added to this checkpoint; the message says what to do."""


@dataclass(frozen=True)
class _Addition:
    """scale · up · down, (rows, r) · (r, columns), for a part of a parameter."""

    index: tuple[int | slice, ...]
    up: Tensor
    down: Tensor
    scale: float

    def delta(self, device: torch.device | str = 'cpu') -> Tensor:
        """(rows, columns) float32: what is added."""
        return self.scale * (self.up.to(device).float() @ self.down.to(device).float())


@dataclass(frozen=True)
class Adapter:
    """What is to be added to which parameters of a `Molmo`."""

    additions: Mapping[str, tuple[_Addition, ...]]

    @torch.no_grad()
    def add_to(self, name: str, parameter: Tensor) -> None:
        """Add what there is for the parameter `name`, in float32, rounded once."""
        for addition in self.additions.get(name, ()):
            part = parameter.detach()[addition.index]
            part.copy_(part.float() + addition.delta(part.device))


def read_adapter(folder: Path, model: nn.Module, config: MolmoConfig | None, base: Path) -> Adapter:
    """Read an adapter for `model`, whose weights need not be there yet.

    `folder` holds adapter_config.json and adapter_model.safetensors as peft writes them; modules
    are named as in `model` or, for a `Molmo` of that configuration, as in the releases' own model
    files; None: for a Molmo2. `base` is the checkpoint's
    folder. Raises UnsupportedAdapter, UnsupportedCheckpoint.
    """
    refuse_pointers(folder)
    settings = _settings(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise UnsupportedAdapter(
            f'{folder} lacks {WEIGHTS}; was the fine-tuning finished? (only safetensors are read)'
        )
    try:
        with safe_open(path, 'pt', backend='pread') as stored:
            metadata = stored.metadata() or {}
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UnsupportedAdapter(f'{path} is damaged or incomplete ({error})') from error
    _check_base(folder, settings, metadata, base)
    additions: dict[str, tuple[_Addition, ...]] = {}
    for module, down, up in _pairs(path, tensors):
        pieces = _pieces(f'{module}.weight', model, config)
        parts = [model.get_parameter(piece.name)[piece.index] for piece in pieces]
        rows = [len(part) for part in parts]
        if not parts or (sum(rows), *parts[0].shape[1:]) != (len(up), down.shape[1]):
            raise UnsupportedAdapter(
                f'{folder} does not fit {base}: it changes {module} of shape ({len(up)}, '
                f'{down.shape[1]}), which is not there; load it beside {_made_for(settings)}'
            )
        scale = _scale(settings, len(down))
        for piece, some in zip(pieces, up.split(rows), strict=True):
            more = _Addition(piece.index, some, down, scale)
            additions[piece.name] = (*additions.get(piece.name, ()), more)
    return Adapter(additions)


def base_digest(folder: Path) -> str:
    """Tells checkpoints apart whatever type they are stored in, from some of their embeddings.

    From their signs, which no rounding changes: what was rounded to float16 and then to bfloat16
    is not always what is rounded to bfloat16 at once. Raises UnsupportedCheckpoint.
    """
    for file in weight_files(folder):
        with safe_open(file, 'pt', backend='pread') as stored:
            if _DIGEST_KEY in stored.keys():  # noqa: SIM118
                embedding = stored.get_slice(_DIGEST_KEY)
                rows = embedding[: min(_DIGEST_ROWS, embedding.get_shape()[0])]
                signs = np.packbits(torch.signbit(rows).numpy())
                whole = hashlib.blake2b(signs.tobytes(), digest_size=8)
                # An adapter leaves the embeddings as they were.
                if (folder / MERGED).is_file():
                    whole.update((folder / MERGED).read_bytes())
                return whole.hexdigest()
    raise UnsupportedCheckpoint(f'{folder} lacks {_DIGEST_KEY}; is it a Molmo checkpoint?')


def _settings(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    try:
        settings = json.loads(path.read_text())
    except OSError as error:
        raise UnsupportedAdapter(
            f'{folder} holds no {CONFIG}; give the folder that `molmo-ros finetune` wrote'
        ) from error
    except json.JSONDecodeError as error:
        raise UnsupportedAdapter(f'{path} is not JSON: {error}') from error
    if not isinstance(settings, dict) or settings.get('peft_type') != 'LORA':
        raise UnsupportedAdapter(f'{path} describes no LoRA adapter, and only those are loaded')
    beyond = [name for name in _UNSUPPORTED if settings.get(name)]
    if settings.get('bias', 'none') != 'none':
        beyond.append('bias')
    if beyond:
        raise UnsupportedAdapter(
            f'{path} asks for {", ".join(beyond)}, and only plain LoRA is added here; merge it '
            'with peft and load the merged checkpoint instead'
        )
    return settings


def _check_base(
    folder: Path, settings: Mapping[str, Any], metadata: Mapping[str, str], base: Path
) -> None:
    digest = metadata.get(BASE_DIGEST)
    if digest is not None and digest != base_digest(base):
        raise UnsupportedAdapter(
            f'{folder} was made for other weights than those of {base}; load it beside '
            f'{_made_for(settings)}, or fine-tune {base} anew'
        )


def _made_for(settings: Mapping[str, Any]) -> str:
    return str(settings.get('base_model_name_or_path') or 'the checkpoint it was made for')


def _pairs(path: Path, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The module, A (r, columns) and B (rows, r) of each addition."""
    known = set()
    for key, down in tensors.items():
        module = key.removesuffix(_DOWN)
        if module == key or module + _UP not in tensors:
            continue
        up = tensors[module + _UP]
        if down.ndim != 2 or up.ndim != 2 or len(down) != up.shape[1]:
            raise UnsupportedAdapter(f'{path} is damaged: the two parts of {module} do not fit')
        known |= {key, module + _UP}
        yield module.removeprefix(_PREFIX), down, up
    if strange := sorted(set(tensors) - known):
        raise UnsupportedAdapter(
            f'{path} holds {strange[0]}, and only additions to linear layers are loaded'
        )


def _pieces(name: str, model: nn.Module, config: MolmoConfig | None) -> tuple[Piece, ...]:
    """What a weight named as in `model` or as in a release stands for; nothing if it is neither."""
    if name in dict(model.named_parameters()):
        return (Piece(name),)
    return () if config is None else key_map(config).get(name, ())


def _scale(settings: Mapping[str, Any], rank: int) -> float:
    alpha = float(settings.get('lora_alpha', 8))
    return alpha / (sqrt(rank) if settings.get('use_rslora') else rank)
