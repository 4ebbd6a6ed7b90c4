# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint folder, ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from molmo_ros.model.adapter import Adapter, read_adapter
from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint, WrongFile, understood
from molmo_ros.model.memory import check_fits, return_freed
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.options import (
    DEFAULTS,
    LoadOptions,
    choose_device,
    choose_dtype,
    choose_max_crops,
)
from molmo_ros.model.preprocessing import PreprocessorConfig
from molmo_ros.model.quantization import check_available, quantize_weight
from molmo_ros.model.tokenizer import MolmoTokenizer, load_tokenizer
from molmo_ros.model.weights import load_weights, weight_files


@dataclass(frozen=True)
class LoadedMolmo:
    """All that a folder holds; the model is in evaluation mode on its device."""

    model: Molmo
    tokenizer: MolmoTokenizer
    preprocessor: PreprocessorConfig


def load_molmo(
    folder: Path,
    options: LoadOptions = DEFAULTS,
    on_progress: Callable[[float], None] | None = None,
) -> LoadedMolmo:
    """Open a folder in the releases' layout. No code of the folder's is run.

    on_progress is called with the share of weights loaded, 0..1.

    Raises:
        UnsupportedCheckpoint: the folder is not a checkpoint that this package runs, or the
            adapter (UnsupportedAdapter) is not for it.
        NotEnoughMemory: the model would not fit; the message says what would.
        ValueError: a device, dtype or quantisation that this machine does not have.
    """
    config = read_config(folder)
    preprocessor = read_preprocessor(folder, config)
    max_crops = choose_max_crops(options.max_crops, preprocessor.max_crops)
    tokenizer = load_tokenizer(folder)
    _check_image_tokens(folder, tokenizer, config)
    if options.adapter is not None:
        # It may have taught those very words.
        language = replace(config.language, words='', other_words='', synonyms={})
        config = replace(config, language=language)
    model = load_model(folder, config, options, on_progress)
    return LoadedMolmo(model, tokenizer, replace(preprocessor, max_crops=max_crops))


def read_config(folder: Path) -> MolmoConfig:
    """Read config.json. Raises UnsupportedCheckpoint."""
    if not folder.is_dir():
        raise UnsupportedCheckpoint(f'{folder} is not a folder; give a checkpoint folder')
    return MolmoConfig.from_folder(folder)


def load_model(
    folder: Path,
    config: MolmoConfig,
    options: LoadOptions = DEFAULTS,
    on_progress: Callable[[float], None] | None = None,
) -> Molmo:
    """Load the weights alone: `load_molmo` without tokenizer and preprocessor."""
    quantize = options.quantize
    check_available(quantize)
    target = choose_device(options.device)
    chosen = choose_dtype(options.dtype, target)
    weight_files(folder)
    with understood(folder / 'config.json'), torch.device('meta'):
        model = Molmo(config).to(chosen)
    check_fits(model, target, chosen, quantize)

    adapter = Adapter({})
    if options.adapter is not None:
        adapter = read_adapter(options.adapter, model, config, folder)

    def on_filled(name: str) -> None:
        adapter.add_to(name, model.get_parameter(name))
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


def read_preprocessor(folder: Path, config: MolmoConfig) -> PreprocessorConfig:
    """Read preprocessor_config.json. Raises UnsupportedCheckpoint."""
    preprocessor = PreprocessorConfig.from_folder(folder)
    if (preprocessor.image_size, preprocessor.patch_size) != (
        config.vision.image_size,
        config.vision.patch_size,
    ):
        raise WrongFile(
            f'{folder}: preprocessor_config.json and config.json disagree on the size of a crop '
            'or patch'
        )
    return preprocessor


def _check_image_tokens(folder: Path, tokenizer: MolmoTokenizer, config: MolmoConfig) -> None:
    size = config.text.embedding_size + config.text.additional_vocab_size
    last = max(vars(tokenizer.image).values())
    if last >= size:
        raise UnsupportedCheckpoint(
            f"{folder}'s tokenizer gives an image token the id {last}, but its config.json "
            f'has embeddings for {size}; are they of the same checkpoint?'
        )
