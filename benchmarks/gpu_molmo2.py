# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo2 and MolmoPoint for `gpu`; importing it takes a transformers that knows Molmo2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from benchmarks import random_molmo2, random_molmo_point
from benchmarks.engine import bytes_of, weights_of
from benchmarks.gpu_kinds import Kind, Made, quantize_layers
from molmo_ros.model.molmo2 import LoadedMolmo2
from molmo_ros.model.molmo2_preprocessing import Molmo2PreprocessorConfig
from molmo_ros.model.molmo_point_config import MolmoPointConfig
from molmo_ros.model.molmo_point_loading import LoadedMolmoPoint

POSITIONS = {'max_position_embeddings': 220}  # so that what is written for ever ends


def molmo2() -> Kind:
    """Molmo2, with the shape of Molmo2-8B."""
    return Kind(
        'Molmo2',
        'Molmo2-8B',
        lambda made: _molmo2(False, made),
        lambda made: _molmo2(True, made),
        random_molmo2.generated,
        _cost_of_molmo2,
    )


def molmo_point() -> Kind:
    """MolmoPoint, with the shape of MolmoPoint-8B."""
    return Kind(
        'MolmoPoint',
        'MolmoPoint-8B',
        lambda made: _molmo_point(False, made),
        lambda made: _molmo_point(True, made),
        random_molmo_point.greedy_answer,
        _cost_of_molmo_point,
    )


def _molmo2(whole: bool, made: Made) -> LoadedMolmo2:
    backend = random_molmo2.tiny_tokenizer()
    if whole:
        config, crops = random_molmo2.eight_billion(backend), Molmo2PreprocessorConfig()
    else:
        config = random_molmo2.tiny_config(backend, POSITIONS)
        crops = random_molmo2.TINY_CROPS
    model = random_molmo2.random_molmo2(config, 0, made.device, made.dtype)
    pieces = random_molmo2.ONE if made.noise < 0.1 else random_molmo2.POINTS
    random_molmo2.tilt(model, backend, pieces, made.noise)
    quantize_layers(model.model.language_model.layers, made.quantize)
    return random_molmo2.in_memory(model, backend, crops)


def _molmo_point(whole: bool, made: Made) -> LoadedMolmoPoint:
    backend = random_molmo_point.tiny_tokenizer()
    if whole:
        fields, crops = random_molmo_point.EIGHT_B, Molmo2PreprocessorConfig()
    else:
        fields, crops = {'text': POSITIONS}, random_molmo_point.TINY_CROPS
    config = MolmoPointConfig.from_dict(random_molmo_point.tiny_fields(backend, **fields))
    model = random_molmo_point.random_molmo_point(config, 0, made.device, made.dtype)
    ends = 1e3 if made.noise < 0.1 else 0.0
    random_molmo_point.tilt(model, backend, random_molmo_point.ONE_POINT, made.noise, ends)
    quantize_layers(model.text.layers, made.quantize)
    return random_molmo_point.in_memory(model, backend, crops)


@dataclass(frozen=True)
class _Parts:
    """What a pass goes through.

    places: (patches of a crop, width). once, each: layers that a token of the image takes once, and
    for each of the `window` patches it is made of. attention: width of a layer's.
    """

    places: Sequence[int]
    vision: nn.Module
    blocks: Sequence[nn.Module]
    connector: nn.Module
    once: Sequence[nn.Module]
    each: Sequence[nn.Module]
    window: int
    layers: Sequence[nn.Module]
    attention: int
    head: nn.Module


def _cost_of_molmo2(
    loaded: LoadedMolmo2, work: Mapping[str, int], passes: int
) -> tuple[float, float]:
    network, text = loaded.model.model, loaded.model.config.text_config
    vision, connector = network.vision_tower, network.multi_modal_projector
    pooling = connector.image_pooling_2d
    parts = _Parts(
        vision.positional_embedding.shape,
        vision,
        vision.layers,
        connector,
        (pooling.q_proj, pooling.o_proj, connector.image_projector),
        (pooling.k_proj, pooling.v_proj),
        prod(loaded.preprocessor.pool),
        network.language_model.layers,
        text.num_attention_heads * text.head_dim,
        loaded.model.lm_head,
    )
    return _cost(parts, work, passes)


def _cost_of_molmo_point(
    loaded: LoadedMolmoPoint, work: Mapping[str, int], passes: int
) -> tuple[float, float]:
    model, text = loaded.model, loaded.model.config.text
    vision, connector = model.vision, model.connector
    pooling = connector.pooling
    parts = _Parts(
        vision.positional_embedding.shape,
        vision,
        vision.blocks,
        connector,
        (pooling.wq, pooling.wo, connector.w1, connector.w2, connector.w3),
        (pooling.wk, pooling.wv, model.points.subpatch_k),
        prod(loaded.preprocessor.pool),
        model.text.layers,
        text['num_attention_heads'] * text['head_dim'],
        model.lm_head,
    )
    return _cost(parts, work, passes)


def _cost(parts: _Parts, work: Mapping[str, int], passes: int) -> tuple[float, float]:
    """As `engine.cost`; the image's tokens see each other both ways."""
    image, (patches, width) = work['image_tokens'], parts.places
    blocks = sum(map(weights_of, parts.blocks))
    mixing = len(parts.blocks) * 4 * patches**2 * width
    once, each = (sum(map(weights_of, some)) for some in (parts.once, parts.each))
    text = sum(map(weights_of, parts.layers))
    flops = (
        work['crops'] * (mixing + 2 * patches * blocks)
        + 2 * image * (once + parts.window * each)
        + len(parts.layers) * 4 * image**2 * parts.attention
        + 2 * text * (image + work['text_tokens'])
        + 2 * weights_of(parts.head) * work['choices']
    )
    read = bytes_of(parts.vision) + bytes_of(parts.connector) if image else 0
    return flops, read + passes * (sum(map(bytes_of, parts.layers)) + bytes_of(parts.head))
