# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Text to ids and back, of whatever generation; importing this imports no transformers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokenizer(ABC):
    """A checkpoint's tokenizer, and how a question is laid out for its model."""

    backend: PreTrainedTokenizerBase

    @property
    @abstractmethod
    def stops(self) -> frozenset[int]:
        """The ids that end an answer."""

    @abstractmethod
    def encode_question(self, prompt: str) -> list[int]:
        """Ids of one turn, up to where the answer begins; special names in `prompt` stay text."""

    def encode(self, text: str) -> list[int]:
        """Ids of `text` alone. A special token's name in it stays plain text."""
        return self.backend.encode(text, add_special_tokens=False, split_special_tokens=True)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without special tokens."""
        text = self.backend.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)
