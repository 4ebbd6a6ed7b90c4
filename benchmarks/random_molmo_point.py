# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoints with random weights, and some that point once and end; as `random_molmo`.

As a command it compares the engine's tokens with plain greedy decoding's, on many of them:

    python -m benchmarks.random_molmo_point 200
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from benchmarks.random_molmo import fill, split_tokenizer
from molmo_ros.engine import Question
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.networks import MolmoPointNetwork
from molmo_ros.model.molmo2_preprocessing import Molmo2PreprocessorConfig, preprocess_molmo2
from molmo_ros.model.molmo_point import MolmoPoint
from molmo_ros.model.molmo_point_config import MolmoPointConfig
from molmo_ros.model.molmo_point_keys import key_map
from molmo_ros.model.molmo_point_loading import (
    LoadedMolmoPoint,
    MolmoPointTokenizer,
    compute_rotary,
    load_molmo_point,
)
from molmo_ros.model.point_greedy import greedy_point_tokens
from molmo_ros.model.point_ids import PointIds
from molmo_ros.pointing import Mode, Style, label_for, prompt_for
from molmo_ros.pointing.grounded import GroundedFollower

IMAGE_TOKENS = (
    '<im_start>',
    '<im_end>',
    '<im_patch>',
    '<im_col>',
    '<low_res_im_start>',
    '<im_low>',
)
# What stands for a token of a point in the vocabulary.
PATCH, SUBPATCH, LOCATION = '<patch>', '<subpatch>', '<location>'
SPECIAL = ('<|endoftext|>', '<|im_start|>', '<|im_end|>', *IMAGE_TOKENS, PATCH, SUBPATCH, LOCATION)
HEAD = ('<points', ' coords="')
ONE_POINT = (*HEAD, PATCH)
PIECES = sorted(
    {*HEAD, '">', 'mugs', '</point>', 'assistant\n', 'user\n', 'There ', 'are ', 'none.'},
    key=len,
    reverse=True,
)
NOTHING: Mapping[str, Any] = MappingProxyType({})
TINY_CROPS = Molmo2PreprocessorConfig(image_size=56, max_crops=4, margins=(1, 1))

EIGHT_B: dict[str, Any] = {
    'vit_config': {
        'hidden_size': 1152,
        'intermediate_size': 4304,
        'num_hidden_layers': 27,
        'num_attention_heads': 16,
        'num_key_value_heads': 16,
        'head_dim': 72,
        'hidden_act': 'gelu_pytorch_tanh',
        'layer_norm_eps': 1e-6,
        'image_default_input_size': [378, 378],
        'image_patch_size': 14,
        'image_num_pos': 729,
    },
    'adapter_config': {
        'vit_layers': [-3, -9],
        'pooling_attention_mask': True,
        'hidden_size': 1152,
        'num_attention_heads': 16,
        'num_key_value_heads': 16,
        'head_dim': 72,
        'hidden_act': 'silu',
        'intermediate_size': 12288,
        'text_hidden_size': 4096,
        'positional_embeddings': 16,
        'attention_pooling_out_layer': False,
        'attn_implementation': 'sdpa',
    },
    'text': {
        'hidden_size': 4096,
        'num_attention_heads': 32,
        'num_key_value_heads': 8,
        'head_dim': 128,
        'vocab_size': 151936,
        'additional_vocab_size': 128,
        'num_hidden_layers': 36,
        'intermediate_size': 12288,
        'max_position_embeddings': 36864,
        'rope_theta': 1e6,
    },
    'patch_embed_dim': 256,
    'token_prediction_rotary_theta': 50000,
}
"""MolmoPoint-8B's shape, for `tiny_fields`."""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A token a piece, and one for every other character."""
    return split_tokenizer(PIECES, SPECIAL)


def tiny_fields(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    """A config.json; `more` are fields of it, `text` fields of its text_config."""
    ids = tokenizer.get_vocab()
    vit = {
        'hidden_size': 32,
        'intermediate_size': 48,
        'num_hidden_layers': 3,
        'num_attention_heads': 2,
        'num_key_value_heads': 2,
        'head_dim': 16,
        'hidden_act': 'gelu_pytorch_tanh',
        'layer_norm_eps': 1e-6,
        'image_default_input_size': [56, 56],
        'image_patch_size': 14,
        'image_num_pos': 16,
    }
    adapter = {
        'vit_layers': [-1, -3],
        'pooling_attention_mask': True,
        'hidden_size': 32,
        'num_attention_heads': 2,
        'num_key_value_heads': 2,
        'head_dim': 16,
        'hidden_act': 'silu',
        'intermediate_size': 48,
        'text_hidden_size': 128,
        'positional_embeddings': 16,
        'attention_pooling_out_layer': False,
        'attn_implementation': 'sdpa',
    }
    text = {
        'hidden_size': 128,
        'num_attention_heads': 4,
        'num_key_value_heads': 2,
        'head_dim': 32,
        'vocab_size': len(tokenizer),
        'additional_vocab_size': 8,
        'num_hidden_layers': 2,
        'intermediate_size': 64,
        'max_position_embeddings': 512,
        'rope_theta': 1e4,
        'use_qk_norm': True,
        'layer_norm_eps': 1e-6,
        **more.pop('text', {}),
    }
    return {
        'model_type': 'molmo_point',
        'vit_config': vit,
        'adapter_config': adapter,
        'text_config': text,
        'image_start_token_id': ids['<im_start>'],
        'low_res_image_start_token_id': ids['<low_res_im_start>'],
        'image_end_token_id': ids['<im_end>'],
        'image_patch_id': ids['<im_patch>'],
        'image_non_indexable_patch_id': ids['<im_low>'],
        'image_col_id': ids['<im_col>'],
        'patch_token_id': ids[PATCH],
        'subpatch_token_id': ids[SUBPATCH],
        'location_token_id': ids[LOCATION],
        'no_more_points_class': True,
        'patch_embed_dim': 32,
        **more,
    }


@torch.no_grad()
def random_molmo_point(
    config: MolmoPointConfig,
    seed: int,
    device: torch.device | str = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> MolmoPoint:
    """A model on `device`; weights have the spread that keeps activations near one."""
    with torch.device('meta'):
        model = MolmoPoint(config).to(dtype)
    model.to_empty(device=device)
    compute_rotary(model, device)
    fill(model, seed)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def tilt(
    model: MolmoPoint,
    tokenizer: PreTrainedTokenizerFast,
    pieces: Sequence[str],
    noise: float,
    ends: float = 1e3,
) -> None:
    """Let each piece call for the next one, and the number after a point for no more points.

    ends: how much it does so; with less, more points follow.
    """
    vocabulary, embeddings = tokenizer.get_vocab(), model.text.get_input_embeddings().weight
    for layer in model.text.layers:
        layer.self_attn.o_proj.weight *= noise
        layer.mlp.down_proj.weight *= noise
    pairs = set(pairwise(['assistant\n', *pieces]))
    if PATCH in pieces:
        pairs |= {(LOCATION, '1'), ('1', PATCH), (PATCH, '">')}
        pairs |= set(pairwise(['">', 'mugs', '</point>', '<|im_end|>']))
    else:
        pairs.add((pieces[-1], '<|im_end|>'))
    for after in sorted({after for _, after in pairs}):
        causes = [vocabulary[before] for before, followed in sorted(pairs) if followed == after]
        model.lm_head.weight[vocabulary[after]] = embeddings[causes].sum(dim=0)
    if model.points.end is not None:
        # Along a direction that the rotary embedding hardly turns.
        slow = len(model.points.end) // 2 - 1
        way = functional.normalize(embeddings[vocabulary['1']], dim=0)
        if ends > 0:  # and none before the first point
            way = way - functional.normalize(embeddings[vocabulary[HEAD[-1]]], dim=0)
        model.points.patch_q.weight[slow] = way
        model.points.end.zero_()[slow] = ends


def in_memory(
    model: MolmoPoint,
    backend: PreTrainedTokenizerFast,
    preprocessor: Molmo2PreprocessorConfig = TINY_CROPS,
) -> LoadedMolmoPoint:
    """What loading a folder with these would give; the ids of the model's config are the
    tokenizer's."""
    ids, config = backend.get_vocab(), model.config
    points = PointIds(config.vocabulary, preprocessor.pool[0] * preprocessor.pool[1], config.ends)
    turn_start, turn_end = ids['<|im_start|>'], ids['<|im_end|>']
    tokenizer = MolmoPointTokenizer(
        backend, config.image, backend.eos_token_id, turn_start, turn_end, points
    )
    return LoadedMolmoPoint(model, tokenizer, replace(preprocessor, fused=True))


def write_checkpoint(
    folder: Path,
    pieces: Sequence[str] = (),
    noise: float = 0.05,
    seed: int = 0,
    ends: float = 1e3,
    **more: Any,
) -> None:
    """A folder whose model writes the pieces given; without any it writes noise alone."""
    tokenizer = tiny_tokenizer()
    fields = tiny_fields(tokenizer, **more)
    config = MolmoPointConfig.from_dict(fields)
    model = random_molmo_point(config, seed)
    if pieces:
        tilt(model, tokenizer, pieces, noise, ends)
    else:
        # Else it would hardly ever point.
        model.lm_head.weight[config.patch_token] *= 3
    parameters = dict(model.named_parameters())
    tensors = {
        key: torch.cat([parameters[piece.name].detach()[piece.index] for piece in pieces])
        for key, pieces in key_map(config).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / 'model.safetensors', {'format': 'pt'})
    tokenizer.save_pretrained(folder)
    (folder / 'config.json').write_text(json.dumps(fields))
    crops = {'size': {'height': 56, 'width': 56}, 'overlap_margins': [1, 1], 'max_crops': 4}
    (folder / 'preprocessor_config.json').write_text(json.dumps(crops))


def greedy_answer(
    loaded: LoadedMolmoPoint, image: np.ndarray, question: Question
) -> tuple[int, ...]:
    """The tokens of plain greedy decoding, up to where the answer is finished."""
    tokenizer, config = loaded.tokenizer, loaded.model.config
    inputs = preprocess_molmo2(image, loaded.preprocessor, tokenizer.image, loaded.model.device)
    asked = tokenizer.encode_question(prompt_for(question.query, question.mode, Style.MOLMO2))
    room = config.text['max_position_embeddings'] - 1 - len(inputs.token_ids) - len(asked)
    told: list[int] = []
    read: list[int] = []
    written = greedy_point_tokens(loaded.model, inputs, tokenizer.bos, asked)
    for token, _ in islice(written, min(room, 1024)):
        if token in tokenizer.stops:
            break
        told.append(token)
        read += tokenizer.points.ours([token], len(inputs.token_pooling))
        follower = GroundedFollower(label_for(question.query))
        follower.read(tokenizer.decode(read))
        if question.mode is not Mode.ASK and follower.finished(question.max_points):
            break
    return tuple(told)


def wavy_image(width: int, height: int, seed: int) -> np.ndarray:
    """What the goldens are of: sums of sinusoids, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    out = np.zeros((height, width, 3))
    for channel in range(3):
        for _ in range(6):
            fx, fy = rng.uniform(0, 0.08), rng.uniform(0, 0.08)
            phase, amplitude = rng.uniform(0, 6.28), rng.uniform(0.3, 1)
            out[..., channel] += amplitude * np.sin(fx * x + fy * y + phase)
    out = (out - out.min()) / (out.max() - out.min())
    return np.round(out * 255).astype(np.uint8)


def golden_with_image(folder: Path, into: Path) -> Path:
    """A file like the golden's in a folder, with its image in it, as `check` reads them."""
    size = json.loads((folder / 'case.json').read_text())['image']
    expected = load_file(folder / 'expected.safetensors')
    file = into / 'expected.safetensors'
    save_file(expected | {'image': torch.from_numpy(wavy_image(**size))}, file)
    return file


def random_rules(rng: random.Random) -> dict[str, str]:
    """The order that a config asks for; mostly the releases'."""
    if rng.random() < 0.7:
        return {}
    return {
        'mask_patches': rng.choice(['always', 'never']),
        'mask_subpatches': rng.choice(['inference', 'never']),
        'mask_repeats': rng.choice(['inference', 'never']),
    }


def compare(seed: int, folder: Path) -> tuple[int, int]:
    """Ask one random checkpoint some questions; how many tokens were written, and of points."""
    rng = random.Random(seed)
    pieces = rng.choice([(), ONE_POINT, ONE_POINT, HEAD])
    write_checkpoint(
        folder,
        pieces,
        rng.choice([0.05, 0.3, 0.6, 1.0]),
        seed,
        rng.choice([-30.0, 0.0, 3.0, 1e3]),
        text={'max_position_embeddings': 220},
        no_more_points_class=rng.random() < 0.8,
        **random_rules(rng),
    )
    loaded = load_molmo_point(folder)
    engine = LocalEngine(loaded)
    size = rng.randrange(20, 120), rng.randrange(20, 120), 3
    image = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    questions = [
        Question(''.join(rng.choices('abc mugs', k=rng.randrange(1, 9))) + 'x', mode, limit)
        for mode, limit in ((rng.choice(list(Mode)), 0), (Mode.POINT, 2), (Mode.ASK, 0))
    ]
    expected = [greedy_answer(loaded, image, question) for question in questions]
    told = [engine.answer(image, questions[0]).tokens]
    told += [answer.tokens for answer in engine.answer_many(image, questions)]
    # With what is remembered as drafts, on another frame.
    mirrored = np.ascontiguousarray(image[:, ::-1])
    expected += [greedy_answer(loaded, mirrored, question) for question in questions]
    told += [answer.tokens for answer in engine.answer_many(mirrored, questions)]
    if told != [expected[0], *expected]:
        raise AssertionError(f'seed {seed}: {told} instead of {expected}')
    first = MolmoPointNetwork(loaded).point_tokenizer.points.first
    written = [token for ids in expected for token in ids]
    return len(written), sum(token >= first for token in written)


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    totals = np.zeros(2, np.int64)
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder:
            totals += compare(seed, Path(folder))
    print(
        f'{count} random MolmoPoints: {totals[0]} tokens as by plain greedy, {totals[1]} of points'
    )


if __name__ == '__main__':
    main()
