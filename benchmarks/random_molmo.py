# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmos with random weights: any shape, any family, and some that write about points.

A random model's text is noise, and no draft would ever be right. `tilt` makes one write
given answers, or something between them and noise.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import tokenizers
import torch
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast

from molmo_ros.model.config import MolmoConfig, TextConfig, TextFamily, VisionConfig
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import PreprocessorConfig
from molmo_ros.model.saving import write_molmo
from molmo_ros.pointing import Mode, format_count, format_points, label_for, prompt_for

IMAGE_TOKENS = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>', '<|image|>')
END_OF_TEXT = '<|endoftext|>'
TINY_VOCABULARY = 400

TINY_PREPROCESSOR = PreprocessorConfig(image_size=64, patch_size=8, max_crops=4, margins=(2, 2))
TINY_VISION = VisionConfig(
    hidden_size=32,
    intermediate_size=64,
    num_heads=2,
    num_layers=4,
    image_size=64,
    patch_size=8,
    feature_layers=(-2, -3),
)

QUERIES = ('mug', 'the red mug', 'spoons', 'green object')
ONE_POINT = ' <point x="61.5" y="61.5'
POINTS = ' <points x1="61.5" y1="61.5" x1="61.5"'  # and so on, for ever
LIST = (
    ' <points',
    *(' x1="', '12', '.5', '" y1="', '34', '.6'),
    *('" x2="', '56', '.7', '" y2="', '78', '.8'),
    *('" x3="', '90', '.1', '" y3="', '23', '.4'),
    *('" alt="', 'mugs', '">', 'mugs</points>'),
)  # for `word_tokenizer`


def tiny_config(family: TextFamily) -> MolmoConfig:
    """The four releases' architectures at a few thousand parameters (72B's is 7B-D's)."""
    text = TextConfig(
        family=family,
        hidden_size=64,
        intermediate_size=48 if family != 'olmoe' else 32,
        num_layers=3,
        num_heads=4,
        num_kv_heads=2 if family == 'qwen2' else 4,
        rope_theta=10_000.0,
        norm_eps=1e-6,
        embedding_size=TINY_VOCABULARY + 16,
        additional_vocab_size=16,
        qkv_bias=family == 'qwen2',
        max_positions=192,
        num_experts=8 if family == 'olmoe' else 0,
        experts_per_token=2 if family == 'olmoe' else 0,
    )
    return MolmoConfig(TINY_VISION, text, projector_size=text.intermediate_size)


@torch.no_grad()
def random_molmo(
    config: MolmoConfig,
    seed: int,
    device: torch.device | str = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> Molmo:
    """A model on `device`; weights have the spread that keeps activations near one."""
    with torch.device('meta'):
        model = Molmo(config)
    rotary = model.text.rotary_emb
    model.to(dtype).to_empty(device=device)
    with torch.device(device):
        model.text.rotary_emb = type(rotary)(model.text.config)
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in model.named_parameters():
        if 'norm' in name or 'pre_ln' in name:
            weight.fill_(0.0 if name.endswith('bias') else 1.0)
        else:
            spread = 1.0 if 'embed' in name else weight.shape[-1] ** -0.5
            weight.normal_(std=spread, generator=generator)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def fill(model: nn.Module, seed: int) -> None:
    """Give a model of a later generation such weights; biases are near one, too."""
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    for name, weight in model.named_parameters():
        if 'norm' in name:
            weight.fill_(0.0 if name.endswith('bias') else 1.0)
        else:
            spread = 1.0 if 'embed' in name or weight.ndim < 2 else weight.shape[-1] ** -0.5
            weight.normal_(std=spread, generator=generator)


def random_exchange(rng: random.Random) -> tuple[str, str]:
    """A question as the model reads it, and an answer with random points."""
    query = rng.choice(QUERIES)
    mode = rng.choice([Mode.POINT, Mode.COUNT])
    points = [
        (rng.uniform(0, 100), rng.uniform(0, 100)) for _ in range(rng.choice((0, 1, 1, 1, 3)))
    ]
    write = format_points if mode is Mode.POINT else format_count
    return f' User: {prompt_for(query, mode)} Assistant:', write(points, label_for(query))


@torch.no_grad()
def tilt(
    model: Molmo, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], noise: float = 0.02
) -> None:
    """Make each token of `texts` likely after the one before it; no training, any size.

    The blocks' share in the last hidden state is scaled by `noise`: near 0 the next token depends
    on the last one alone, near 1 on the image and all that was written, and little is left of
    `texts`.
    Any digit may stand where one of `texts` does.
    """
    for name, weight in model.text.named_parameters():
        post_norm = model.config.text.family == 'olmo2' and 'post_' in name
        if post_norm or name.endswith(('o_proj.weight', 'down_proj.weight', 'down_proj')):
            weight.mul_(noise)
    colon = tokenizer.encode(' Assistant:', add_special_tokens=False)[-1]
    pairs = set()
    for text in texts:
        ids = [colon, *tokenizer.encode(text, add_special_tokens=False)]
        pairs |= set(pairwise(ids))
    if len(texts) > 1:
        digits = {i for token, i in tokenizer.get_vocab().items() if token.isdigit()}
        pairs |= {(a, d) for a, b in list(pairs) if b in digits for d in digits}
        pairs |= {(d, b) for a, b in list(pairs) if a in digits for d in digits}
    embedding, head = model.text.embed_tokens.weight, model.lm_head.weight
    for before, after in sorted(pairs):
        head[after] += embedding[before] / embedding[before].norm()


def split_tokenizer(pieces: Iterable[str], special: Iterable[str]) -> PreTrainedTokenizerFast:
    """Molmo2's kind: a token a piece, the longest first, and one for every other character."""
    known = sorted({*pieces}, key=len, reverse=True)
    tokens = dict.fromkeys([*known, '\n', *map(chr, range(32, 127))])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token='?'))
    pattern = '|'.join(map(re.escape, known)) + r'|[\s\S]'
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), 'isolated')
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(name, special=True) for name in special])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token='<|endoftext|>')


def tiny_tokenizer(digits_together: int = 1) -> PreTrainedTokenizerFast:
    """Byte-level BPE; numbers split into runs of up to `digits_together` (Qwen: 1, dolma2: 3)."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(rf' ?[a-zA-Z]+|[0-9]{{1,{digits_together}}}| ?[^\sa-zA-Z0-9]+|\s+'),
                'isolated',
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    numbers = [str(n) for n in range(100)] * 10 if digits_together > 1 else []
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rng = random.Random(0)
    tokenizer.train_from_iterator(
        [*numbers, *(text for _ in range(50) for text in random_exchange(rng))], trainer
    )
    tokenizer.add_special_tokens(list(IMAGE_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, clean_up_tokenization_spaces=False
    )


def word_tokenizer(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """A token a piece, and one for every other character.

    Where no piece comes twice, `tilt` to all of them makes a model write them in order.
    """
    known = sorted({*pieces, ' Assistant:'}, key=len, reverse=True)
    vocabulary = {token: i for i, token in enumerate([*known, *map(chr, range(32, 127)), '\n'])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token='?'))
    pattern = '|'.join(map(re.escape, known)) + r'|[\s\S]'
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), 'isolated')
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END_OF_TEXT)
    tokenizer.add_special_tokens({'additional_special_tokens': list(IMAGE_TOKENS)})
    return tokenizer


def save_checkpoint(model: Molmo, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a folder in the releases' layout, with the tiny preprocessor."""
    write_molmo(model, TINY_PREPROCESSOR, folder)
    tokenizer.save_pretrained(folder)
