# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo2 through the same Engine: a tiny one with random weights, from its folder to points."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import Molmo2Config, Molmo2ForConditionalGeneration, PreTrainedTokenizerFast

from molmo_ros.cli import main
from molmo_ros.engine import (
    EngineError,
    InvalidImage,
    InvalidQuestion,
    Question,
    Stopped,
    load_engine,
)
from molmo_ros.model.molmo2 import load_molmo2
from molmo_ros.model.molmo2_preprocessing import preprocess_molmo2
from molmo_ros.pointing import Mode

IMAGE_TOKENS = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>', '<low_res_im_start>')
SPECIAL = ('<|endoftext|>', '<|im_start|>', '<|im_end|>', *IMAGE_TOKENS, '<|image|>')
# Each piece is a token, so that one can follow from the one before it.
POINTS = ('<points coords="1 1 ', '615 ', '404 ', '2 ', '100 ', '200', '">', 'mugs', '</points>')
NONE = ('There ', 'are ', 'none.')
IMAGE = np.random.default_rng(3).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def tiny_tokenizer():
    pieces = [*POINTS, *NONE, 'assistant\n', 'user\n', '\n', *map(chr, range(32, 127))]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token='?'))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r'assistant\n|user\n|[\s\S]'), 'isolated')
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token='<|endoftext|>')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Makes a folder whose model writes the pieces given, whatever it sees; none: noise."""

    def make(pieces=()):
        folder = tmp_path_factory.mktemp('molmo2')
        tokenizer = tiny_tokenizer()
        model = tiny_model(tokenizer)
        if pieces:
            tilt(model, tokenizer, pieces)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / 'preprocessor_config.json').write_text(
            json.dumps(
                {'size': {'height': 56, 'width': 56}, 'overlap_margins': [1, 1], 'max_crops': 4}
            )
        )
        return folder

    return make


def tiny_model(tokenizer):
    torch.manual_seed(0)
    ids = tokenizer.get_vocab()
    config = Molmo2Config(
        text_config={
            'hidden_size': 128,
            'num_attention_heads': 4,
            'num_key_value_heads': 2,
            'head_dim': 32,
            'num_hidden_layers': 2,
            'intermediate_size': 64,
            'vocab_size': len(tokenizer),
            'additional_vocab_size': 8,
            'max_position_embeddings': 512,
            'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e4},
        },
        vision_config={
            'hidden_size': 32,
            'intermediate_size': 48,
            'num_hidden_layers': 3,
            'num_attention_heads': 2,
            'num_key_value_heads': 2,
            'head_dim': 16,
            'image_size': [56, 56],
        },
        adapter_config={
            'vision_feature_layer': [2, 1],
            'hidden_size': 32,
            'num_attention_heads': 2,
            'num_key_value_heads': 2,
            'head_dim': 16,
            'intermediate_size': 48,
            'text_hidden_size': 128,
        },
        image_start_token_id=ids['<im_start>'],
        low_res_image_start_token_id=ids['<low_res_im_start>'],
        image_end_token_id=ids['<im_end>'],
        image_patch_id=ids['<im_patch>'],
    )
    model = Molmo2ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.0 if 'embed' in name else weight.shape[-1] ** -0.5)
    return model


@torch.no_grad()
def tilt(model, tokenizer, pieces):
    """Let each piece call for the next one: the head looks for the embedding before it."""
    vocabulary = tokenizer.get_vocab()
    chain = ['assistant\n', *pieces, '<|im_end|>']
    embeddings = model.get_input_embeddings()(torch.arange(len(tokenizer)))
    for layer in model.model.language_model.layers:
        layer.self_attn.o_proj.weight *= 0.05
        layer.mlp.down_proj.weight *= 0.05
    for before, after in pairwise(chain):
        model.lm_head.weight[vocabulary[after]] = embeddings[vocabulary[before]]


def test_it_points_in_pixels_of_the_image(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    answer = engine.answer(IMAGE, Question('mugs'))
    assert answer.text == '<points coords="1 1 615 404 2 100 200">mugs</points>'
    assert [p.u for p in answer.points] == pytest.approx([98.4, 16.0])
    assert [p.v for p in answer.points] == pytest.approx([36.36, 18.0])
    assert {(point.label, point.image_index) for point in answer.points} == {('mugs', 0)}
    assert not answer.absent and answer.passes == len(answer.tokens)


def test_a_limit_of_points_is_kept(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    answer = engine.answer(IMAGE, Question('mugs', max_points=1))
    assert len(answer.points) == 1 and answer.passes < len(POINTS)


def test_an_asked_question_is_answered_to_its_end(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    answer = engine.answer(IMAGE, Question('Where are the mugs?', Mode.ASK))
    assert answer.text == ''.join(POINTS) and len(answer.points) == 2


def test_absence_is_an_answer(checkpoint):
    answer = load_engine(checkpoint(NONE), device='cpu').answer(IMAGE, Question('dragon'))
    assert answer.absent and answer.points == () and answer.count == 0


def test_it_writes_what_transformers_generates(checkpoint):
    """With images' tokens seeing each other both ways: without, the model says something else."""
    folder = checkpoint()
    loaded = load_molmo2(folder)
    model, tokenizer = loaded.model, loaded.tokenizer
    image = preprocess_molmo2(IMAGE, loaded.preprocessor, tokenizer.image)
    prompt = tokenizer.encode_question('What is this?')
    ids = torch.tensor([[tokenizer.bos, *image.token_ids, *prompt]])
    kinds = torch.zeros_like(ids)
    kinds[0, 1 : 1 + len(image.token_ids)] = 1
    inputs = {
        'input_ids': ids,
        'pixel_values': image.pixel_values,
        'image_token_pooling': image.token_pooling,
        'image_grids': image.grids,
    }
    stops = sorted(tokenizer.stops)
    written = model.generate(
        **inputs,
        mm_token_type_ids=kinds,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=stops,
    )[0, ids.shape[1] :].tolist()
    answer = load_engine(folder, device='cpu').answer(IMAGE, Question('What is this?', Mode.ASK))
    kept = [token for token in written if token not in stops]
    assert list(answer.tokens[: len(kept)]) == kept and len(kept) > 2
    with torch.no_grad():
        both = model(**inputs, mm_token_type_ids=kinds).logits[0, -1]
        causal = model(**inputs).logits[0, -1]
    assert (both - causal).abs().max() > 1e-2


@pytest.mark.parametrize('quantize', ['int8', 'int4'])
def test_its_decoder_can_be_quantised(checkpoint, quantize):
    engine = load_engine(checkpoint(POINTS), device='cpu', quantize=quantize)
    assert len(engine.answer(IMAGE, Question('mugs')).points) == 2


def test_bad_requests_are_refused(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    with pytest.raises(InvalidQuestion, match='empty'):
        engine.answer(IMAGE, Question(' '))
    with pytest.raises(InvalidQuestion, match='too long'):
        engine.answer(IMAGE, Question('x' * 600))
    with pytest.raises(InvalidImage):
        engine.answer(IMAGE[:4], Question('mug'))
    with pytest.raises(Stopped):
        engine.answer(IMAGE, Question('mug'), lambda: True)
    engine.close()
    with pytest.raises(EngineError, match='closed'):
        engine.answer(IMAGE, Question('mug'))


def test_special_names_in_a_question_stay_words(checkpoint):
    tokenizer = load_molmo2(checkpoint()).tokenizer
    ids = tokenizer.encode_question('<|im_end|><im_patch>')
    assert tokenizer.image.patch not in ids
    assert ids.count(tokenizer.turn_end) == 1


def test_missing_weights_are_named(checkpoint):
    from safetensors.torch import load_file, save_file

    folder = checkpoint()
    weights = load_file(folder / 'model.safetensors')
    gone = next(key for key in weights if 'resblocks.0' in key or 'layers.0' in key)
    del weights[gone]
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(EngineError, match='missing'):
        load_engine(folder, device='cpu')


def test_it_can_be_checked(checkpoint, capsys):
    assert main(['check', str(checkpoint()), '--device', 'cpu', '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    names = [finding['name'] for finding in report['findings']]
    assert names == ['keys', 'dtypes', 'special tokens', 'inference']
