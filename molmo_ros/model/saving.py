# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models as checkpoint folders in the releases' layout."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from molmo_ros.model.checkpoint import stored_tensors, unread_tensors
from molmo_ros.model.config import LanguageConfig, MolmoConfig
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import PreprocessorConfig
from molmo_ros.output import whole_file, write_whole


def write_molmo(
    model: Molmo,
    preprocessor: PreprocessorConfig,
    folder: Path,
    dtype: torch.dtype | None = None,
) -> None:
    """Write config, preprocessor config and weights; the tokenizer is missing.

    dtype: what the weights are stored in, whatever they are then loaded as; None: in their own.
    Raises ValueError where one is too large for it; nothing is written then.
    """
    stored = stored_tensors(model, model.config)
    stored |= unread_tensors(stored, model.config)
    tensors = {key: _as_stored(key, weight, dtype) for key, weight in stored.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / 'model.safetensors', also=(SafetensorError,)) as partial:
        save_file(tensors, partial, {'format': 'pt'})
    _write(folder / 'config.json', config_fields(model.config))
    _write(folder / 'preprocessor_config.json', _preprocessor_fields(preprocessor))


def _as_stored(key: str, weight: Tensor, dtype: torch.dtype | None) -> Tensor:
    rounded = weight.to(dtype or weight.dtype).contiguous()
    if (rounded.isinf() & weight.isfinite()).any():
        raise ValueError(
            f'{key} reaches {weight.abs().max():.3g}, which {dtype} cannot hold; store the '
            'checkpoint as bfloat16 or float32'
        )
    return rounded


def config_fields(config: MolmoConfig) -> dict[str, Any]:
    """The content of config.json, in the spelling of the release of that family."""
    text, vision = config.text, config.vision
    shared = {
        'model_type': 'molmo',
        'architectures': ['MolmoForCausalLM'],
        'tie_word_embeddings': False,
        'rope_theta': text.rope_theta,
        'layer_norm_eps': text.norm_eps,
        'embedding_size': text.embedding_size,
        'additional_vocab_size': text.additional_vocab_size,
        'qkv_bias': text.qkv_bias,
    }
    if config.language != LanguageConfig():
        shared['language'] = asdict(config.language)
    if text.family != 'olmoe':
        return shared | {
            'norm_after': text.family == 'olmo2',
            'vocab_size': text.embedding_size,
            'layer_norm_type': 'rms',
            'attention_layer_norm': text.family == 'olmo2',
            'weight_tying': False,
            'hidden_size': text.hidden_size,
            'intermediate_size': 2 * text.intermediate_size,
            'num_hidden_layers': text.num_layers,
            'num_attention_heads': text.num_heads,
            'num_key_value_heads': text.num_kv_heads,
            'max_position_embeddings': text.max_positions,
            'vision_config': {
                'hidden_size': vision.hidden_size,
                'intermediate_size': vision.intermediate_size,
                'num_attention_heads': vision.num_heads,
                'num_layers': vision.num_layers,
                'image_size': vision.image_size,
                'patch_size': vision.patch_size,
                'feature_layers': list(vision.feature_layers),
            },
        }
    return shared | {
        'd_model': text.hidden_size,
        'mlp_ratio': 1,
        'n_layers': text.num_layers,
        'n_heads': text.num_heads,
        'max_sequence_length': text.max_positions,
        'block_type': 'moe',
        'moe_num_experts': text.num_experts,
        'moe_top_k': text.experts_per_token,
        'vit_layers': list(vision.feature_layers),
        'image_pooling_h': config.pool,
        'vision_backbone': {
            'image_emb_dim': vision.hidden_size,
            'image_mlp_dim': vision.intermediate_size,
            'image_num_heads': vision.num_heads,
            'image_num_layers': vision.num_layers,
            'image_default_input_size': [vision.image_size] * 2,
            'image_patch_size': vision.patch_size,
            'image_norm_eps': vision.norm_eps,
        },
    }


def _preprocessor_fields(preprocessor: PreprocessorConfig) -> dict[str, Any]:
    return {
        'base_image_input_size': [preprocessor.image_size] * 2,
        'image_patch_size': preprocessor.patch_size,
        'max_crops': preprocessor.max_crops,
        'overlap_margins': list(preprocessor.margins),
        'image_mean': list(preprocessor.mean),
        'image_std': list(preprocessor.std),
    }


def _write(path: Path, fields: dict[str, Any]) -> None:
    write_whole(path, json.dumps(fields, indent=2) + '\n')
