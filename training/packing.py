# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Attention over several questions about each of several images, with nothing computed twice.

All tokens stand in one row, without padding: first the image prefixes, then the questions. A
question attends to its image and to itself, at the positions it would have alone, so that what is
learnt is exactly what inference computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

NAME = 'packed_questions'
_BUCKET = 12  # questions are padded to the next multiple, within attention only


@dataclass
class Layout:
    """Where things stand in the row, and what a head looked at on the way.

    images, prefix: how many, and how long each one's prefix is; image (Q,) of each question;
    lengths (Q,) of the questions; watch: the layers whose heads' attention to the image is kept;
    looked: by layer (tokens of questions, heads, prefix).
    """

    images: int
    prefix: int
    image: Tensor
    lengths: Tensor
    watch: Sequence[int] = ()
    looked: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = self.lengths.cumsum(0) - self.lengths
        rounded = -(-self.lengths // _BUCKET) * _BUCKET
        self.buckets = []
        for length in rounded.unique().tolist():
            chosen = (rounded == length).nonzero()[:, 0]
            place = torch.arange(length)
            valid = place < self.lengths[chosen, None]
            token = torch.where(valid, start[chosen, None] + place, 0)
            self.buckets.append((self.image[chosen], token, valid))

    @property
    def tokens(self) -> int:
        """Of the questions."""
        return int(self.lengths.sum())

    def positions(self) -> Tensor:
        """(1, N) position ids of the whole row."""
        ends = self.lengths.cumsum(0).repeat_interleave(self.lengths)
        starts = ends - self.lengths.repeat_interleave(self.lengths)
        within = torch.arange(self.tokens) - starts
        first = torch.arange(self.prefix).repeat(self.images)
        return torch.cat([first, self.prefix + within])[None]


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; the layout comes in place of a mask.

    query (1, H, N, D), key and value (1, K, N, D) -> (1, N, H, D).
    """
    layout: Layout = attention_mask
    split = layout.images * layout.prefix
    query, key, value = query[0] * scaling, key[0], value[0]
    heads, _, width = query.shape
    of_images, keys, values = (
        x[:, :split].unflatten(1, (layout.images, layout.prefix)).transpose(0, 1)
        for x in (query, key, value)
    )
    causal = torch.ones(layout.prefix, layout.prefix, dtype=torch.bool).tril()
    out = _attend(of_images, keys, values, causal)[0].transpose(1, 2).reshape(split, heads, width)
    asked = out.new_zeros(layout.tokens, heads, width)
    looked = out.new_zeros(layout.tokens, heads, layout.prefix)
    for image, token, valid in layout.buckets:
        place = split + token
        own = torch.ones(token.shape[1], token.shape[1], dtype=torch.bool).tril()
        mask = torch.cat([own.new_ones(len(own), layout.prefix), own], dim=1)
        found, weights = _attend(
            query[:, place].transpose(0, 1),
            torch.cat([keys[image], key[:, place].transpose(0, 1)], dim=2),
            torch.cat([values[image], value[:, place].transpose(0, 1)], dim=2),
            mask,
        )
        asked = asked.index_put((token[valid],), found.transpose(1, 2)[valid])
        if module.layer_idx in layout.watch:
            seen = weights[..., : layout.prefix].transpose(1, 2)
            looked = looked.index_put((token[valid],), seen[valid])
    layout.looked[module.layer_idx] = looked
    return torch.cat([out, asked])[None], None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, H, Q, D), (B, K, N, D), (B, K, N, D), (Q, N) -> (B, H, Q, D) and weights (B, H, Q, N)."""
    groups, rows = key.shape[1], query.shape[2]
    # The query heads of one key head in one product.
    grouped = query.unflatten(1, (groups, -1)).flatten(2, 3)
    scores = (grouped @ key.transpose(2, 3)).unflatten(2, (-1, rows))
    weights = scores.masked_fill(~mask, -1e9).softmax(-1)
    out = weights.flatten(2, 3) @ value
    return out.unflatten(2, (-1, rows)).flatten(1, 2), weights.flatten(1, 2)


AttentionInterface.register(NAME, packed_attention)
