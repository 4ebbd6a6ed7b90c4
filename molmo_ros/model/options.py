# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one may choose when a checkpoint is loaded, of whatever generation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@dataclass(frozen=True)
class LoadOptions:
    """How a checkpoint is loaded.

    Attributes:
        device: a torch device, or 'auto': CUDA where there is one, else the CPU.
        dtype: 'float32', 'bfloat16', 'float16', or 'auto': bfloat16 on CUDA, float32 on a CPU.
        max_crops: fewer crops than the checkpoint was trained with are faster and coarser; more
            are refused, because pointing collapses with them.
        quantize: 'none', or the decoder's weights in 'int8' or 'int4' (bitsandbytes).
        adapter: a folder with a LoRA adapter to add to the weights, before they are quantised.
    """

    device: str = 'auto'
    dtype: str = 'auto'
    max_crops: int | None = None
    quantize: str = 'none'
    adapter: Path | None = None


DEFAULTS = LoadOptions()


def choose_device(name: str) -> torch.device:
    """The device that `LoadOptions.device` names. Raises ValueError."""
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f'{name!r} is no torch device; say cpu, cuda or cuda:N') from error
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'device {name!r} was asked for, but torch sees no CUDA device')
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f'device {name!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA '
            f'devices, from cuda:0 on'
        )
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype that `LoadOptions.dtype` names. Raises ValueError."""
    if name == 'auto':
        return torch.float32 if device.type == 'cpu' else torch.bfloat16
    if name not in DTYPES:
        raise ValueError(f'dtype must be auto or one of {", ".join(DTYPES)}; not {name!r}')
    return DTYPES[name]


def choose_max_crops(asked: int | None, trained: int) -> int:
    """As `LoadOptions.max_crops` says of a checkpoint trained with that many. Raises ValueError."""
    if asked is None:
        return trained
    if not 1 <= asked <= trained:
        raise ValueError(
            f'max_crops must be 1 to {trained}, the number the checkpoint was '
            f'trained with; {asked} was asked for'
        )
    return asked
