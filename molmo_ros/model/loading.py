# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint folder, ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from molmo_ros.model.checkpoint import load_weights
from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import PreprocessorConfig
from molmo_ros.model.tokenizer import Tokenizer, load_tokenizer

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@dataclass(frozen=True)
class LoadedMolmo:
    """All that a folder holds; the model is in evaluation mode on its device."""

    model: Molmo
    tokenizer: Tokenizer
    preprocessor: PreprocessorConfig


def load_molmo(
    folder: Path,
    device: str = 'auto',
    dtype: str = 'auto',
    max_crops: int | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> LoadedMolmo:
    """Open a folder in the releases' layout.

    Args:
        device: a torch device, or 'auto': CUDA where there is one, else the CPU.
        dtype: 'float32', 'bfloat16', 'float16', or 'auto': bfloat16 on CUDA, float32 on a CPU.
        max_crops: fewer crops than the checkpoint was trained with are faster and coarser; more
            are refused, because pointing collapses with them.
        on_progress: called with the share of weights loaded, 0..1.
    Raises:
        UnsupportedCheckpoint: the folder is not a checkpoint that this package runs.
        ValueError: a device or dtype that this machine does not have.
    """
    if not folder.is_dir():
        raise UnsupportedCheckpoint(f'{folder} is not a folder; give a checkpoint folder')
    config = MolmoConfig.from_folder(folder)
    preprocessor = _preprocessor(folder, config, max_crops)
    tokenizer = load_tokenizer(folder)
    target = _device(device)
    chosen = _dtype(dtype, target)
    with torch.device('meta'):
        model = Molmo(config)
    model.to(chosen)
    _materialise(model, target)
    load_weights(model, config, folder, on_progress)
    return LoadedMolmo(model.eval().requires_grad_(False), tokenizer, preprocessor)


def _materialise(model: Molmo, device: torch.device) -> None:
    """Give every parameter memory on `device`; the rotary tables are computed anew there."""
    rotary = model.text.rotary_emb
    model.to_empty(device=device)
    with torch.device(device):
        model.text.rotary_emb = type(rotary)(model.text.config)


def _preprocessor(folder: Path, config: MolmoConfig, max_crops: int | None) -> PreprocessorConfig:
    preprocessor = PreprocessorConfig.from_folder(folder)
    if (preprocessor.image_size, preprocessor.patch_size) != (
        config.vision.image_size,
        config.vision.patch_size,
    ):
        raise UnsupportedCheckpoint(
            f'{folder}: preprocessor_config.json and config.json disagree on the size of a crop '
            'or patch'
        )
    if max_crops is None:
        return preprocessor
    if not 1 <= max_crops <= preprocessor.max_crops:
        raise ValueError(
            f'max_crops must be 1 to {preprocessor.max_crops}, the number the checkpoint was '
            f'trained with; {max_crops} was asked for'
        )
    return replace(preprocessor, max_crops=max_crops)


def _device(name: str) -> torch.device:
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    device = torch.device(name)
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'device {name!r} was asked for, but torch sees no CUDA device')
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == 'auto':
        return torch.float32 if device.type == 'cpu' else torch.bfloat16
    if name not in DTYPES:
        raise ValueError(f'dtype must be auto or one of {", ".join(DTYPES)}; not {name!r}')
    return DTYPES[name]
