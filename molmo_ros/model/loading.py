# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint folder, ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint
from molmo_ros.model.memory import check_fits, return_freed
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import PreprocessorConfig
from molmo_ros.model.quantization import check_available, quantize_weight
from molmo_ros.model.tokenizer import Tokenizer, load_tokenizer
from molmo_ros.model.weights import load_weights, weight_files

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
    quantize: str = 'none',
) -> LoadedMolmo:
    """Open a folder in the releases' layout. No code of the folder's is run.

    Args:
        device: a torch device, or 'auto': CUDA where there is one, else the CPU.
        dtype: 'float32', 'bfloat16', 'float16', or 'auto': bfloat16 on CUDA, float32 on a CPU.
        max_crops: fewer crops than the checkpoint was trained with are faster and coarser; more
            are refused, because pointing collapses with them.
        on_progress: called with the share of weights loaded, 0..1.
        quantize: 'none', or the decoder's weights in 'int8' or 'int4' (bitsandbytes).
    Raises:
        UnsupportedCheckpoint: the folder is not a checkpoint that this package runs.
        NotEnoughMemory: the model would not fit; the message says what would.
        ValueError: a device, dtype or quantisation that this machine does not have.
    """
    config = read_config(folder)
    preprocessor = read_preprocessor(folder, config, max_crops)
    tokenizer = load_tokenizer(folder)
    _check_image_tokens(folder, tokenizer, config)
    model = load_model(folder, config, device, dtype, quantize, on_progress)
    return LoadedMolmo(model, tokenizer, preprocessor)


def read_config(folder: Path) -> MolmoConfig:
    """Read config.json. Raises UnsupportedCheckpoint."""
    if not folder.is_dir():
        raise UnsupportedCheckpoint(f'{folder} is not a folder; give a checkpoint folder')
    return MolmoConfig.from_folder(folder)


def load_model(
    folder: Path,
    config: MolmoConfig,
    device: str = 'auto',
    dtype: str = 'auto',
    quantize: str = 'none',
    on_progress: Callable[[float], None] | None = None,
) -> Molmo:
    """Load the weights alone: `load_molmo` without tokenizer and preprocessor."""
    check_available(quantize)
    target = choose_device(device)
    chosen = choose_dtype(dtype, target)
    weight_files(folder)
    with torch.device('meta'):
        model = Molmo(config).to(chosen)
    check_fits(model, target, chosen, quantize)

    def on_filled(name: str) -> None:
        if quantize != 'none' and name.startswith('text.layers.'):
            quantize_weight(model, name, quantize)
            return_freed()

    load_weights(model, config, folder, target, on_progress, on_filled)
    # The rotary tables are no parameters: they are computed.
    with torch.device(target):
        model.text.rotary_emb = type(model.text.rotary_emb)(model.text.config)
    _assert_loaded(model, chosen, target)
    return model.eval().requires_grad_(False)


def _assert_loaded(model: Molmo, dtype: torch.dtype, device: torch.device) -> None:
    for name, weight in model.named_parameters():
        if weight.device.type != device.type:
            raise AssertionError(f'{name} was loaded to {weight.device}, not {device}')
        if weight.is_floating_point() and weight.dtype != dtype:
            raise AssertionError(f'{name} was loaded as {weight.dtype}, not {dtype}')


def read_preprocessor(
    folder: Path, config: MolmoConfig, max_crops: int | None = None
) -> PreprocessorConfig:
    """Read preprocessor_config.json, with fewer crops if `max_crops` says so."""
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


def _check_image_tokens(folder: Path, tokenizer: Tokenizer, config: MolmoConfig) -> None:
    size = config.text.embedding_size + config.text.additional_vocab_size
    last = max(vars(tokenizer.image).values())
    if last >= size:
        raise UnsupportedCheckpoint(
            f"{folder}'s tokenizer gives an image token the id {last}, but its config.json "
            f'has embeddings for {size}; are they of the same checkpoint?'
        )


def choose_device(name: str) -> torch.device:
    """The device that `load_molmo`'s argument names. Raises ValueError."""
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f'{name!r} is no torch device; say cpu, cuda or cuda:N') from error
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'device {name!r} was asked for, but torch sees no CUDA device')
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype that `load_molmo`'s argument names. Raises ValueError."""
    if name == 'auto':
        return torch.float32 if device.type == 'cpu' else torch.bfloat16
    if name not in DTYPES:
        raise ValueError(f'dtype must be auto or one of {", ".join(DTYPES)}; not {name!r}')
    return DTYPES[name]
