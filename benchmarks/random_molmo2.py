# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo2s with random weights, and some that write about points; as `random_molmo`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Molmo2Config, Molmo2ForConditionalGeneration, PreTrainedTokenizerFast

from benchmarks.random_molmo import fill, split_tokenizer
from molmo_ros.engine import Question
from molmo_ros.model.molmo2 import LoadedMolmo2, Molmo2Tokenizer
from molmo_ros.model.molmo2_preprocessing import (
    Molmo2ImageTokens,
    Molmo2PreprocessorConfig,
    preprocess_molmo2,
)
from molmo_ros.pointing import Mode, Style, finished, prompt_for

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
TINY_CROPS = Molmo2PreprocessorConfig(image_size=56, max_crops=4, margins=(1, 1))


def tiny_tokenizer(words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A token a piece, and one for every other character. words: further pieces."""
    return split_tokenizer({*PIECES, *words}, SPECIAL)


def tiny_config(
    tokenizer: PreTrainedTokenizerFast, text: Mapping[str, Any] = NOTHING
) -> Molmo2Config:
    """text: fields of its decoder's configuration."""
    return Molmo2Config(
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
        **_image_ids(tokenizer),
    )


def eight_billion(tokenizer: PreTrainedTokenizerFast) -> Molmo2Config:
    """Molmo2-8B's, but for the ids of the image's tokens."""
    return Molmo2Config(
        text_config={'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e6}},
        vision_config={},
        adapter_config={'intermediate_size': 12288, 'text_hidden_size': 4096},
        **_image_ids(tokenizer),
    )


def _image_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    ids = tokenizer.get_vocab()
    return {
        'image_start_token_id': ids['<im_start>'],
        'low_res_image_start_token_id': ids['<low_res_im_start>'],
        'image_end_token_id': ids['<im_end>'],
        'image_patch_id': ids['<im_patch>'],
    }


def tiny_model(
    tokenizer: PreTrainedTokenizerFast, text: Mapping[str, Any] = NOTHING
) -> Molmo2ForConditionalGeneration:
    """Weights have the spread that keeps activations near one."""
    torch.manual_seed(0)
    model = Molmo2ForConditionalGeneration(tiny_config(tokenizer, text)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.0 if 'embed' in name else weight.shape[-1] ** -0.5)
    return model


@torch.no_grad()
def random_molmo2(
    config: Molmo2Config, seed: int, device: torch.device | str, dtype: torch.dtype
) -> Molmo2ForConditionalGeneration:
    """As `random_molmo`: of any size, made where it is to be, and nowhere else before."""
    with torch.device('meta'):
        model = Molmo2ForConditionalGeneration(config).to(dtype)
    model.to_empty(device=device)
    text = model.model.language_model
    with torch.device(device):  # what is no parameter
        text.rotary_emb = type(text.rotary_emb)(text.config)
        text.rotary_emb_unscaled = type(text.rotary_emb)(text.config, scaled=False)
    fill(model, seed)
    return model.eval().requires_grad_(False)


def in_memory(
    model: Molmo2ForConditionalGeneration,
    backend: PreTrainedTokenizerFast,
    preprocessor: Molmo2PreprocessorConfig = TINY_CROPS,
) -> LoadedMolmo2:
    """What loading a folder with these would give."""
    ids = backend.get_vocab()
    image = Molmo2ImageTokens(*(ids[name] for name in IMAGE_TOKENS))
    turn_start, turn_end = ids['<|im_start|>'], ids['<|im_end|>']
    tokenizer = Molmo2Tokenizer(backend, image, backend.eos_token_id, turn_start, turn_end)
    return LoadedMolmo2(model, tokenizer, preprocessor)


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
    embeddings = model.get_input_embeddings().weight
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
    words: Sequence[str] = (),
    **saving: Any,
) -> None:
    """A folder whose model writes the pieces given, the more loosely the more noise.

    Without pieces it writes noise alone. text: fields of its decoder's configuration. words: see
    `tiny_tokenizer`. saving: of `save_pretrained`.
    """
    tokenizer = tiny_tokenizer(words)
    model = tiny_model(tokenizer, text)
    if pieces:
        tilt(model, tokenizer, pieces, noise)
    model.save_pretrained(folder, **saving)
    tokenizer.save_pretrained(folder)
    crops = {'size': {'height': 56, 'width': 56}, 'overlap_margins': [1, 1], 'max_crops': 4}
    (folder / 'preprocessor_config.json').write_text(json.dumps(crops))


def prompt(loaded: LoadedMolmo2, image: NDArray[np.uint8], words: str) -> dict[str, torch.Tensor]:
    """What transformers' Molmo2 takes."""
    tokenizer, device = loaded.tokenizer, loaded.model.device
    seen = preprocess_molmo2(image, loaded.preprocessor, tokenizer.image, device)
    question = tokenizer.encode_question(words)
    ids = torch.tensor([[tokenizer.bos, *seen.token_ids, *question]], device=device)
    kinds = torch.zeros_like(ids)
    kinds[0, 1 : 1 + len(seen.token_ids)] = 1
    return {
        'input_ids': ids,
        'pixel_values': seen.pixel_values.to(loaded.model.dtype),
        'image_token_pooling': seen.token_pooling,
        'image_grids': seen.grids,
        'mm_token_type_ids': kinds,
    }


def generated(
    loaded: LoadedMolmo2, image: NDArray[np.uint8], question: Question
) -> tuple[int, ...]:
    """The tokens of transformers' own `generate`, up to where the answer is finished."""
    tokenizer = loaded.tokenizer
    words = prompt_for(question.query, question.mode, Style.MOLMO2)
    inputs = prompt(loaded, image, words)
    whole = loaded.model.generate(
        **inputs,
        attention_mask=torch.ones_like(inputs['input_ids']),
        do_sample=False,
        max_length=loaded.model.config.text_config.max_position_embeddings,
        eos_token_id=sorted(tokenizer.stops),
    )
    ids: list[int] = []
    for token in whole[0, inputs['input_ids'].shape[1] :].tolist():
        if token in tokenizer.stops:
            break
        ids.append(token)
        text = tokenizer.decode(ids)
        if question.mode is not Mode.ASK and finished(text, question.max_points, Style.MOLMO2):
            break
    return tuple(ids)
