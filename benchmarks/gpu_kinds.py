# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of checkpoints that `gpu` tries, with random weights: what is the same for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.engine import SEVEN_B_D, cost
from benchmarks.engine_checks import plain_tokens
from benchmarks.random_molmo import (
    IMAGE_TOKENS,
    ONE_POINT,
    POINTS,
    TINY_PREPROCESSOR,
    random_molmo,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.engine import Question
from molmo_ros.engine.networks import Loaded
from molmo_ros.model.config import TextFamily
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.preprocessing import ImageTokens, PreprocessorConfig
from molmo_ros.model.quantization import quantize_weight
from molmo_ros.model.tokenizer import MolmoTokenizer


@dataclass(frozen=True)
class Made:
    """How a checkpoint is made. noise: near 0 it writes one point, with more anything."""

    device: str
    dtype: torch.dtype
    noise: float = 0.02
    quantize: str = 'none'


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint.

    name: of the architecture; shape: of a release. tiny, whole: make one of some thousand weights,
    and one of the release's size. plain: the tokens of plain greedy decoding. cost: FLOPs, and
    bytes of weights, that some passes must spend, by the `work` of their answers.
    """

    name: str
    shape: str
    tiny: Callable[[Made], Loaded]
    whole: Callable[[Made], Loaded]
    plain: Callable[[Any, NDArray[np.uint8], Question], tuple[int, ...]]
    cost: Callable[[Any, Mapping[str, int], int], tuple[float, float]]


def molmo(family: TextFamily) -> Kind:
    """Molmo of the first generation."""
    return Kind(
        family,
        '7B-D',
        lambda made: _random(family, False, made),
        lambda made: _random(family, True, made),
        lambda loaded, image, question: plain_tokens(loaded, image, [question])[0],
        cost,
    )


def _random(family: TextFamily, whole: bool, made: Made) -> LoadedMolmo:
    config = SEVEN_B_D if whole else tiny_config(family)
    model = random_molmo(config, 0, torch.device(made.device), made.dtype)
    backend = _tokenizer(3 if config.text.family == 'olmo2' else 1)
    tilt(model, backend, [ONE_POINT] if made.noise < 0.1 else [ONE_POINT, POINTS], made.noise)
    quantize_layers(model.text.layers, made.quantize)
    ids = backend.convert_tokens_to_ids(list(IMAGE_TOKENS[:4]))
    tokenizer = MolmoTokenizer(backend, ImageTokens(*ids), backend.eos_token_id)
    return LoadedMolmo(model, tokenizer, PreprocessorConfig() if whole else TINY_PREPROCESSOR)


_tokenizer = cache(tiny_tokenizer)


def quantize_layers(layers: nn.Module, quantize: str) -> None:
    """All linear layers of these, or none."""
    if quantize != 'none':
        for name in [name for name, _ in layers.named_parameters()]:
            quantize_weight(layers, name, quantize)
