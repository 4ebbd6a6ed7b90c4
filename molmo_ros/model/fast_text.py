# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The decoder's forward pass over a cache that stays in place.

The weights are those of `Molmo.text`, the arithmetic that of transformers' Qwen2, OLMo2 and OLMoE.
The rows of a pass need not be one text: each has its own position, its own slot of the cache, and
its own view of the other slots, so drafts and several questions share every read of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model.fused import Projection, fuse
from molmo_ros.model.molmo import Molmo

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Block:
    """One layer; where a norm is absent it is the identity."""

    before_attention: Norm
    qkv: Projection
    q_norm: Norm
    k_norm: Norm
    out: nn.Module
    after_attention: Norm
    before_mlp: Norm
    mlp: nn.Module
    after_mlp: Norm


class FastText:
    """Molmo's decoder with a preallocated cache of keys and values."""

    def __init__(self, model: Molmo) -> None:
        config = model.config.text
        self._model = model
        self._heads, self._kv_heads = config.num_heads, config.num_kv_heads
        self._head_dim = config.head_dim
        self._blocks = [_block(layer) for layer in model.text.layers]
        self._norm = _norm(model.text.norm)
        positions = torch.arange(config.max_positions, device=model.device)[None]
        like = torch.zeros((), dtype=torch.float32, device=model.device)
        self._cos, self._sin = (
            table[0].contiguous() for table in model.text.rotary_emb(like, positions)
        )
        self.cache = self._empty(0)

    @property
    def slots(self) -> int:
        """How many tokens the cache holds."""
        return self.cache.shape[3]

    def reserve(self, slots: int) -> None:
        """Make room for `slots` tokens; what the cache holds is kept."""
        if slots > self.slots:
            grown = self._empty(slots)
            grown[:, :, :, : self.slots] = self.cache
            self.cache = grown

    def forward(
        self, embeds: Tensor, positions: Tensor, slots: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Put rows through all layers and keep their keys and values in `slots`.

        embeds (T, hidden), positions and slots (T,). mask (T, n) says which of the first n slots
        each row sees, its own among them; None if the rows are all there is, in order.
        Returns hidden states (T, hidden) after the last norm.
        """
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]
        rows = None if mask is None else mask.repeat(self._heads // self._kv_heads, 1)
        hidden = embeds
        for block, cache in zip(self._blocks, self.cache, strict=True):
            q, k, v = self._qkv(block, hidden)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            cache[0].index_copy_(1, slots, k.transpose(0, 1))
            cache[1].index_copy_(1, slots, v.transpose(0, 1))
            mixed = self._causal(q, k, v) if rows is None else self._masked(q, cache, rows)
            hidden = hidden + block.after_attention(block.out(mixed))
            hidden = hidden + block.after_mlp(block.mlp(block.before_mlp(hidden)[None])[0])
        return self._norm(hidden)

    def _qkv(self, block: _Block, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, heads, head_dim) each."""
        width, kv_width = self._heads * self._head_dim, self._kv_heads * self._head_dim
        q, k, v = block.qkv(block.before_attention(hidden)).split(
            [width, kv_width, kv_width], dim=-1
        )
        split = (-1, self._head_dim)
        return (
            block.q_norm(q).unflatten(-1, split),
            block.k_norm(k).unflatten(-1, split),
            v.unflatten(-1, split),
        )

    def _causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return mixed[0].transpose(0, 1).flatten(1)

    def _masked(self, q: Tensor, cache: Tensor, rows: Tensor) -> Tensor:
        """Heads that share keys become rows, so that no key is repeated in memory."""
        tokens, extent = len(q), rows.shape[1]
        folded = (
            q.view(tokens, self._kv_heads, -1, self._head_dim).permute(1, 2, 0, 3).flatten(1, 2)
        )
        keys, values = cache[0, :, :extent], cache[1, :, :extent]
        mixed = functional.scaled_dot_product_attention(
            folded[None], keys[None], values[None], attn_mask=rows
        )
        return mixed[0].unflatten(1, (-1, tokens)).permute(2, 0, 1, 3).flatten(1)

    def _empty(self, slots: int) -> Tensor:
        shape = (len(self._blocks), 2, self._kv_heads, slots, self._head_dim)
        return torch.zeros(
            shape, dtype=self._model.text.norm.weight.dtype, device=self._model.device
        )


def _block(layer: nn.Module) -> _Block:
    attention = layer.self_attn
    if hasattr(layer, 'input_layernorm'):
        norms = (layer.input_layernorm, None, layer.post_attention_layernorm, None)
    else:
        norms = (None, layer.post_attention_layernorm, None, layer.post_feedforward_layernorm)
    before_attention, after_attention, before_mlp, after_mlp = (_norm(norm) for norm in norms)
    return _Block(
        before_attention,
        fuse(attention.q_proj, attention.k_proj, attention.v_proj),
        _norm(getattr(attention, 'q_norm', None)),
        _norm(getattr(attention, 'k_norm', None)),
        attention.o_proj,
        after_attention,
        before_mlp,
        layer.mlp,
        after_mlp,
    )


def _norm(module: nn.Module | None) -> Norm:
    if module is None:
        return lambda x: x
    weight, eps = module.weight, module.variance_epsilon
    return lambda x: functional.rms_norm(x, weight.shape, weight, eps)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of (T, heads, head_dim), in float32 as in the releases."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x.float() * cos + turned * sin).to(x.dtype)
