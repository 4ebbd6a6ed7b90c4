# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo checkpoint's tokenizer, and the ids that stand for an image, read from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from molmo_ros.model.config import AGAIN, UnsupportedCheckpoint, understood
from molmo_ros.model.preprocessing import ImageTokens
from molmo_ros.model.tokens import Tokenizer


@dataclass(frozen=True)
class MolmoTokenizer(Tokenizer):
    """See `Tokenizer`; `eos` both opens and closes a conversation, as in the releases."""

    image: ImageTokens
    eos: int

    @property
    def stops(self) -> frozenset[int]:
        return frozenset({self.eos})

    def encode_question(self, prompt: str) -> list[int]:
        return self.encode(f' User: {prompt} Assistant:')


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has files that `load_tokenizer` reads."""
    return any((folder / name).is_file() for name in ('tokenizer.json', 'vocab.json'))


def load_tokenizer(folder: Path) -> MolmoTokenizer:
    """Read tokenizer.json, or vocab.json with merges.txt; no code of the checkpoint is run."""
    if (folder / 'tokenizer.json').is_file():
        with understood(f'{folder / "tokenizer.json"}, or what belongs to it,'):
            backend = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    elif (folder / 'vocab.json').is_file():
        with understood(f'{folder / "vocab.json"}, or what belongs to it,'):
            backend = Qwen2Tokenizer.from_pretrained(folder, local_files_only=True)
    else:
        raise UnsupportedCheckpoint(
            f'{folder} has no tokenizer, neither tokenizer.json nor vocab.json and merges.txt: '
            f'{AGAIN}'
        )
    names = ('<im_start>', '<im_end>', '<im_patch>', '<im_col>')
    vocabulary = backend.get_vocab()
    missing = [name for name in names if name not in vocabulary]
    if missing or backend.eos_token_id is None:
        raise UnsupportedCheckpoint(
            f"{folder}'s tokenizer lacks {', '.join(missing) or 'an end-of-text token'}; "
            'is this a Molmo checkpoint?'
        )
    return MolmoTokenizer(
        backend, ImageTokens(*(vocabulary[name] for name in names)), backend.eos_token_id
    )
