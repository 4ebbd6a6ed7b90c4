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
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

NAME = 'packed_questions'


@dataclass
class Layout:
    """Where things stand in the row, and what a head looked at on the way.

    images, prefix: how many, and how long each one's prefix is; image (Q,) of each question, in
    order; lengths (Q,) of the questions; watch: the layers whose heads' attention to the image is
    kept; looked: by such a layer (tokens of questions, heads, prefix).
    """

    images: int
    prefix: int
    image: Tensor
    lengths: Tensor
    watch: Sequence[int] = ()
    looked: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        of_image = torch.zeros(self.images, dtype=torch.long, device=self.lengths.device)
        self.of_image = of_image.index_add(0, self.image, self.lengths).tolist()
        number = torch.arange(len(self.lengths), device=self.lengths.device)
        # Filled up with a question of nobody's, which sees the image and itself.
        asked = self.by_image(number.repeat_interleave(self.lengths) + 1)
        own = (asked[:, :, None] == asked[:, None]).tril()
        self.visible = functional.pad(own, (self.prefix, 0), value=True)[:, None]

    @property
    def tokens(self) -> int:
        """Of the questions."""
        return sum(self.of_image)

    def positions(self) -> Tensor:
        """(1, N) position ids of the whole row."""
        ends = self.lengths.cumsum(0).repeat_interleave(self.lengths)
        starts = ends - self.lengths.repeat_interleave(self.lengths)
        within = torch.arange(self.tokens, device=ends.device) - starts
        first = torch.arange(self.prefix, device=ends.device).repeat(self.images)
        return torch.cat([first, self.prefix + within])[None]

    def by_image(self, rows: Tensor) -> Tensor:
        """(tokens of questions, ...) -> (images, most tokens of an image, ...), zeros behind."""
        return pad_sequence(rows.split(self.of_image), batch_first=True)

    def in_row(self, rows: Tensor) -> Tensor:
        """The same back."""
        return torch.cat([of_one[:n] for of_one, n in zip(rows, self.of_image, strict=True)])


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

    query (1, H, N, D), key and value (1, H, N, D) -> (1, N, H, D): each head with its own keys.
    """
    layout: Layout = attention_mask
    split = layout.images * layout.prefix
    rows = [x[0].transpose(0, 1) for x in (query, key, value)]
    # (images, H, prefix, D) and (images, H, most tokens, D).
    looking, shown, told = (
        x[:split].unflatten(0, (layout.images, -1)).transpose(1, 2) for x in rows
    )
    asked, keys, values = (layout.by_image(x[split:]).transpose(1, 2) for x in rows)
    seen = functional.scaled_dot_product_attention(
        looking, shown, told, is_causal=True, scale=scaling
    )
    keys, values = torch.cat([shown, keys], 2), torch.cat([told, values], 2)
    if module.layer_idx in layout.watch:
        scores = (asked * scaling) @ keys.transpose(2, 3)
        weights = scores.masked_fill(~layout.visible, -1e9).softmax(-1)
        looked = weights[..., : layout.prefix].transpose(1, 2)
        layout.looked[module.layer_idx] = layout.in_row(looked)
        found = weights.to(values.dtype) @ values
    else:
        found = functional.scaled_dot_product_attention(
            asked, keys, values, attn_mask=layout.visible, scale=scaling
        )
    answered = layout.in_row(found.transpose(1, 2))
    return torch.cat([seen.transpose(1, 2).flatten(0, 1), answered])[None], None


AttentionInterface.register(NAME, packed_attention)
