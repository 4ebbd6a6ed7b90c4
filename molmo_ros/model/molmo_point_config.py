# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a MolmoPoint's config.json says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_ros.errors import shortened
from molmo_ros.model.config import (
    UnsupportedCheckpoint,
    WrongFile,
    side_of,
    understood,
)
from molmo_ros.model.molmo2_preprocessing import Molmo2ImageTokens


@dataclass(frozen=True)
class PointVisionConfig:
    """The image encoder; `feature_layers` index the outputs of the `num_layers` blocks."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    num_layers: int
    image_size: int
    patch_size: int
    norm_eps: float
    activation: str
    feature_layers: tuple[int, ...]

    @property
    def grid(self) -> int:
        """Patches along one side of a crop."""
        return self.image_size // self.patch_size

    @property
    def blocks_used(self) -> tuple[int, ...]:
        return tuple(layer % self.num_layers for layer in self.feature_layers)

    @property
    def features(self) -> int:
        """Width of what is read of a patch."""
        return self.hidden_size * len(self.feature_layers)


@dataclass(frozen=True)
class PointConnectorConfig:
    """Between encoder and decoder.

    positions: how many places of a window have a learned bias; 0 for none. output: whether the
    pooling has a projection of its own at its end. masked: whether what a window lacks is left out
    of its attention; the reference's plain attention, which a config may ask for, leaves it in.
    zeroed: whether it counts as zeros, bias and all.
    """

    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    activation: str
    positions: int
    output: bool
    masked: bool
    zeroed: bool


@dataclass(frozen=True)
class PointRules:
    """In which order points are written: patches sorted, parts of a patch sorted, none twice."""

    sorted_patches: bool
    sorted_subpatches: bool
    no_repeats: bool


@dataclass(frozen=True)
class MolmoPointConfig:
    """A MolmoPoint. text: what transformers' Molmo2TextConfig takes.

    patch_token, subpatch_token, location_token: the plain ids that stand for all of their kind.
    ends: whether there is a class for no more points. dim: of the keys that points are found by.
    rotary_theta: of the rotary embedding of those; 0 for none. scaled: whether products of queries
    and keys are divided by a root.
    """

    vision: PointVisionConfig
    connector: PointConnectorConfig
    text: Mapping[str, Any]
    image: Molmo2ImageTokens
    patch_token: int
    subpatch_token: int
    location_token: int
    ends: bool
    dim: int
    rotary_theta: float
    scaled: bool
    rules: PointRules

    @property
    def hidden_size(self) -> int:
        return int(self.text['hidden_size'])

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: the first id after it is the first of an image's own."""
        return int(self.text['vocab_size'] + self.text['additional_vocab_size'])

    @property
    def whole_patch(self) -> int:
        """The id of a patch of the whole image, which is seen and never pointed at."""
        assert self.image.whole_patch is not None
        return self.image.whole_patch

    @staticmethod
    def from_folder(folder: Path) -> MolmoPointConfig:
        """Read config.json. Raises UnsupportedCheckpoint."""
        path = folder / 'config.json'
        with understood(path):
            return MolmoPointConfig.from_dict(json.loads(path.read_text(encoding='utf-8-sig')))

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> MolmoPointConfig:
        """Read it, as other tools may have written it too. Raises UnsupportedCheckpoint."""
        if fields.get('quantization_config'):
            raise UnsupportedCheckpoint(
                'the weights are already quantised; use the original release, with quantize int8 '
                'or int4 if it must be small'
            )
        with understood('config.json'):
            _check_kind(fields)
            text = _text(fields['text_config'])
            return MolmoPointConfig(
                _vision(fields['vit_config'], fields['adapter_config']['vit_layers']),
                _connector(fields['adapter_config']),
                text,
                Molmo2ImageTokens(
                    fields['image_start_token_id'],
                    fields['image_end_token_id'],
                    fields['image_patch_id'],
                    fields['image_col_id'],
                    fields['low_res_image_start_token_id'],
                    fields['image_non_indexable_patch_id'],
                ),
                _id(fields, 'patch_token_id'),
                _id(fields, 'subpatch_token_id'),
                _id(fields, 'location_token_id'),
                bool(fields.get('no_more_points_class', False)),
                fields.get('patch_embed_dim', 256),
                _theta(fields, text['rope_parameters']['rope_theta']),
                bool(fields.get('norm_logits', True)),
                PointRules(
                    fields.get('mask_patches', 'always') in ('always', 'inference'),
                    fields.get('mask_subpatches', 'inference') in ('always', 'inference'),
                    fields.get('mask_repeats', 'inference') in ('all', 'inference'),
                ),
            )


# Where null says nothing; elsewhere it is an answer.
_NUMBERS = (
    *('hidden_size', 'intermediate_size', 'num_hidden_layers', 'head_dim', 'layer_norm_eps'),
    *('num_attention_heads', 'num_key_value_heads', 'vocab_size', 'additional_vocab_size'),
    *('max_position_embeddings', 'image_default_input_size', 'image_patch_size', 'hidden_act'),
)


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in fields.items() if value is not None or name not in _NUMBERS
    }


def _id(fields: Mapping[str, Any], name: str) -> int:
    """One of the vocabulary."""
    value, text = fields[name], fields['text_config']
    most = text['vocab_size'] + text['additional_vocab_size']
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < most:
        raise WrongFile(f'config.json says {name} {shortened(value)}, no id of {most}')
    return value


# What the releases have, and nothing else was seen.
_ONLY = {
    'patch_location': ('3x3',),
    'embed_selected_vit_patch': ('linear',),
    'layer_norm_x': (True,),
    'token_prediction_rotary': ('one_d', 'none'),
    'embed_location': (False, None),
}


def _check_kind(fields: Mapping[str, Any]) -> None:
    for name, known in _ONLY.items():
        value = fields.get(name, known[0])
        if value not in known:
            raise UnsupportedCheckpoint(
                f'config.json says {name} {value!r}; a MolmoPoint with {known[0]!r} is supported'
            )
    if not fields['text_config'].get('use_qk_norm', True):
        raise UnsupportedCheckpoint(
            'config.json says use_qk_norm false in text_config; no release of MolmoPoint does'
        )


def _theta(fields: Mapping[str, Any], of_text: float) -> float:
    if fields.get('token_prediction_rotary', 'one_d') == 'none':
        return 0.0
    theta = fields.get('token_prediction_rotary_theta') or of_text
    _check_number('token_prediction_rotary_theta', theta)
    return float(theta)


def _vision(fields: Mapping[str, Any], layers: list[int]) -> PointVisionConfig:
    fields = _said(fields)
    side = side_of(fields['image_default_input_size'], 'image_default_input_size of config.json')
    heads = fields['num_attention_heads']
    config = PointVisionConfig(
        hidden_size=fields['hidden_size'],
        intermediate_size=fields['intermediate_size'],
        num_heads=heads,
        num_kv_heads=fields.get('num_key_value_heads', heads),
        head_dim=fields['head_dim'],
        num_layers=fields['num_hidden_layers'],
        image_size=side,
        patch_size=fields['image_patch_size'],
        norm_eps=fields['layer_norm_eps'],
        activation=fields['hidden_act'],
        feature_layers=tuple(layers),
    )
    if config.grid**2 != fields['image_num_pos']:
        raise WrongFile(
            f'config.json has {fields["image_num_pos"]} positions for crops of {side}x{side} '
            f'pixels and patches of {config.patch_size}; one for each patch is supported'
        )
    inside = [-config.num_layers <= layer < config.num_layers for layer in config.feature_layers]
    if not inside or not all(inside):
        raise WrongFile(
            f'config.json reads the vision encoder at {shortened(list(config.feature_layers))}, '
            f'and it has {config.num_layers} blocks'
        )
    _check_heads('vit_config', config)
    _check_number('layer_norm_eps of vit_config', config.norm_eps)
    return config


def _check_heads(group: str, config: PointVisionConfig | PointConnectorConfig) -> None:
    if config.num_heads % config.num_kv_heads:
        raise WrongFile(
            f'config.json says num_attention_heads {config.num_heads} in {group}, which is no '
            f'multiple of {config.num_kv_heads}'
        )


def _check_number(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise WrongFile(f'config.json says {what} {shortened(value)}, not a number above 0')


def _connector(fields: Mapping[str, Any]) -> PointConnectorConfig:
    fields = _said(fields)
    masks = bool(fields['pooling_attention_mask'])
    heads = fields['num_attention_heads']
    config = PointConnectorConfig(
        hidden_size=fields['hidden_size'],
        num_heads=heads,
        num_kv_heads=fields.get('num_key_value_heads', heads),
        head_dim=fields['head_dim'],
        intermediate_size=fields['intermediate_size'],
        activation=fields['hidden_act'],
        positions=fields.get('positional_embeddings') or 0,
        output=bool(fields.get('attention_pooling_out_layer', True)),
        masked=masks and fields.get('attn_implementation') != 'eager',
        zeroed=not masks,
    )
    _check_heads('adapter_config', config)
    return config


def _text(fields: Mapping[str, Any]) -> dict[str, Any]:
    """In transformers' words."""
    fields = _said(fields)
    theta, scaling = fields.get('rope_theta'), fields.get('rope_scaling')
    rope = fields.get('rope_parameters') or {'rope_type': 'default', **(scaling or {})}
    if theta is not None:
        rope = {**rope, 'rope_theta': theta}
    if 'rope_theta' not in rope:
        raise KeyError('rope_theta')
    _check_number('rope_theta', rope['rope_theta'])
    _check_number('layer_norm_eps', fields['layer_norm_eps'])
    heads = fields['num_attention_heads']
    layers, hidden = fields['num_hidden_layers'], fields['hidden_size']
    return {
        'hidden_size': hidden,
        'intermediate_size': fields['intermediate_size'],
        'num_hidden_layers': layers,
        'num_attention_heads': heads,
        'num_key_value_heads': fields.get('num_key_value_heads', heads),
        'head_dim': fields['head_dim'],
        'vocab_size': fields['vocab_size'],
        'additional_vocab_size': fields['additional_vocab_size'],
        'attention_bias': bool(fields.get('qkv_bias', False)),
        'qk_norm_type': fields.get('qk_norm_type', 'qwen3'),
        'hidden_act': fields.get('hidden_act', 'silu'),
        'max_position_embeddings': fields['max_position_embeddings'],
        'rope_parameters': rope,
        'rope_scaling_layers': fields.get('rope_scaling_layers'),
        'rms_norm_eps': float(fields['layer_norm_eps']),
        'norm_after': bool(fields.get('norm_after', False)),
        'tie_word_embeddings': bool(fields.get('tie_word_embeddings', False)),
    }
