# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo checkpoint's own tokenizer: bytes, single digits, the words of its small world, and
whole phrases that never change, so that little is spent on them."""

from __future__ import annotations

import random
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from molmo_ros.pointing import ABSENT, NOT_IN_IMAGE, POINT_PROMPTS
from molmo_ros.tabletop.questions import Thing
from training.architecture import VOCABULARY
from training.questions import WORLD, make_example

END_OF_TEXT = '<|endoftext|>'
IMAGE_TOKENS = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>', '<|image|>')
MOST_POINTS = 10
PHRASES = (
    ' User:',
    ' Assistant:',
    POINT_PROMPTS[0].partition('{label}')[2],
    f' {ABSENT}',
    f' {NOT_IN_IMAGE}',
    ' Counting the',
    ' shows a total of ',
    ' <point x="',
    '" y="',
    *(
        f'{lead} x{i}="'
        for i in range(1, MOST_POINTS + 1)
        for lead in [' <points' if i == 1 else '"']
    ),
    *(f'" y{i}="' for i in range(1, MOST_POINTS + 1)),
    '" alt="',
    '</point>',
    '</points>',
)


def build_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and its config to `folder`; ids of the image tokens follow the rest."""
    if (folder / 'tokenizer.json').exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(PHRASES),
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    # Merges that this small world lacks leave room; the image tokens keep their place above it.
    spare = [f'<|spare_{i}|>' for i in range(VOCABULARY - tokenizer.get_vocab_size())]
    tokenizer.add_special_tokens([*spare, *IMAGE_TOKENS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)


def _corpus() -> list[str]:
    """Prompts and answers without the phrases, so that merges go to what is left."""
    rng = random.Random(0)
    texts = []
    for _ in range(6000):
        example = make_example([_anything(rng) for _ in range(rng.randint(3, 7))], rng)
        for text in (f' User: {example.prompt} Assistant:', example.answer):
            pieces = [text]
            for phrase in sorted(PHRASES, key=len, reverse=True):
                pieces = [part for piece in pieces for part in piece.split(phrase)]
            texts += pieces
    return texts


def _anything(rng: random.Random) -> Thing:
    def place() -> tuple[float, float]:
        return rng.uniform(5, 95), rng.uniform(5, 95)

    kind = rng.choice(WORLD.kinds)
    x, y = place()
    return Thing(
        kind,
        rng.choice(WORLD.colours),
        rng.choice(WORLD.patterns),
        (x, y),
        (x / 100, y / 100, rng.uniform(0.5, 1.0)),
        rng.uniform(0.05, 0.3),
        rng.uniform(0.5, 8),
        1.0,
        {part: place() for part in WORLD.parts[kind]},
    )
