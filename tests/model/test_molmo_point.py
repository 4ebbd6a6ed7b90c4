# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoint is the reference's: its numbers, its layout, its order of tokens."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.random_molmo_point import (
    EIGHT_B,
    golden_with_image,
    wavy_image,
    write_checkpoint,
)
from molmo_ros.cli import main
from molmo_ros.engine.point_belief import PointLayout
from molmo_ros.engine.point_order import Order
from molmo_ros.model.config import UnsupportedCheckpoint
from molmo_ros.model.memory import weight_bytes
from molmo_ros.model.molmo2_preprocessing import preprocess_molmo2
from molmo_ros.model.molmo_point import MolmoPoint
from molmo_ros.model.molmo_point_config import MolmoPointConfig
from molmo_ros.model.molmo_point_keys import key_map, unused_keys
from molmo_ros.model.molmo_point_loading import load_point_model, read_preprocessor
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.point_greedy import greedy_point_tokens
from molmo_ros.model.point_ids import Kind, PointIds

GOLDENS = Path(__file__).parent / 'goldens'
TINY = ('molmo-point-tiny-a', 'molmo-point-tiny-b')


@pytest.fixture(scope='module', params=TINY)
def golden(request):
    """A tiny model, its image's inputs, and what the reference makes of them."""
    folder = GOLDENS / request.param
    config = MolmoPointConfig.from_folder(folder)
    model = load_point_model(folder, config, LoadOptions('cpu', 'float32'))
    size = json.loads((folder / 'case.json').read_text())['image']
    # The reference was asked with a column token after each row of the whole image, too.
    preprocessor = replace(read_preprocessor(folder, config), whole_column_tokens=True)
    inputs = preprocess_molmo2(wavy_image(**size), preprocessor, config.image)
    return model, inputs, load_file(folder / 'expected.safetensors'), size


def test_images_become_what_the_reference_makes_of_them(golden):
    _, inputs, expected, _ = golden
    ids = expected['input_ids'][0]
    assert inputs.token_ids.tolist() == ids[1 : 1 + len(inputs.token_ids)].tolist()
    assert torch.equal(inputs.token_pooling, expected['image_token_pooling'])
    assert torch.equal(inputs.grids, expected['image_grids'])
    sample = inputs.pixel_values.flatten()[expected['pixel_sample_index']]
    torch.testing.assert_close(sample, expected['pixel_sample'], atol=1e-6, rtol=0)


def test_tokens_logits_and_points_are_the_reference_s(golden):
    model, inputs, expected, size = golden
    question = expected['input_ids'][0, 1 + len(inputs.token_ids) :].tolist()
    written = list(islice(greedy_point_tokens(model, inputs, 1, question), 32))
    assert [token for token, _ in written] == expected['generated'].tolist()
    # What the reference's rules forbid is -inf in its numbers.
    known = torch.isfinite(expected['logits'])
    logits = torch.stack([logits for _, logits in written])
    torch.testing.assert_close(logits[known], expected['logits'][known], atol=1e-4, rtol=0)
    layout = PointLayout.of(inputs.token_pooling.numpy(), inputs.raster.numpy())
    points = list(places([token for token, _ in written], model.config, layout))
    ours = np.array(points) * (size['width'], size['height'])
    np.testing.assert_allclose(ours, expected['points'][:, 2:].numpy(), atol=1e-3)


def test_check_compares_the_plain_classes_and_the_engine_with_the_reference(tmp_path, capsys):
    folder = GOLDENS / TINY[0]
    words = ['check', str(folder), '--device', 'cpu', '--dtype', 'float32', '--json']
    words += ['--expected', str(golden_with_image(folder, tmp_path))]
    assert main(words) == 0
    findings = {one['name']: one for one in json.loads(capsys.readouterr().out)['findings']}
    assert findings['logits']['values']['largest_difference'] < 1e-4
    assert findings['tokens']['values']['share_equal'] == 1
    assert set(findings["the engine's tokens"]['values'].values()) == {1}


def test_check_fails_where_only_the_engine_is_wrong(tmp_path, monkeypatch, capsys):
    """Its order of tokens, say, which the plain classes do not use."""
    folder = GOLDENS / TINY[1]
    monkeypatch.setattr(Order, '_forbidden', lambda self, count: np.ones(count, np.bool_))
    words = ['check', str(folder), '--device', 'cpu', '--dtype', 'float32']
    assert main([*words, '--expected', str(golden_with_image(folder, tmp_path))]) == 1
    out = capsys.readouterr().out
    wrong = [line for line in out.splitlines() if 'WRONG' in line]
    assert len(wrong) == 1 and "the engine's tokens" in wrong[0]


def places(tokens, config, layout):
    """The places of all points among the reference's ids."""
    ids = PointIds(config.vocabulary, layout.cells.shape[1], config.ends)
    read = [ids.read(token) for token in ids.ours(tokens, layout.patches)]
    for three in zip(read, read[1:], read[2:], strict=False):
        if [kind for kind, _ in three] == [Kind.PATCH, Kind.SUBPATCH, Kind.LOCATION]:
            yield layout.place(*(index for _, index in three))


def eight_billion():
    """MolmoPoint-8B's config.json, as the reference's converter writes it."""
    shape = {name: value for name, value in EIGHT_B.items() if name != 'text'}
    return {
        'model_type': 'molmo_point',
        **shape,
        'text_config': {
            **EIGHT_B['text'],
            'qkv_bias': False,
            'use_qk_norm': True,
            'qk_norm_type': 'qwen3',
            'layer_norm_eps': 1e-6,
            'norm_after': False,
        },
        'image_start_token_id': 151936,
        'image_end_token_id': 151937,
        'image_patch_id': 151938,
        'image_col_id': 151939,
        'low_res_image_start_token_id': 151940,
        'image_non_indexable_patch_id': 151942,
        'patch_token_id': 151947,
        'subpatch_token_id': 151948,
        'location_token_id': 151949,
        'patch_location': '3x3',
        'no_more_points_class': True,
        'token_prediction_rotary': 'one_d',
    }


def stored_shapes():
    """The tensors of that release and their shapes, from the reference's classes."""
    wide, vit = 4096, 1152
    shapes = {
        'lm_head.output_embeddings': (151936, wide),
        'lm_head.new_output_embeddings': (128, wide),
        'model.transformer.wte.embedding': (151936, wide),
        'model.transformer.wte.new_embedding': (128, wide),
        'model.transformer.ln_f.weight': (wide,),
        'model.build_vit_embedding.weight': (wide, 2 * vit),
        'model.build_vit_embedding.bias': (wide,),
        'model.connector.positional_embeddings.bias': (16, 2 * vit),
        'model.connector.image_projector.w1.weight': (12288, vit),
        'model.connector.image_projector.w2.weight': (wide, 12288),
        'model.connector.image_projector.w3.weight': (12288, vit),
        'model.point_predictor.x_norm.weight': (wide,),
        'model.point_predictor.add_no_point_class_embed.vector': (256,),
        'model.vit.patch_embedding.weight': (vit, 588),
        'model.vit.patch_embedding.bias': (vit,),
        'model.vit.positional_embedding': (729, vit),
    }
    for name in ('wq', 'wk', 'wv'):
        shapes[f'model.connector.image_pooling_2d.{name}.weight'] = (vit, 2 * vit)
        shapes[f'model.connector.image_pooling_2d.{name}.bias'] = (vit,)
    heads = {'patch_q': wide, 'patch_k': wide, 'subpatch_q': wide, 'subpatch_k': 2 * vit}
    for name, width in heads.items():
        shapes[f'model.point_predictor.{name}.weight'] = (256, width)
        shapes[f'model.point_predictor.{name}.bias'] = (256,)
    shapes['model.point_predictor.subpatch_loc_k.weight'] = (9, wide)
    shapes['model.point_predictor.subpatch_loc_k.bias'] = (9,)
    for block in range(25):
        resblock = f'model.vit.transformer.resblocks.{block}'
        for name in ('wq', 'wk', 'wv', 'wo'):
            shapes[f'{resblock}.attention.{name}.weight'] = (vit, vit)
            shapes[f'{resblock}.attention.{name}.bias'] = (vit,)
        for name in ('attention_norm', 'ffn_norm'):
            shapes[f'{resblock}.{name}.weight'] = shapes[f'{resblock}.{name}.bias'] = (vit,)
        shapes[f'{resblock}.feed_forward.w1.weight'] = (4304, vit)
        shapes[f'{resblock}.feed_forward.w1.bias'] = (4304,)
        shapes[f'{resblock}.feed_forward.w2.weight'] = (vit, 4304)
        shapes[f'{resblock}.feed_forward.w2.bias'] = (vit,)
    for layer in range(36):
        block = f'model.transformer.blocks.{layer}'
        shapes[f'{block}.attn_norm.weight'] = shapes[f'{block}.ff_norm.weight'] = (wide,)
        shapes[f'{block}.self_attn.att_proj.weight'] = (4096 + 2 * 1024, wide)
        shapes[f'{block}.self_attn.attn_out.weight'] = (wide, 4096)
        shapes[f'{block}.self_attn.q_norm.weight'] = (128,)
        shapes[f'{block}.self_attn.k_norm.weight'] = (128,)
        shapes[f'{block}.mlp.ff_proj.weight'] = (2 * 12288, wide)
        shapes[f'{block}.mlp.ff_out.weight'] = (wide, 12288)
    return shapes


def test_the_8b_s_tensors_fill_every_parameter():
    """No key missing, none unexpected, every shape; on the meta device, so without memory."""
    config = MolmoPointConfig.from_dict(eight_billion())
    with torch.device('meta'):
        model = MolmoPoint(config)
    keys, expected = key_map(config), stored_shapes()
    assert set(keys) == set(expected)
    filled = {}
    for key, pieces in keys.items():
        parts = [model.get_parameter(piece.name)[piece.index] for piece in pieces]
        assert (sum(map(len, parts)), *parts[0].shape[1:]) == expected[key], key
        for piece, part in zip(pieces, parts, strict=True):
            filled[piece.name] = filled.get(piece.name, 0) + part.numel()
    assert filled == {name: weight.numel() for name, weight in model.named_parameters()}
    assert unused_keys(config) == tuple(f'model.vit.transformer.resblocks.{i}.' for i in (25, 26))
    # The figures of docs/checkpoints.md, GB.
    sizes = [weight_bytes(model, torch.bfloat16, q) / 1e9 for q in ('none', 'int8', 'int4')]
    assert sizes == pytest.approx((17.4, 10.4, 7.0), abs=0.06)


def test_keys_that_are_missing_or_unexpected_are_named(tmp_path):
    write_checkpoint(tmp_path)
    weights = load_file(tmp_path / 'model.safetensors')
    weights['model.point_predictor.patch_z.bias'] = weights.pop(
        'model.point_predictor.patch_q.bias'
    )
    save_file(weights, tmp_path / 'model.safetensors')
    config = MolmoPointConfig.from_folder(tmp_path)
    with pytest.raises(UnsupportedCheckpoint) as told:
        load_point_model(tmp_path, config, LoadOptions('cpu'))
    assert 'missing: model.point_predictor.patch_q.bias' in str(told.value)
    assert 'unexpected: model.point_predictor.patch_z.bias' in str(told.value)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'patch_location': None}, 'patch_location None'),
        ({'token_prediction_rotary': 'two_d'}, 'two_d'),
        ({'quantization_config': {'quant_method': 'bitsandbytes'}}, 'already quantised'),
        ({'text_config': {}}, "lacks 'num_hidden_layers'|lacks 'rope_theta'"),
        ({'vit_config': None}, 'not understood'),
    ],
)
def test_a_config_of_something_else_is_refused(change, words):
    with pytest.raises(UnsupportedCheckpoint, match=words):
        MolmoPointConfig.from_dict(eight_billion() | change)


def test_a_head_that_is_the_embedding_needs_no_tensors_of_its_own(tmp_path):
    write_checkpoint(tmp_path, text={'tie_word_embeddings': True})
    config = MolmoPointConfig.from_folder(tmp_path)
    model = load_point_model(tmp_path, config, LoadOptions('cpu'))
    assert not any(key.startswith('lm_head') for key in load_file(tmp_path / 'model.safetensors'))
    assert torch.equal(model.lm_head.weight, model.text.embed_tokens.weight)


def test_every_token_of_a_point_has_a_name_and_the_reference_s_number():
    ids = PointIds(first=448, subpatches=4, ends=True)
    ours = [ids.patch(3), ids.end, ids.subpatch(2), ids.location(8), 17]
    assert [ids.told(token, 518) for token in ours] == [451, 966, 969, 979, 17]
    text = 'a' + ''.join(map(ids.written, ours[:4])) + '>'
    assert [piece for piece in ids.in_text(text) if piece] == ['a', *ours[:4], '>']
    assert ids.told_text(text, 518) == 'a<POINT_3><POINT_518><POINT_521><POINT_531>>'
