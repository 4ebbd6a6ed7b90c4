# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo2s with random weights, and some that write about points; as `random_molmo`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tokenizers
import torch
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from transformers import Molmo2Config, Molmo2ForConditionalGeneration, PreTrainedTokenizerFast

IMAGE_TOKENS = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>', '<low_res_im_start>')
SPECIAL = ('<|endoftext|>', '<|im_start|>', '<|im_end|>', *IMAGE_TOKENS, '<|image|>')
# Each piece is a token, so that one can follow from the one before it.
POINTS = (
    '<points',
    ' coords="',
    '1 1 ',
    '615 ',
    '404 ',
    '2 ',
    '100 ',
    '200',
    '">',
    'mugs',
    '</points>',
)
ONE = ('<points', ' coords="', '1 1 ', '615', ' ', '404', '">', 'mugs', '</points>')
NONE = ('There ', 'are ', 'none.')
PIECES = sorted({*POINTS, *ONE, *NONE, 'assistant\n', 'user\n'}, key=len, reverse=True)
NOTHING: Mapping[str, Any] = MappingProxyType({})


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A token a piece, and one for every other character."""
    pieces = [*PIECES, '\n', *map(chr, range(32, 127))]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token='?'))
    pattern = '|'.join(map(re.escape, PIECES)) + r'|[\s\S]'
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), 'isolated')
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token='<|endoftext|>')


def tiny_model(
    tokenizer: PreTrainedTokenizerFast, text: Mapping[str, Any] = NOTHING
) -> Molmo2ForConditionalGeneration:
    """Weights have the spread that keeps activations near one."""
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
            **text,
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
def tilt(
    model: Molmo2ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pieces: Sequence[str],
    noise: float,
) -> None:
    """Let each piece call for the next one: the head looks for the embedding before it."""
    vocabulary = tokenizer.get_vocab()
    chain = ['assistant\n', *pieces, '<|im_end|>']
    embeddings = model.get_input_embeddings()(torch.arange(len(tokenizer)))
    for layer in model.model.language_model.layers:
        layer.self_attn.o_proj.weight *= noise
        layer.mlp.down_proj.weight *= noise
    for before, after in pairwise(chain):
        model.lm_head.weight[vocabulary[after]] = embeddings[vocabulary[before]]


def write_checkpoint(
    folder: Path,
    pieces: Sequence[str] = (),
    noise: float = 0.05,
    text: Mapping[str, Any] = NOTHING,
    **saving: Any,
) -> None:
    """A folder whose model writes the pieces given, the more loosely the more noise.

    Without pieces it writes noise alone. text: fields of its decoder's configuration. saving: of
    `save_pretrained`.
    """
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer, text)
    if pieces:
        tilt(model, tokenizer, pieces, noise)
    model.save_pretrained(folder, **saving)
    tokenizer.save_pretrained(folder)
    crops = {'size': {'height': 56, 'width': 56}, 'overlap_margins': [1, 1], 'max_crops': 4}
    (folder / 'preprocessor_config.json').write_text(json.dumps(crops))
