# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several exchanges about one picture as one sequence, which pays for the picture once.

Each sees the picture and itself, at the positions it would have alone: what is learnt is what
inference computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from molmo_ros.finetuning.exchanges import Exchange
from molmo_ros.finetuning.pupils import Pupil, SeenPicture
from molmo_ros.model.tokens import Tokenizer

IGNORED = -100


@dataclass(frozen=True)
class Packed:
    """(S,) int64: ids; which exchange; place after the picture; next id, IGNORED in prompts."""

    ids: Tensor
    exchange: Tensor
    place: Tensor
    label: Tensor

    @property
    def answer(self) -> Tensor:
        """(answer tokens,) ids to be written."""
        return self.label[self.label != IGNORED]

    @property
    def owner(self) -> Tensor:
        """(answer tokens,) which exchange each belongs to."""
        return self.exchange[self.label != IGNORED]

    @property
    def longest(self) -> int:
        """Tokens of the longest exchange."""
        return int(self.place.max()) + 1


def pack(exchanges: Sequence[Exchange], tokenizer: Tokenizer, end: int) -> Packed:
    """end: the token that ends an answer."""
    columns: list[tuple[int, int, int, int]] = []
    for number, exchange in enumerate(exchanges):
        prompt = tokenizer.encode_question(exchange.prompt)
        answer = [*tokenizer.encode(exchange.answer), end]
        labels = [IGNORED] * (len(prompt) - 1) + answer
        ids = prompt + answer[:-1]
        columns += zip(ids, [number] * len(ids), range(len(ids)), labels, strict=True)
    return Packed(*torch.tensor(columns).T)


def answer_logits(pupil: Pupil, picture: SeenPicture, packed: Packed) -> Tensor:
    """(answer tokens, vocabulary) float32, for `packed.answer`."""
    prefix = picture.embed()
    before, device = prefix.shape[1], prefix.device
    embeds = torch.cat([prefix, pupil.embed(packed.ids.to(device))], dim=1)
    positions = torch.cat([torch.arange(before), packed.place + before]).to(device)
    mask = _mask(packed.exchange.to(device), before, pupil.both_ways, embeds.dtype)
    hidden = pupil.decode(embeds, mask, positions[None])[0, before:]
    return pupil.logits(hidden[(packed.label != IGNORED).to(device)]).float()


def _mask(exchange: Tensor, before: int, both_ways: bool, dtype: torch.dtype) -> Tensor:
    """(1, 1, T, T), added to the attention: a row sees the picture and its own exchange."""
    owner = functional.pad(exchange, (before, 0), value=-1)
    seen = ((owner[:, None] == owner) | (owner == -1)).tril()
    if both_ways:
        seen[1:before, 1:before] = True  # what opens the text is not of the picture
    mask = torch.zeros(seen.shape, dtype=dtype, device=exchange.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)[None, None]
