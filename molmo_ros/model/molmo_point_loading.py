# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A MolmoPoint checkpoint folder, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from molmo_ros.model import molmo_point_keys
from molmo_ros.model.adapter import UnsupportedAdapter
from molmo_ros.model.config import UnsupportedCheckpoint, WrongFile, understood
from molmo_ros.model.memory import check_fits, return_freed
from molmo_ros.model.molmo2 import Molmo2Tokenizer, read_tokenizer
from molmo_ros.model.molmo2_preprocessing import Molmo2PreprocessorConfig
from molmo_ros.model.molmo_point import MolmoPoint
from molmo_ros.model.molmo_point_config import MolmoPointConfig
from molmo_ros.model.options import (
    DEFAULTS,
    LoadOptions,
    choose_device,
    choose_dtype,
    choose_max_crops,
)
from molmo_ros.model.point_ids import PointIds
from molmo_ros.model.quantization import check_available, quantize_weight
from molmo_ros.model.weights import fill, weight_files

_IMAGE_TOKENS = {
    'start': '<im_start>',
    'end': '<im_end>',
    'patch': '<im_patch>',
    'column': '<im_col>',
    'whole_start': '<low_res_im_start>',
    'whole_patch': '<im_low>',
}


@dataclass(frozen=True)
class MolmoPointTokenizer(Molmo2Tokenizer):
    """As `Molmo2Tokenizer`; the tokens of points are written <PATCH_7>, <SUBPATCH_2>, <LOCATION_4>
    and <END>, in what is decoded and in what is encoded, a question excepted."""

    points: PointIds

    def encode_question(self, prompt: str) -> list[int]:
        # The releases' tokenizers have names for points of their own, which stay words here.
        words = Molmo2Tokenizer(self.backend, self.image, self.bos, self.turn_start, self.turn_end)
        return words.encode_question(prompt.replace('<POINT_', '< POINT_'))

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in self.points.in_text(text):
            if isinstance(piece, int):
                ids.append(piece)
            elif piece:
                ids += super().encode(piece)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return ''.join(self._pieces(ids))

    def _pieces(self, ids: Sequence[int]) -> Iterator[str]:
        words: list[int] = []
        for token in ids:
            if token < self.points.first:
                words.append(token)
                continue
            yield super().decode(words)
            yield self.points.written(token)
            words = []
        yield super().decode(words)


@dataclass(frozen=True)
class LoadedMolmoPoint:
    """All that a folder holds; the model is in evaluation mode on its device."""

    model: MolmoPoint
    tokenizer: MolmoPointTokenizer
    preprocessor: Molmo2PreprocessorConfig


def load_molmo_point(
    folder: Path,
    options: LoadOptions = DEFAULTS,
    on_progress: Callable[[float], None] | None = None,
) -> LoadedMolmoPoint:
    """Open a MolmoPoint folder. Arguments and errors are those of `loading.load_molmo`."""
    if options.adapter is not None:
        raise UnsupportedAdapter(
            f'{folder} is a MolmoPoint, and adapters are added to Molmo of the first generation '
            'and to Molmo2 only; load it without'
        )
    config = MolmoPointConfig.from_folder(folder)
    preprocessor = read_preprocessor(folder, config)
    max_crops = choose_max_crops(options.max_crops, preprocessor.max_crops)
    tokenizer = _tokenizer(folder, config, preprocessor)
    model = load_point_model(folder, config, options, on_progress)
    return LoadedMolmoPoint(model, tokenizer, replace(preprocessor, max_crops=max_crops))


def load_point_model(
    folder: Path,
    config: MolmoPointConfig,
    options: LoadOptions = DEFAULTS,
    on_progress: Callable[[float], None] | None = None,
) -> MolmoPoint:
    """Load the weights alone: `load_molmo_point` without tokenizer and preprocessor."""
    quantize = options.quantize
    check_available(quantize)
    target = choose_device(options.device)
    chosen = choose_dtype(options.dtype, target)
    weight_files(folder)
    with understood(folder / 'config.json'), torch.device('meta'):
        model = MolmoPoint(config).to(chosen)
        if molmo_point_keys.ties(config):
            model.lm_head.weight = model.text.embed_tokens.weight
    check_fits(model, target, chosen, quantize)

    def on_filled(name: str) -> None:
        if quantize != 'none' and name.startswith('text.layers.'):
            quantize_weight(model, name, quantize)
            return_freed()

    keys, unused = molmo_point_keys.key_map(config), molmo_point_keys.unused_keys(config)
    fill(model, keys, unused, folder, target, on_progress, on_filled)
    if molmo_point_keys.ties(config):
        model.lm_head.weight = model.text.embed_tokens.weight
    compute_rotary(model, target)
    return model.eval().requires_grad_(False)


def compute_rotary(model: MolmoPoint, device: torch.device | str) -> None:
    """The decoder's rotary tables, which are no parameters and so in no file."""
    text = model.text
    with torch.device(device):
        text.rotary_emb = type(text.rotary_emb)(text.config)
        text.rotary_emb_unscaled = type(text.rotary_emb)(text.config, scaled=False)


def read_preprocessor(folder: Path, config: MolmoPointConfig) -> Molmo2PreprocessorConfig:
    """Read preprocessor_config.json and processor_config.json. Raises UnsupportedCheckpoint."""
    preprocessor = replace(Molmo2PreprocessorConfig.from_folder(folder), fused=True)
    sizes = (config.vision.image_size, config.vision.patch_size)
    if (preprocessor.image_size, preprocessor.patch_size) != sizes:
        raise WrongFile(
            f'{folder}: preprocessor_config.json and config.json disagree on the size of a crop '
            'or patch'
        )
    return preprocessor


def _tokenizer(
    folder: Path, config: MolmoPointConfig, preprocessor: Molmo2PreprocessorConfig
) -> MolmoPointTokenizer:
    plain = read_tokenizer(folder, tuple(_IMAGE_TOKENS.values()), 'MolmoPoint')
    vocabulary = plain.backend.get_vocab()
    for name, token in _IMAGE_TOKENS.items():
        if vocabulary[token] != getattr(config.image, name):
            raise UnsupportedCheckpoint(
                f"{folder}'s tokenizer gives {token} the id {vocabulary[token]}, its config.json "
                f'{getattr(config.image, name)}; are they of the same checkpoint?'
            )
    rows, columns = preprocessor.pool
    points = PointIds(config.vocabulary, rows * columns, config.ends)
    return MolmoPointTokenizer(
        plain.backend, config.image, plain.bos, plain.turn_start, plain.turn_end, points
    )
