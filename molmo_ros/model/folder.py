# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint folder has to be before anything in it is believed, of every generation.

Reads names, sizes and heads of files: nothing is allocated for what they claim. No torch.
"""

from __future__ import annotations

import json
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_ros import git_lfs
from molmo_ros.errors import shortened
from molmo_ros.model.config import AGAIN, UnsupportedCheckpoint

_TEXTS = ('*.json', '*.txt', '*.jinja')
_PARTIAL = ('*.incomplete', '*.part', '*.partial', '*.crdownload', '*.aria2', '*.tmp')
_MOST_TEXT = 256 << 20
_MOST_HEAD = 100 << 20  # as safetensors itself has it
_FLOATS = ('F64', 'F32', 'F16', 'BF16')

# What a model may be built of: far beyond every release, and far below what would never end. The
# names are those of all generations.
_MOST = {
    **dict.fromkeys(('num_hidden_layers', 'num_layers', 'n_layers', 'image_num_layers'), 1 << 10),
    **dict.fromkeys(('hidden_size', 'text_hidden_size', 'd_model'), 1 << 16),
    **dict.fromkeys(('image_emb_dim', 'patch_embed_dim'), 1 << 16),
    **dict.fromkeys(('intermediate_size', 'image_mlp_dim'), 1 << 20),
    **dict.fromkeys(('num_attention_heads', 'num_heads', 'n_heads', 'image_num_heads'), 1 << 12),
    **dict.fromkeys(('num_key_value_heads', 'n_kv_heads', 'moe_num_experts', 'moe_top_k'), 1 << 12),
    **dict.fromkeys(('vocab_size', 'embedding_size', 'additional_vocab_size'), 1 << 22),
    **dict.fromkeys(('max_position_embeddings', 'max_sequence_length'), 1 << 20),
    **dict.fromkeys(('head_dim', 'mlp_ratio'), 1 << 12),
    **dict.fromkeys(('image_default_input_size', 'base_image_input_size', 'image_size'), 1 << 12),
    **dict.fromkeys(('image_patch_size', 'patch_size', 'pooling_size', 'image_pooling_h'), 1 << 10),
    'image_num_pos': 1 << 18,
    'positional_embeddings': 1 << 10,
    'max_crops': 1 << 8,
}


def check_folder(folder: Path) -> None:
    """Raise UnsupportedCheckpoint, in one sentence that names the file and what to do, where a
    folder holds something that cannot be a checkpoint."""
    for path in _files(folder, *_TEXTS, '*.safetensors'):
        _check_file(path)
    config = folder / 'config.json'
    for path in _files(folder, '*.json'):
        fields = _read(path)
        if path.name in ('config.json', 'preprocessor_config.json', 'processor_config.json'):
            _check_sizes(path, fields)
    if config.is_file():
        _refuse_quantised(config, _read(config))
    for name, keys in _weight_names(folder).items():
        if (folder / name).exists():
            _check_weights(folder / name, keys)
    _name_partial(folder)


def _files(folder: Path, *patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(folder.glob(pattern))


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise UnsupportedCheckpoint(
            f'{path} is a link to a file that is not there: {AGAIN}'
        ) from error
    except OSError as error:
        raise UnsupportedCheckpoint(f'{path} cannot be read: {error.strerror}') from error
    if not stat.S_ISREG(found.st_mode):
        raise UnsupportedCheckpoint(f'{path} is not a file (a pipe, a device or a folder): {AGAIN}')
    if path.suffix != '.safetensors' and found.st_size > _MOST_TEXT:
        size = f'{found.st_size / 1e6:.0f} MB'
        raise UnsupportedCheckpoint(f'{path} has {size}, too many for what it is: {AGAIN}')
    if not found.st_size:
        raise UnsupportedCheckpoint(f'{path} is empty: {AGAIN}')
    if git_lfs.is_pointer_file(path):
        raise UnsupportedCheckpoint(f'{path} is {git_lfs.WHAT_TO_DO}')


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding='utf-8-sig'))
    except OSError as error:
        raise UnsupportedCheckpoint(f'{path} cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise UnsupportedCheckpoint(
            f'{path} is not JSON ({shortened(error, 120)}): {AGAIN}'
        ) from error
    if not isinstance(fields, dict):
        raise UnsupportedCheckpoint(
            f'{path} holds a {type(fields).__name__} and not an object of names and values: {AGAIN}'
        )
    return fields


def _check_sizes(path: Path, fields: Mapping[str, Any]) -> None:
    """What a network would be built of is counted before it is."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and name not in _MOST:
            _check_sizes(path, value)
        elif name in _MOST:
            for size in _numbers(value):
                whole = isinstance(size, int | float) and not isinstance(size, bool)
                least = 0 if name == 'additional_vocab_size' else 1
                if not whole or size != size // 1 or not least <= size <= _MOST[name]:
                    raise UnsupportedCheckpoint(
                        f'{path} says {name} {shortened(size, 40)}, which is no whole number from '
                        f'{least} to {_MOST[name]}: is it of this checkpoint, and undamaged?'
                    )


def _numbers(value: Any) -> Iterator[Any]:
    """One, or those of a list or of names, if it has any; none where nothing is said."""
    if isinstance(value, Mapping):
        value = list(value.values()) or value
    value = value or [value]
    for one in value if isinstance(value, list) else [value]:
        if one is not None:
            yield one


def _refuse_quantised(path: Path, fields: Mapping[str, Any]) -> None:
    for group in (fields, *(value for value in fields.values() if isinstance(value, Mapping))):
        for name in ('quantization_config', 'compression_config'):
            if found := group.get(name):
                method = found.get('quant_method') if isinstance(found, Mapping) else None
                raise UnsupportedCheckpoint(
                    f'{path}: the weights are already quantised ({method or "an unnamed method"}); '
                    'use the original release, with quantize int8 or int4 if it must be small'
                )


def _weight_names(folder: Path) -> dict[str, list[str]]:
    """The files that the weights should be in, and those that an index says are in each."""
    path = folder / 'model.safetensors.index.json'
    if not path.is_file():
        return {'model.safetensors': []}
    names = _read(path).get('weight_map')
    if not isinstance(names, dict) or not names or not all(map(_plain, names.values())):
        raise UnsupportedCheckpoint(
            f'{path} does not say in which files of the folder the weights are: {AGAIN}'
        )
    return {
        file: [key for key in names if names[key] == file] for file in sorted({*names.values()})
    }


def _plain(name: object) -> bool:
    """Whether it is the name of a file in the folder, and of no other."""
    return isinstance(name, str) and name == Path(name).name and name.endswith('.safetensors')


def _check_weights(path: Path, keys: Sequence[str]) -> None:
    """The head of a file of weights against its length, what should be in it, and what its numbers
    are."""
    size = path.stat().st_size
    with path.open('rb') as file:
        begin = file.read(8)
        head = struct.unpack('<Q', begin)[0] if len(begin) == 8 else 0
        if not 2 <= head <= min(_MOST_HEAD, max(size - 8, 0)):
            raise UnsupportedCheckpoint(
                f'{path} is damaged or incomplete (it does not begin as safetensors): {AGAIN}'
            )
        text = file.read(head)
    try:
        tensors = json.loads(text)
        tensors.pop('__metadata__', None)
        end = max((int(one['data_offsets'][1]) for one in tensors.values()), default=0)
        kinds = {str(one['dtype']): name for name, one in tensors.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise UnsupportedCheckpoint(
            f'{path} is damaged or incomplete (its head is not that of safetensors): {AGAIN}'
        ) from error
    if size < 8 + head + end:
        lacks = 8 + head + end - size
        raise UnsupportedCheckpoint(
            f'{path} is incomplete: it has {size:,} bytes and lacks {lacks:,}: {AGAIN}'
        )
    if missing := [key for key in keys if key not in tensors]:
        more = f' and {len(missing) - 1} more tensors' if missing[1:] else ''
        raise UnsupportedCheckpoint(
            f'{path} lacks {shortened(missing[0])}{more}, which the index says are in it: {AGAIN}'
        )
    for kind, name in kinds.items():
        if kind not in _FLOATS:
            raise UnsupportedCheckpoint(
                f'{path} is already quantised, or is no model: {shortened(name)} has numbers of '
                f'type {shortened(kind)}; use the original release, with quantize int8 or int4 if '
                'it must be small'
            )


def _name_partial(folder: Path) -> None:
    """Where files lack, downloads that were not finished say why."""
    if any(folder.glob('*.safetensors')):
        return
    for path in _files(folder, *_PARTIAL):
        raise UnsupportedCheckpoint(f'{path} is a download that was not finished: {AGAIN}')
