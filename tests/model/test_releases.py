# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The four releases' configurations, in their own spellings: every key, every shape.

On the meta device, so that 73 billion parameters take no memory.
"""

from math import prod

import pytest
import torch

from molmo_ros.model.checkpoint import key_map, stored_tensors, unread_tensors, unused_keys
from molmo_ros.model.config import MolmoConfig, UnsupportedCheckpoint
from molmo_ros.model.memory import needed_bytes, weight_bytes
from molmo_ros.model.molmo import Molmo

COMMON = {
    'model_type': 'molmo',
    'max_position_embeddings': 4096,
    'norm_after': False,
    'attention_layer_norm': False,
    'tie_word_embeddings': False,
    'auto_map': {'AutoConfig': 'config_molmo.MolmoConfig'},
}
QWEN = {'vocab_size': 152064, 'embedding_size': 152064, 'qkv_bias': True, 'rope_theta': 1e6}
RELEASES = {
    'Molmo-7B-D': COMMON
    | QWEN
    | {
        'hidden_size': 3584,
        'intermediate_size': 37888,
        'num_hidden_layers': 28,
        'num_attention_heads': 28,
        'num_key_value_heads': 4,
        'layer_norm_eps': 1e-6,
    },
    'Molmo-72B': COMMON
    | QWEN
    | {
        'hidden_size': 8192,
        'intermediate_size': 59136,
        'num_hidden_layers': 80,
        'num_attention_heads': 64,
        'num_key_value_heads': 8,
        'layer_norm_eps': 1e-5,
    },
    'Molmo-7B-O': COMMON
    | {
        'vocab_size': 100278,
        'embedding_size': 100352,
        'qkv_bias': False,
        'rope_theta': 5e5,
        'hidden_size': 4096,
        'intermediate_size': 22016,
        'num_hidden_layers': 32,
        'num_attention_heads': 32,
        'num_key_value_heads': None,
        'layer_norm_eps': 1e-6,
        'norm_after': True,
        'attention_layer_norm': True,
    },
    'MolmoE-1B': {
        'model_type': 'molmo',
        'block_type': 'moe',
        'd_model': 2048,
        'n_layers': 16,
        'n_heads': 16,
        'n_kv_heads': None,
        'mlp_ratio': 1,
        'moe_num_experts': 64,
        'moe_top_k': 8,
        'rope_theta': 10000.0,
        'layer_norm_eps': 1e-5,
        'vocab_size': 50280,
        'embedding_size': 50304,
        'additional_vocab_size': 128,
        'qkv_bias': False,
        'max_sequence_length': 4096,
        'vit_layers': [-2, -9],
        'image_pooling_h': 2,
        'vision_backbone': {
            'image_emb_dim': 1024,
            'image_mlp_dim': 4096,
            'image_num_heads': 16,
            'image_num_layers': 23,
            'image_default_input_size': [336, 336],
            'image_patch_size': 14,
            'image_norm_eps': 1e-5,
        },
    },
}
# In billions, with the encoder's unused block; computed from the architectures.
PARAMETERS = {'Molmo-7B-D': 8.021, 'Molmo-72B': 73.3, 'Molmo-7B-O': 7.67, 'MolmoE-1B': 7.22}
VIT = 'model.vision_backbone.image_vit.transformer.resblocks'
PARTS = (
    *(f'attention.w{letter}' for letter in 'qkvo'),
    *('feed_forward.w1', 'feed_forward.w2', 'attention_norm', 'ffn_norm'),
)
BLOCK_KEYS = {f'{part}.{kind}' for part in PARTS for kind in ('weight', 'bias')}


def release(name):
    config = MolmoConfig.from_dict(RELEASES[name])
    with torch.device('meta'):
        return config, Molmo(config)


@pytest.mark.parametrize('name', RELEASES)
def test_every_key_fills_and_every_parameter_is_filled(name):
    config, model = release(name)
    filled = {}
    for pieces in key_map(config).values():
        for piece in pieces:
            part = model.get_parameter(piece.name)[piece.index]
            filled[piece.name] = filled.get(piece.name, 0) + part.numel()
    assert filled == {key: weight.numel() for key, weight in model.named_parameters()}
    used = sum(weight.numel() for weight in model.parameters())
    block = 12 * 1024**2 + 13 * 1024
    assert (used + block) / 1e9 == pytest.approx(PARAMETERS[name], rel=1e-3)


def test_7b_d_has_the_585_keys_of_its_release():
    config, model = release('Molmo-7B-D')
    keys = set(key_map(config))
    assert unused_keys(config) == (f'{VIT}.22.',)
    dead = {f'{VIT}.22.{name}' for name in BLOCK_KEYS}
    assert len(keys | dead) == 585 and not keys & dead
    stored = stored_tensors(model, config)
    # What is written here has them too: other programs build the whole encoder.
    unread = unread_tensors(stored, config)
    assert set(unread) == dead
    assert all(unread[key].shape == stored[key.replace('.22.', '.3.')].shape for key in dead)
    shapes = {key: tuple(tensor.shape) for key, tensor in stored.items()}
    assert shapes['model.transformer.wte.embedding'] == (152064, 3584)
    assert shapes['model.transformer.wte.new_embedding'] == (128, 3584)
    assert shapes['model.transformer.blocks.27.att_proj.weight'] == (4608, 3584)
    assert shapes['model.transformer.blocks.27.att_proj.bias'] == (4608,)
    assert shapes['model.transformer.blocks.0.ff_proj.weight'] == (37888, 3584)
    assert shapes['model.transformer.ff_out.weight'] == (152064, 3584)
    assert shapes['model.vision_backbone.image_pooling_2d.wk.weight'] == (1024, 2048)
    assert shapes['model.vision_backbone.image_projector.w2.weight'] == (3584, 18944)
    assert shapes['model.vision_backbone.image_vit.patch_embedding.weight'] == (1024, 588)
    assert sum(map(prod, shapes.values())) + 12 * 1024**2 + 13 * 1024 == 8_021_025_280


def test_7b_o_normalises_queries_and_keys_over_their_full_width():
    config, model = release('Molmo-7B-O')
    shapes = {key: tuple(tensor.shape) for key, tensor in stored_tensors(model, config).items()}
    assert shapes['model.transformer.blocks.31.k_norm.weight'] == (4096,)
    assert 'model.transformer.blocks.0.att_proj.bias' not in shapes


def test_molmoe_has_its_own_names():
    config, model = release('MolmoE-1B')
    shapes = {key: tuple(tensor.shape) for key, tensor in stored_tensors(model, config).items()}
    assert shapes['lm_head.weight'] == (50304, 2048)
    experts = 'model.transformer.blocks.15.mlp.experts.63'
    assert shapes[f'{experts}.up_proj.weight'] == (1024, 2048)
    assert shapes[f'{experts}.down_proj.weight'] == (2048, 1024)
    assert shapes['model.transformer.blocks.0.mlp.gate.weight'] == (64, 2048)


def test_memory_is_as_documented():
    """The figures of docs/checkpoints.md, GB."""
    documented = {
        'MolmoE-1B': (14.4, 7.7, 4.5),
        'Molmo-7B-O': (15.3, 8.8, 5.7),
        'Molmo-7B-D': (16.0, 9.5, 6.3),
        'Molmo-72B': (146.6, 76.5, 42.4),
    }
    for name, figures in documented.items():
        _, model = release(name)
        sizes = [weight_bytes(model, torch.bfloat16, q) / 1e9 for q in ('none', 'int8', 'int4')]
        assert sizes == pytest.approx(figures, abs=0.06), name
        assert needed_bytes(model, torch.bfloat16) > weight_bytes(model, torch.bfloat16)


def test_a_config_of_something_else_is_refused():
    with pytest.raises(UnsupportedCheckpoint, match='llava'):
        MolmoConfig.from_dict({'model_type': 'llava', 'auto_map': {}})
    with pytest.raises(UnsupportedCheckpoint, match='hidden_size'):
        MolmoConfig.from_dict(COMMON | {'intermediate_size': 8, 'num_attention_heads': 1})
    with pytest.raises(UnsupportedCheckpoint, match='already quantised'):
        MolmoConfig.from_dict(
            RELEASES['Molmo-7B-D'] | {'quantization_config': {'quant_method': 'bitsandbytes'}}
        )
