# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The releases' checkpoint layout: which tensor holds which of our parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molmo_ros.model.config import MolmoConfig, TextConfig


@dataclass(frozen=True)
class Piece:
    """A run of rows of a stored tensor, and where it goes.

    `name` is a parameter of `Molmo`, `index` the part of it that the rows fill; rows are
    counted off the stored tensor piece after piece.
    """

    name: str
    index: tuple[int | slice, ...] = ()


KeyMap = Mapping[str, tuple[Piece, ...]]

# Seen in conversions of MolmoE; the released index was not.
OTHER_SPELLINGS = {'model.lm_head.weight': 'lm_head.weight'}


def key_map(config: MolmoConfig) -> KeyMap:
    """Every tensor of a release's checkpoint, and the parameters it fills.

    Sources: the releases' model files; AI2's v1 `scripts/convert_hf_to_molmo.py`.
    """
    text = config.text
    keys: dict[str, tuple[Piece, ...]] = {
        'model.transformer.wte.embedding': (
            Piece('text.embed_tokens.weight', (slice(0, text.embedding_size),)),
        ),
        'model.transformer.wte.new_embedding': (
            Piece('text.embed_tokens.weight', (slice(text.embedding_size, None),)),
        ),
        'model.transformer.ln_f.weight': (Piece('text.norm.weight'),),
    }
    block_keys = _moe_block if text.family == 'olmoe' else _dense_block
    head = 'lm_head' if text.family == 'olmoe' else 'model.transformer.ff_out'
    keys[f'{head}.weight'] = (Piece('lm_head.weight'),)
    for layer in range(text.num_layers):
        keys |= block_keys(text, f'model.transformer.blocks.{layer}', f'text.layers.{layer}')
    return keys | _vision_keys(config)


def _dense_block(text: TextConfig, source: str, ours: str) -> dict[str, tuple[Piece, ...]]:
    post_norm = text.family == 'olmo2'
    first = 'post_attention_layernorm' if post_norm else 'input_layernorm'
    second = 'post_feedforward_layernorm' if post_norm else 'post_attention_layernorm'
    keys = {
        f'{source}.att_proj.weight': _qkv(ours, 'weight'),
        f'{source}.attn_out.weight': (Piece(f'{ours}.self_attn.o_proj.weight'),),
        f'{source}.attn_norm.weight': (Piece(f'{ours}.{first}.weight'),),
        f'{source}.ff_norm.weight': (Piece(f'{ours}.{second}.weight'),),
        f'{source}.ff_proj.weight': (
            Piece(f'{ours}.mlp.up_proj.weight'),
            Piece(f'{ours}.mlp.gate_proj.weight'),
        ),
        f'{source}.ff_out.weight': (Piece(f'{ours}.mlp.down_proj.weight'),),
    }
    if text.qkv_bias:
        keys[f'{source}.att_proj.bias'] = _qkv(ours, 'bias')
    if post_norm:
        keys |= _qk_norm(source, ours)
    return keys


def _moe_block(text: TextConfig, source: str, ours: str) -> dict[str, tuple[Piece, ...]]:
    keys = {
        f'{source}.attn.att_proj.weight': _qkv(ours, 'weight'),
        f'{source}.attn.attn_out.weight': (Piece(f'{ours}.self_attn.o_proj.weight'),),
        f'{source}.attn.attn_norm.weight': (Piece(f'{ours}.input_layernorm.weight'),),
        f'{source}.mlp.ff_norm.weight': (Piece(f'{ours}.post_attention_layernorm.weight'),),
        f'{source}.mlp.gate.weight': (Piece(f'{ours}.mlp.gate.weight'),),
    }
    keys |= _qk_norm(f'{source}.attn', ours)
    gate, up = slice(0, text.intermediate_size), slice(text.intermediate_size, None)
    for expert in range(text.num_experts):
        stored, fused = f'{source}.mlp.experts.{expert}', f'{ours}.mlp.experts'
        keys[f'{stored}.gate_proj.weight'] = (Piece(f'{fused}.gate_up_proj', (expert, gate)),)
        keys[f'{stored}.up_proj.weight'] = (Piece(f'{fused}.gate_up_proj', (expert, up)),)
        keys[f'{stored}.down_proj.weight'] = (Piece(f'{fused}.down_proj', (expert,)),)
    return keys


def _qkv(ours: str, kind: str) -> tuple[Piece, ...]:
    return tuple(Piece(f'{ours}.self_attn.{name}_proj.{kind}') for name in 'qkv')


def _qk_norm(source: str, ours: str) -> dict[str, tuple[Piece, ...]]:
    return {
        f'{source}.{name}.weight': (Piece(f'{ours}.self_attn.{name}.weight'),)
        for name in ('q_norm', 'k_norm')
    }


def _vision_keys(config: MolmoConfig) -> dict[str, tuple[Piece, ...]]:
    backbone, vit = 'model.vision_backbone', 'model.vision_backbone.image_vit'
    names = {
        f'{vit}.class_embedding': 'vision.class_embedding',
        f'{vit}.positional_embedding': 'vision.positional_embedding',
        f'{vit}.patch_embedding.weight': 'vision.patch_embedding.weight',
        f'{backbone}.pad_embed': 'connector.pad_embed',
    }
    layers = {f'{vit}.pre_ln': 'vision.pre_ln'}
    for name in ('wq', 'wk', 'wv', 'wo'):
        layers[f'{backbone}.image_pooling_2d.{name}'] = f'connector.pooling.{name}'
    for name in ('w1', 'w2', 'w3'):
        names[f'{backbone}.image_projector.{name}.weight'] = f'connector.projector.{name}.weight'
    for index in range(max(config.vision.blocks_used) + 1):
        source, ours = f'{vit}.transformer.resblocks.{index}', f'vision.blocks.{index}'
        attention = {'wq': 'q_proj', 'wk': 'k_proj', 'wv': 'v_proj', 'wo': 'out_proj'}
        for stored, own in attention.items():
            layers[f'{source}.attention.{stored}'] = f'{ours}.self_attn.{own}'
        layers[f'{source}.feed_forward.w1'] = f'{ours}.mlp.fc1'
        layers[f'{source}.feed_forward.w2'] = f'{ours}.mlp.fc2'
        layers[f'{source}.attention_norm'] = f'{ours}.layer_norm1'
        layers[f'{source}.ffn_norm'] = f'{ours}.layer_norm2'
    for stored, own in layers.items():
        names |= {f'{stored}.{kind}': f'{own}.{kind}' for kind in ('weight', 'bias')}
    return {stored: (Piece(own),) for stored, own in names.items()}


def unused_keys(config: MolmoConfig) -> tuple[str, ...]:
    """Prefixes of what the releases hold and never use: encoder blocks past the last one read."""
    last = max(config.vision.blocks_used)
    return tuple(
        f'model.vision_backbone.image_vit.transformer.resblocks.{index}.'
        for index in range(last + 1, config.vision.num_layers)
    )


def unread_tensors(stored: Mapping[str, Tensor], config: MolmoConfig) -> dict[str, Tensor]:
    """The encoder's blocks past the last one that is read, as zeros of the first one's shapes.

    Whoever builds the whole encoder looks for them, and reads no number of theirs.
    """
    first = 'model.vision_backbone.image_vit.transformer.resblocks.0.'
    block = {
        key.removeprefix(first): weight for key, weight in stored.items() if key.startswith(first)
    }
    return {
        f'{prefix}{name}': torch.zeros_like(weight)
        for prefix in unused_keys(config)
        for name, weight in block.items()
    }


def stored_tensors(model: nn.Module, config: MolmoConfig) -> dict[str, Tensor]:
    """The inverse of loading: the model's weights under the releases' keys."""
    parameters = dict(model.named_parameters())
    return {
        key: torch.cat([parameters[piece.name].detach()[piece.index] for piece in pieces])
        for key, pieces in key_map(config).items()
    }
