# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoint's checkpoint layout: which tensor holds which of our parameters."""

from __future__ import annotations

from molmo_ros.model.checkpoint import KeyMap, Piece
from molmo_ros.model.molmo_point_config import MolmoPointConfig

_VIT_BLOCK = {
    'attention.wq': 'attention.wq',
    'attention.wk': 'attention.wk',
    'attention.wv': 'attention.wv',
    'attention.wo': 'attention.wo',
    'feed_forward.w1': 'w1',
    'feed_forward.w2': 'w2',
    'attention_norm': 'attention_norm',
    'ffn_norm': 'ffn_norm',
}
_POINTS = {
    'patch_q': 'patch_q',
    'patch_k': 'patch_k',
    'subpatch_q': 'subpatch_q',
    'subpatch_k': 'subpatch_k',
    'subpatch_loc_k': 'location',
}


def key_map(config: MolmoPointConfig) -> KeyMap:
    """Every tensor of a release's checkpoint, and the parameters it fills."""
    own = slice(0, config.text['vocab_size'])
    more = slice(config.text['vocab_size'], None)
    embedding, head = 'text.embed_tokens.weight', 'lm_head.weight'
    keys: dict[str, tuple[Piece, ...]] = {
        'model.transformer.wte.embedding': (Piece(embedding, (own,)),),
        'model.transformer.wte.new_embedding': (Piece(embedding, (more,)),),
        'model.transformer.ln_f.weight': (Piece('text.norm.weight'),),
    }
    if not ties(config):
        keys['lm_head.output_embeddings'] = (Piece(head, (own,)),)
        keys['lm_head.new_output_embeddings'] = (Piece(head, (more,)),)
    for layer in range(config.text['num_hidden_layers']):
        keys |= _text_block(config, f'model.transformer.blocks.{layer}', f'text.layers.{layer}')
    return keys | {stored: (Piece(ours),) for stored, ours in _names(config).items()}


def unused_keys(config: MolmoPointConfig) -> tuple[str, ...]:
    """Prefixes of what a checkpoint may hold beyond: blocks past the last one that is read, and
    the head where it is the embedding."""
    last = max(config.vision.blocks_used)
    blocks = tuple(
        f'model.vit.transformer.resblocks.{index}.'
        for index in range(last + 1, config.vision.num_layers)
    )
    return (*blocks, 'lm_head.') if ties(config) else blocks


def ties(config: MolmoPointConfig) -> bool:
    """Whether the head is the embedding."""
    return bool(config.text['tie_word_embeddings'])


def _text_block(config: MolmoPointConfig, source: str, ours: str) -> dict[str, tuple[Piece, ...]]:
    def qkv(kind: str) -> tuple[Piece, ...]:
        return tuple(Piece(f'{ours}.self_attn.{name}_proj.{kind}') for name in 'qkv')

    keys = {
        f'{source}.self_attn.att_proj.weight': qkv('weight'),
        f'{source}.self_attn.attn_out.weight': (Piece(f'{ours}.self_attn.o_proj.weight'),),
        f'{source}.self_attn.q_norm.weight': (Piece(f'{ours}.self_attn.q_norm.weight'),),
        f'{source}.self_attn.k_norm.weight': (Piece(f'{ours}.self_attn.k_norm.weight'),),
        f'{source}.attn_norm.weight': (Piece(f'{ours}.input_layernorm.weight'),),
        f'{source}.ff_norm.weight': (Piece(f'{ours}.post_attention_layernorm.weight'),),
        f'{source}.mlp.ff_proj.weight': (
            Piece(f'{ours}.mlp.up_proj.weight'),
            Piece(f'{ours}.mlp.gate_proj.weight'),
        ),
        f'{source}.mlp.ff_out.weight': (Piece(f'{ours}.mlp.down_proj.weight'),),
    }
    if config.text['attention_bias']:
        keys[f'{source}.self_attn.att_proj.bias'] = qkv('bias')
    return keys


def _names(config: MolmoPointConfig) -> dict[str, str]:
    """Those that are stored as they are."""
    names = {
        'model.vit.positional_embedding': 'vision.positional_embedding',
        'model.point_predictor.x_norm.weight': 'points.norm.weight',
    }
    if config.connector.positions:
        names['model.connector.positional_embeddings.bias'] = 'connector.positions'
    if config.ends:
        names['model.point_predictor.add_no_point_class_embed.vector'] = 'points.end'
    for name in ('w1', 'w2', 'w3'):
        names[f'model.connector.image_projector.{name}.weight'] = f'connector.{name}.weight'
    layers = {
        'model.vit.patch_embedding': 'vision.patch_embedding',
        'model.build_vit_embedding': 'vit_embedding',
    }
    for name in ('wq', 'wk', 'wv', 'wo')[: 4 if config.connector.output else 3]:
        layers[f'model.connector.image_pooling_2d.{name}'] = f'connector.pooling.{name}'
    for stored, ours in _POINTS.items():
        layers[f'model.point_predictor.{stored}'] = f'points.{ours}'
    for index in range(max(config.vision.blocks_used) + 1):
        source = f'model.vit.transformer.resblocks.{index}'
        for stored, ours in _VIT_BLOCK.items():
            layers[f'{source}.{stored}'] = f'vision.blocks.{index}.{ours}'
    for stored, ours in layers.items():
        names |= {f'{stored}.{kind}': f'{ours}.{kind}' for kind in ('weight', 'bias')}
    return names
