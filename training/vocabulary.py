# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo checkpoint's own tokenizer: bytes, single digits, and the words of its small world."""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from molmo_ros.camera.tabletop import EASY
from training.architecture import VOCABULARY
from training.questions import Thing, make_example

END_OF_TEXT = '<|endoftext|>'
IMAGE_TOKENS = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>', '<|image|>')


def build_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and its config to `folder`; ids of the image tokens follow the rest."""
    if (folder / 'tokenizer.json').exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
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
    rng = random.Random(0)
    texts = []
    for _ in range(4000):
        things = [
            Thing(rng.choice(EASY.kinds), rng.choice(EASY.colours), (rng.uniform(5, 95), 50.0))
            for _ in range(3)
        ]
        example = make_example(things, rng)
        texts += [f' User: {example.prompt} Assistant:', example.answer]
    return texts
