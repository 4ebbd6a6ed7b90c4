# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint with an adapter added for good, in the layout of the checkpoint."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from molmo_ros.model.adapter import (
    MERGED,
    WEIGHTS,
    Adapter,
    UnsupportedAdapter,
    base_digest,
    read_adapter,
)
from molmo_ros.model.checkpoint import OTHER_SPELLINGS, KeyMap, key_map
from molmo_ros.model.config import is_molmo2
from molmo_ros.model.hub import checkpoint_folder
from molmo_ros.model.loading import read_config
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.molmo2 import load_molmo2
from molmo_ros.model.options import DTYPES, LoadOptions
from molmo_ros.model.weights import weight_files
from molmo_ros.output import whole_file, write_whole

_INDEX = 'model.safetensors.index.json'
_WORDS = ('words', 'other_words', 'synonyms')
"""Of config.json's `language`: what it knew before it was taught."""


def merge_adapter(
    checkpoint: str | Path, adapter: Path, out: Path, dtype: str | None = None
) -> Path:
    """Write `checkpoint` with `adapter` added to a new folder, `out`, and return that.

    dtype: what weights are stored in, of `DTYPES`; None: as those of the checkpoint, but float32 in
    place of float16, which has less room than a sum needs. The sums are made in float32 and rounded
    once. Everything beside the weights is copied. Raises UnsupportedCheckpoint (UnsupportedAdapter
    among them), ValueError, UserError and OSError.
    """
    base = checkpoint_folder(checkpoint)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f'{out} is there already; name a new folder')
    stored = None if dtype is None else DTYPES[dtype]
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f'.{out.name}.', dir=out.parent) as scratch:
        made = Path(scratch) / 'merged'
        made.mkdir()
        _copy_rest(base, made)
        if is_molmo2(base):
            _merge_molmo2(base, adapter, made, stored)
        else:
            _merge_molmo(base, adapter, made, stored)
        told = {
            'checkpoint': str(checkpoint),
            'base_digest': base_digest(base),
            'adapter': adapter.name,
            'adapter_sha256': hashlib.sha256((adapter / WEIGHTS).read_bytes()).hexdigest(),
        }
        write_whole(made / MERGED, json.dumps(told, indent=2) + '\n')
        if out.is_dir():
            out.rmdir()
        made.rename(out)
    return out


def _copy_rest(base: Path, out: Path) -> None:
    """All files but the weights."""
    for path in base.iterdir():
        if path.is_file() and path.suffix not in ('.safetensors', '.bin', '.pt', '.pth'):
            shutil.copyfile(path, out / path.name)


def _merge_molmo(base: Path, adapter: Path, out: Path, dtype: torch.dtype | None) -> None:
    """File by file, so that no more than one is in memory."""
    config = read_config(base)
    with torch.device('meta'):
        model = Molmo(config)
    added = _Added(read_adapter(adapter, model, config, base), model, key_map(config))
    total = 0
    for path in weight_files(base):
        tensors = {}
        with safe_open(path, 'pt', backend='pread') as stored:
            metadata = stored.metadata() or {'format': 'pt'}
            for key in stored.keys():  # noqa: SIM118
                tensor = added.to(OTHER_SPELLINGS.get(key, key), stored.get_tensor(key))
                tensors[key] = _rounded(key, tensor, dtype or _kept(stored.get_tensor(key).dtype))
        total += sum(tensor.nbytes for tensor in tensors.values())
        with whole_file(out / path.name, also=(SafetensorError,)) as partial:
            save_file(tensors, partial, metadata)
    added.check_all()
    _rewrite(out / 'config.json', _forget_words)
    _rewrite(out / _INDEX, lambda fields: fields.get('metadata', {}).update(total_size=total))


class _Added:
    """Sums of stored tensors and what an adapter adds."""

    def __init__(self, adapter: Adapter, model: Molmo, keys: KeyMap) -> None:
        self._adapter, self._model, self._keys = adapter, model, keys
        self._left = Counter({name: len(some) for name, some in adapter.additions.items()})

    def to(self, key: str, stored: Tensor) -> Tensor:
        """(same shape) float32 where something is added, else as it is."""
        pieces = self._keys.get(key, ())
        if not any(piece.name in self._adapter.additions for piece in pieces):
            return stored
        whole, first = stored.float(), 0
        for piece in pieces:
            rows = len(self._model.get_parameter(piece.name)[piece.index])
            for addition in self._adapter.additions.get(piece.name, ()):
                if addition.index == piece.index:
                    whole[first : first + rows] += addition.delta()
                    self._left[piece.name] -= 1
            first += rows
        return whole

    def check_all(self) -> None:
        """Raise UnsupportedAdapter where something was not added."""
        left = [name for name, count in self._left.items() if count]
        if left:
            raise UnsupportedAdapter(f'{left[0]} cannot be merged: it is no stored tensor whole')


def _merge_molmo2(base: Path, adapter: Path, out: Path, dtype: torch.dtype | None) -> None:
    """transformers knows how its layers are stored."""
    with safe_open(weight_files(base)[0], 'pt', backend='pread') as stored:
        key = next(iter(stored.keys()))
        chosen = dtype or _kept(stored.get_tensor(key).dtype)
    name = next(name for name, one in DTYPES.items() if one == chosen)
    loaded = load_molmo2(base, LoadOptions(device='cpu', dtype=name, adapter=adapter))
    with TemporaryDirectory(dir=out) as scratch:
        loaded.model.save_pretrained(scratch)
        (out / _INDEX).unlink(missing_ok=True)
        for path in Path(scratch).iterdir():
            if path.name.startswith('model'):
                path.rename(out / path.name)


def _kept(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.float16 else dtype


def _rounded(key: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    rounded = tensor.to(dtype).contiguous()
    if (rounded.isinf() & tensor.isfinite()).any():
        raise ValueError(
            f'{key} reaches {tensor.abs().max():.3g}, which {dtype} cannot hold; store the '
            'checkpoint as bfloat16 or float32'
        )
    return rounded


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    if not path.is_file():
        return
    fields = json.loads(path.read_text())
    change(fields)
    write_whole(path, json.dumps(fields, indent=2) + '\n')


def _forget_words(fields: dict[str, Any]) -> None:
    """As when an adapter is loaded: it may have taught those very words."""
    language = fields.get('language')
    if isinstance(language, dict):
        for name in _WORDS:
            language.pop(name, None)
