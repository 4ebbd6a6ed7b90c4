# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders as they come: half, damaged, of other tools, or no checkpoint at all.

    python -m benchmarks.hostile_folders [--kind molmo2] [--all]

Damages a tiny folder of each generation in every way below and loads it. A folder is either read,
or refused in one sentence that names the file and says what to do; nothing else is raised, nothing
hangs, and no memory is taken for what a file claims. A table says how many of each kind there were;
what is wrong is printed, with --all every refusal. It ends with 1 if anything is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('HF_HUB_DISABLE_PROGRESS_BARS', '1')

import torch
from safetensors.torch import load_file, save_file

from benchmarks import random_molmo, random_molmo2, random_molmo_point
from molmo_ros.engine import EngineError, load_engine

CONFIG, WEIGHTS, INDEX = 'config.json', 'model.safetensors', 'model.safetensors.index.json'
CROPS, TOKENIZER = 'preprocessor_config.json', 'tokenizer.json'
TEXTS = (CONFIG, CROPS, TOKENIZER, 'tokenizer_config.json')
SHARDS = ('model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors')
LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 99\n'
WRONG_TEXTS = (b'', b'{"a": ', b'\xff\xfe{}', b'[3]', b'null', b'[' * 99_999, b'{"a": 1}}')
WRONG_VALUES: tuple[Any, ...] = (
    None,
    0,
    -3,
    10**12,
    1.5,
    float('nan'),
    True,
    'text',
    [],
    [7, 'a'],
    {},
    {'a': []},
)

SECONDS = 20.0
MEMORY = 400 << 20  # bytes that a load may take beyond what is taken already
LONGEST = 700  # characters
# What a sentence says that helps.
CURES = (
    *('download', 'fetch', 'get ', 'give ', 'use ', 'choose', 'install', 'git lfs', 'convert'),
    *('is it', 'is this', 'are they', 'was the', 'supported', 'no release'),
)


class TooLong(BaseException):
    """A load took more than SECONDS."""


@dataclass(frozen=True)
class Case:
    """A way to damage a folder. file: which a refusal has to name. reads: whether it has to be
    read, or refused; None where either will do."""

    name: str
    file: str
    damage: Callable[[Path], None]
    reads: bool | None = False


def make_whole(kind: str, folder: Path) -> None:
    """A tiny checkpoint with random weights, in one file."""
    if kind == 'molmo':
        model = random_molmo.random_molmo(random_molmo.tiny_config('qwen2'), seed=3)
        random_molmo.save_checkpoint(model, random_molmo.tiny_tokenizer(), folder)
    elif kind == 'molmo2':
        random_molmo2.write_checkpoint(folder)
    else:
        random_molmo_point.write_checkpoint(folder)


KINDS = ('molmo', 'molmo2', 'molmo_point')


def cases(folder: Path) -> Iterator[Case]:
    """All that is done to a whole folder."""
    yield Case('as it is', '', lambda _: None, reads=True)
    yield from _no_files()
    yield from _texts()
    yield from _weights()
    yield from _shards()
    yield from _configs(folder)
    yield from _of_other_tools(folder)


def _no_files() -> Iterator[Case]:
    for name in (*TEXTS, WEIGHTS, INDEX):
        for what, make in {
            'a pipe': os.mkfifo,
            '/dev/zero': lambda path: path.symlink_to('/dev/zero'),
            'a link to nothing': lambda path: path.symlink_to(path.with_name('gone')),
            'a folder': Path.mkdir,
            'a pointer of git-lfs': lambda path: path.write_text(LFS),
        }.items():
            yield Case(f'{what}: {name}', name, partial(_replaced, name=name, make=make))
    for name in (CONFIG, CROPS, TOKENIZER, WEIGHTS):
        # Without crops there are those of the releases, which may fit or not.
        reads = None if name == CROPS else False
        yield Case(f'missing: {name}', name, partial(_removed, name=name), reads)


def _replaced(folder: Path, name: str, make: Callable[[Path], Any]) -> None:
    (folder / name).unlink(missing_ok=True)
    make(folder / name)


def _texts() -> Iterator[Case]:
    for name in TEXTS:
        for text in WRONG_TEXTS:
            what = f'{text[:12]!r}: {name}'
            yield Case(what, name, partial(_written, name=name, data=text))
        yield Case(f'half: {name}', name, partial(_half, name=name))


def _removed(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _written(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)


def _renamed(folder: Path, name: str) -> None:
    (folder / WEIGHTS).rename(folder / name)


def _half(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def _weights() -> Iterator[Case]:
    def written(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
        def damage(folder: Path) -> None:
            path = folder / WEIGHTS
            path.write_bytes(change(path.read_bytes()))

        return damage

    for what, change in {
        'without the end': lambda data: data[:-77],
        'its first bytes': lambda data: data[:300],
        'three bytes': lambda data: data[:3],
        'a head too long': lambda data: struct.pack('<Q', 1 << 61) + data[8:],
        'a head that is no JSON': lambda data: data[:8] + b'x' * (len(data) - 8),
        'a head of a number': lambda data: struct.pack('<Q', 2) + b'17' + data,
        'zeros': lambda data: bytes(len(data)),
        'a page of the web': lambda data: b'<!DOCTYPE html><html>not found</html>' * 9,
    }.items():
        yield Case(f'weights: {what}', WEIGHTS, written(change))
    for what, tensors in {
        'NaN': lambda t: t | {_matrix(t): torch.full_like(t[_matrix(t)], torch.nan)},
        'one infinity': lambda t: t | {_matrix(t): _infinite(t[_matrix(t)])},
        'int8': lambda t: t | {_matrix(t): t[_matrix(t)].to(torch.int8)},
        'another shape': lambda t: t | {_matrix(t): t[_matrix(t)][:-1].clone()},
        'a row of numbers': lambda t: t | {_matrix(t): torch.ones(7)},
        'a key too many': lambda t: t | {'model.more.weight': torch.ones(3)},
        'a key too few': lambda t: {key: t[key] for key in t if key != _matrix(t)},
        'another name': lambda t: {f'module.{key}': t[key] for key in t},
        'nothing': lambda t: {},
    }.items():
        file = '' if what in ('a key too few', 'another name', 'nothing') else WEIGHTS
        yield Case(f'weights: {what}', file, partial(_saved, change=tensors))
    for name in (f'{WEIGHTS}.incomplete', 'pytorch_model.bin'):
        yield Case(f'weights: only {name}', name, partial(_renamed, name=name))


def _matrix(tensors: Mapping[str, torch.Tensor]) -> str:
    return sorted(key for key in tensors if tensors[key].ndim == 2)[5]


def _infinite(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor[-1, -1] = torch.inf
    return tensor


def _saved(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {'format': 'pt'})


def _shards() -> Iterator[Case]:
    first, second = SHARDS

    def sharded(folder: Path, damage: Callable[[Path], Any]) -> None:
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        keys = sorted(tensors)
        parts = dict(zip(SHARDS, (keys[::2], keys[1::2]), strict=True))
        for name, some in parts.items():
            save_file({key: tensors[key] for key in some}, folder / name, {'format': 'pt'})
        names = {key: name for name, some in parts.items() for key in some}
        (folder / INDEX).write_text(json.dumps({'metadata': {}, 'weight_map': names}))
        damage(folder)

    def index(names: object) -> Callable[[Path], Any]:
        return lambda folder: (folder / INDEX).write_text(json.dumps({'weight_map': names}))

    def part(
        change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    ) -> Callable[[Path], Any]:
        return lambda f: save_file(change(load_file(f / second)), f / second, {'format': 'pt'})

    ways: dict[str, tuple[str, Callable[[Path], Any], bool]] = {
        'whole': ('', lambda f: None, True),
        'one is missing': (second, lambda f: (f / second).unlink(), False),
        'half of one': (second, partial(_half, name=second), False),
        'one is a pointer': (first, lambda f: (f / first).write_text(LFS), False),
        'NaN in the second': (
            second,
            part(lambda t: t | {_matrix(t): torch.full_like(t[_matrix(t)], torch.nan)}),
            False,
        ),
        'int8 in the second': (
            second,
            part(lambda t: t | {_matrix(t): t[_matrix(t)].to(torch.int8)}),
            False,
        ),
        'a key lacks in the second': (
            second,
            part(lambda t: {key: t[key] for key in t if key != _matrix(t)}),
            False,
        ),
        'another shape in the second': (
            second,
            part(lambda t: t | {_matrix(t): t[_matrix(t)][:-1].clone()}),
            False,
        ),
        'a key too many in the second': (
            second,
            part(lambda t: t | {'model.more.weight': torch.ones(3)}),
            False,
        ),
        'no names': (INDEX, index({}), False),
        'a number for names': (INDEX, index(3), False),
        'a file elsewhere': (INDEX, index({'a': '../../etc/passwd'}), False),
        'no name': (INDEX, index({'a': 7}), False),
    }
    for what, (file, damage, reads) in ways.items():
        yield Case(f'shards: {what}', file, partial(sharded, damage=damage), reads)


def _configs(folder: Path) -> Iterator[Case]:
    """Every field of both configurations, with whatever it cannot be."""
    for name in (CONFIG, CROPS):
        fields = json.loads((folder / name).read_text())
        for path in _leaves(fields):
            for value in WRONG_VALUES:
                what = f'{name}: {".".join(map(str, path))} = {json.dumps(value)}'
                yield Case(what, name, partial(_set, name=name, path=path, value=value), None)
    for group in ((), ('text_config',)):
        for field, value in {
            'quantization_config': {'quant_method': 'gptq'},
            'compression_config': {'format': 'int'},
        }.items():
            path = (*group, field)
            what = f'{CONFIG}: {".".join(path)}'
            yield Case(what, CONFIG, partial(_set, name=CONFIG, path=path, value=value))
    for field, value in {
        'num_hidden_layers': 700_000_000,
        'hidden_size': 5 * 10**11,
        'max_position_embeddings': 20_000_000,
        'vocab_size': 10**11,
    }.items():
        what = f'{CONFIG}: text_config.{field} = {value}'
        path = ('text_config', field)
        yield Case(what, CONFIG, partial(_set, name=CONFIG, path=path, value=value))


def _leaves(fields: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in fields.items():
        yield (*before, name)
        if isinstance(value, Mapping):
            yield from _leaves(value, (*before, name))


def _set(folder: Path, name: str, path: tuple[str, ...], value: object) -> None:
    whole = json.loads((folder / name).read_text())
    fields = whole
    for step in path[:-1]:
        fields = fields.setdefault(step, {})
    fields[path[-1]] = value
    (folder / name).write_text(json.dumps(whole))


def _of_other_tools(folder: Path) -> Iterator[Case]:
    """What means the same in other words."""
    for name in (CONFIG, CROPS):
        whole = json.loads((folder / name).read_text())
        for what, fields in {
            'a key of its own': {'more': {'a': [1, None]}, 'dtype': 'bfloat16'},
            'a null of its own': {'quantization_config': None, 'auto_map': None},
        }.items():
            data = json.dumps(whole | fields).encode()
            yield Case(f'{name}: {what}', name, partial(_written, name=name, data=data), True)
    config = json.loads((folder / CONFIG).read_text())
    yield from _rope_elsewhere(config, ())
    for path in _leaves(config):
        value = config
        for step in path:
            value = value[step]
        if path[-1] in ('image_size', 'image_default_input_size'):
            side = value if isinstance(value, int) else value[0]
            for same in (side, [side, side], {'height': side, 'width': side}):
                what = f'{CONFIG}: {".".join(path)} = {json.dumps(same)}'
                yield Case(what, CONFIG, partial(_set, name=CONFIG, path=path, value=same), True)
    crops = json.loads((folder / CROPS).read_text())
    for name in ('size', 'base_image_input_size'):
        if name in crops:
            value = crops[name]
            side = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
            for same in (side, [side, side], {'height': side, 'width': side}):
                what = f'{CROPS}: {name} = {json.dumps(same)}'
                yield Case(what, CROPS, partial(_set, name=CROPS, path=(name,), value=same), True)


def _rope_elsewhere(config: Mapping[str, Any], before: tuple[str, ...]) -> Iterator[Case]:
    """What turns positions, as transformers writes it by now."""
    for name, value in config.items():
        if isinstance(value, Mapping) and name != 'rope_parameters':
            yield from _rope_elsewhere(value, (*before, name))
    theta = config.get('rope_theta', config.get('rope_parameters', {}).get('rope_theta'))
    if theta is not None:
        rope = {'rope_type': 'default', 'rope_theta': theta}
        for what, values in {
            'rope_parameters alone': {'rope_theta': None, 'rope_parameters': rope},
            'rope_theta alone': {'rope_theta': theta, 'rope_parameters': None},
        }.items():

            def damage(folder: Path, values: Mapping[str, Any] = values) -> None:
                for name, value in values.items():
                    _set(folder, CONFIG, (*before, name), value)

            yield Case(f'{CONFIG}: {what}', CONFIG, damage, True)


def load(folder: Path) -> str:
    """Why it is refused, '' if it is read. Raises what is wrong."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def too_long(*_: object) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        load_engine(folder, device='cpu').close()
        said = ''
    except EngineError as error:
        said = str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    taken = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if taken > MEMORY:
        raise MemoryError(f'{taken / 1e6:.0f} MB were taken')
    return said


def wrong_with(case: Case, said: str) -> str:
    """What is wrong with how a folder was met; '' if nothing is."""
    if not said:
        return 'was read' if case.reads is False else ''
    if case.reads:
        return 'was refused'
    if '\n' in said or len(said) > LONGEST:
        return 'is no sentence'
    if case.file not in said:
        return f'does not name {case.file}'
    if ' cannot be loaded (' in said:
        return 'is an error that nobody saw coming'
    if not any(cure in said for cure in CURES):
        return 'does not say what to do'
    return ''


def meet(case: Case, whole: Path, place: Path) -> tuple[str, str]:
    """Damage a copy and load it: what was said, and what is wrong with that."""
    folder = shutil.copytree(whole, place / 'tiny')
    try:
        case.damage(folder)
        said = load(folder)
    except (Exception, TooLong) as error:
        return f'{type(error).__name__}: {error}', 'is no refusal'
    finally:
        shutil.rmtree(folder)
    return said, wrong_with(case, said)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--kind', choices=KINDS, help='one generation instead of all')
    parser.add_argument('--all', action='store_true', help='print every refusal')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    counts: dict[str, Counter[str]] = {}
    for kind in [arguments.kind] if arguments.kind else KINDS:
        counts[kind] = Counter()
        with tempfile.TemporaryDirectory() as name:
            whole = Path(name) / 'whole'
            make_whole(kind, whole)
            for case in cases(whole):
                said, wrong = meet(case, whole, Path(name))
                counts[kind]['wrong' if wrong else 'refused' if said else 'read'] += 1
                if wrong or (said and arguments.all):
                    print(f'{kind}: {case.name}: {wrong}\n    {said}', flush=True)
    print('| generation | read | refused | wrong |')
    print('|---|---|---|---|')
    for kind, met in counts.items():
        print(f'| {kind} | {met["read"]} | {met["refused"]} | {met["wrong"]} |')
    return 1 if any(met['wrong'] for met in counts.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
