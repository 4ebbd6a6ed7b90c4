# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a model fits into memory, asked before it is loaded."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import nn

from molmo_ros.model.quantization import BYTES_PER_WEIGHT

# The cache of keys and values, activations and the tensor being read, as a share of the weights.
# The tests of loading and docs/checkpoints.md stand on it.
WORKING_SHARE = 0.15
_MEMINFO = Path('/proc/meminfo')
_CGROUP = Path('/sys/fs/cgroup')


class NotEnoughMemory(ValueError):
    """The model would not fit; the message says what would."""


def weight_bytes(model: nn.Module, dtype: torch.dtype, quantize: str = 'none') -> int:
    """Bytes that the weights of a model, on whatever device, take in a dtype, quantised or not.

    `model` is a Molmo, or a Molmo2 of transformers.
    """
    packed = 0
    if quantize != 'none':
        packed = sum(w.numel() for w in _quantizable(model))
    rest = sum(w.numel() for w in model.parameters()) - packed
    return int(rest * dtype.itemsize + packed * BYTES_PER_WEIGHT.get(quantize, 0))


def _quantizable(model: nn.Module) -> list[torch.Tensor]:
    """The matrices of the decoder's layers, without MoE routers."""
    layers = model.text.layers if hasattr(model, 'text') else model.model.language_model.layers
    return [
        weight
        for name, weight in layers.named_parameters()
        if weight.ndim > 1 and not name.endswith('mlp.gate.weight')
    ]


def available_bytes(device: torch.device) -> int | None:
    """Free memory of a device, page cache included; None where it cannot be told."""
    if device.type == 'cuda' and not torch.cuda.get_device_properties(device).is_integrated:
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type not in ('cpu', 'cuda') or not _MEMINFO.is_file():
        return None
    fields = dict(line.split(':') for line in _MEMINFO.read_text().splitlines())
    machine = int(fields['MemAvailable'].split()[0]) * 1024
    return min([machine, *_container_limits()])


def _container_limits() -> list[int]:
    try:
        limit = (_CGROUP / 'memory.max').read_text().strip()
        used = int((_CGROUP / 'memory.current').read_text())
        statistics = (_CGROUP / 'memory.stat').read_text().splitlines()
        cached = int(dict(line.split() for line in statistics)['inactive_file'])
    except (OSError, KeyError, ValueError):
        return []
    return [] if limit == 'max' else [max(int(limit) - used + cached, 0)]


def return_freed() -> None:
    """Give the system back what was freed: glibc keeps blocks of some megabytes for later."""
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def check_fits(model: nn.Module, device: torch.device, dtype: torch.dtype, quantize: str) -> None:
    """Raise NotEnoughMemory, saying what would fit, if the model would not."""
    available = available_bytes(device)
    if available is None or needed_bytes(model, dtype, quantize) <= available:
        return
    choices = {
        'dtype bfloat16': (torch.bfloat16, 'none'),
        'quantize int8': (torch.bfloat16, 'int8'),
        'quantize int4': (torch.bfloat16, 'int4'),
    }
    needs = {name: needed_bytes(model, *choice) for name, choice in choices.items()}
    fitting = [f'{name} ({_gb(need)})' for name, need in needs.items() if need <= available]
    advice = (
        f'this would fit: {", ".join(fitting)}'
        if fitting
        else f'nothing here would make it fit (int4 needs {_gb(needs["quantize int4"])}): '
        'use a smaller checkpoint or a server'
    )
    asked = f'{str(dtype).removeprefix("torch.")}' + (
        f' with quantize {quantize}' if quantize != 'none' else ''
    )
    raise NotEnoughMemory(
        f'the model needs {_gb(needed_bytes(model, dtype, quantize))} in {asked}, '
        f'{device} has {_gb(available)} free; {advice}'
    )


def needed_bytes(model: nn.Module, dtype: torch.dtype, quantize: str = 'none') -> int:
    """Bytes to have free before loading: the weights and what work with them takes."""
    return int((1 + WORKING_SHARE) * weight_bytes(model, dtype, quantize))


def _gb(size: float) -> str:
    return f'{size / 1e9:.1f} GB'
