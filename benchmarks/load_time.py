# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What loading takes: seconds, and host memory at its peak beside the weights that are loaded.

    python -m benchmarks.load_time                      a checkpoint of 2.2 GB in bfloat16
    python -m benchmarks.load_time --gb 0.4 --json

The checkpoint is made for it: random float32 in shards, 7B-D's architecture, deleted in the end.
Each way of loading runs in a process of its own. The peak is VmHWM, which counts mapped files too,
less what the process had before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from molmo_ros.model.checkpoint import stored_tensors
from molmo_ros.model.config import MolmoConfig, TextConfig, VisionConfig
from molmo_ros.model.loading import load_model, read_config
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.saving import config_fields

SHARD_BYTES = 500_000_000
WAYS = [('bfloat16', 'none'), ('float32', 'none'), ('bfloat16', 'int8'), ('bfloat16', 'int4')]


def shape(gigabytes: float) -> MolmoConfig:
    """7B-D's architecture with about so many GB of weights in bfloat16."""
    hidden = 2048 if gigabytes > 1 else 1024
    per_layer = 14.5 * hidden**2
    return MolmoConfig(
        VisionConfig(hidden_size=256, intermediate_size=1024, num_heads=4),
        TextConfig(
            family='qwen2',
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            num_layers=round(gigabytes * 1e9 / 2 / per_layer),
            num_heads=16,
            num_kv_heads=4,
            rope_theta=1e6,
            norm_eps=1e-6,
            embedding_size=8000,
            qkv_bias=True,
        ),
        projector_size=4 * hidden,
    )


def write_checkpoint(config: MolmoConfig, folder: Path) -> int:
    """Write random weights in shards of float32; returns their bytes."""
    with torch.device('meta'):
        shapes = {key: t.shape for key, t in stored_tensors(Molmo(config), config).items()}
    # One random block again and again: making new numbers would take longer than all the rest.
    block = torch.randn(1 << 20) * 0.02
    index: dict[str, str] = {}
    total = 0
    for number, keys in enumerate(_shards(shapes), 1):
        name = f'model-{number:05d}.safetensors'
        tensors = {}
        for key in keys:
            count = shapes[key].numel()
            tensors[key] = block.repeat(-(-count // len(block)))[:count].view(shapes[key])
            total += 4 * count
        save_file(tensors, folder / name)
        index |= dict.fromkeys(keys, name)
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': index}))
    (folder / 'config.json').write_text(json.dumps(config_fields(config)))
    return total


def _shards(shapes: dict[str, torch.Size]) -> Iterator[list[str]]:
    keys: list[str] = []
    size = 0
    for key, extent in shapes.items():
        keys.append(key)
        size += 4 * extent.numel()
        if size > SHARD_BYTES:
            yield keys
            keys, size = [], 0
    if keys:
        yield keys


def measure(folder: Path, dtype: str, quantize: str) -> dict[str, Any]:
    """Load in this process."""
    if quantize != 'none':
        import bitsandbytes  # noqa: F401 (its own memory is not the weights')
    Path('/proc/self/clear_refs').write_text('5')  # forgets earlier peaks
    before = _status('VmRSS')
    begin = time.perf_counter()
    model = load_model(folder, read_config(folder), LoadOptions('cpu', dtype, quantize=quantize))
    seconds = time.perf_counter() - begin
    tensors = [*model.parameters(), *model.buffers()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    # Scales that bitsandbytes keeps beside its packed weights.
    for module in model.modules():
        state = getattr(getattr(module, 'weight', None), 'quant_state', None)
        if state is not None:
            weights += state.absmax.numel() * state.absmax.element_size()
    peak = _status('VmHWM') - before
    return {
        'dtype': dtype,
        'quantize': quantize,
        'weights_gb': weights / 1e9,
        'peak_gb': peak / 1e9,
        'peak_over_weights': peak / weights,
        'seconds': seconds,
    }


def _status(field: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--gb', type=float, default=2.2, help='of weights in bfloat16')
    parser.add_argument('--ways', type=int, default=len(WAYS), help='only the first so many')
    parser.add_argument('--json', action='store_true')
    parser.add_argument('--measure', nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        folder, dtype, quantize = arguments.measure
        print(json.dumps(measure(Path(folder), dtype, quantize)))
        return
    with tempfile.TemporaryDirectory() as folder:
        size = write_checkpoint(shape(arguments.gb), Path(folder))
        rows = [_apart(folder, *way) for way in WAYS[: arguments.ways]]
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f'checkpoint of {size / 1e9:.2f} GB in float32, {size / 4e9:.2f} billion parameters')
    for row in rows:
        print(
            f'{row["dtype"]:9} {row["quantize"]:5} weights {row["weights_gb"]:5.2f} GB, '
            f'peak {row["peak_gb"]:5.2f} GB = {row["peak_over_weights"]:.3f} x, '
            f'{row["seconds"]:.1f} s'
        )


def _apart(folder: str, dtype: str, quantize: str) -> dict[str, Any]:
    command = [sys.executable, '-m', 'benchmarks.load_time', '--measure', folder, dtype, quantize]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


if __name__ == '__main__':
    main()
