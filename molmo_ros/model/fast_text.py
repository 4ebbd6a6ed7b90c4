# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The decoder's forward pass over a cache that stays in place.

The weights are those of transformers' Qwen2, OLMo2, OLMoE or Molmo2, and so is the arithmetic.
The rows of a pass need not be one text: each has its own position, its own slot of the cache, and
its own view of the other slots, so drafts and several questions share every read of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from molmo_ros.model.fused import Projection, fuse

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Block:
    """One layer; where a norm is absent it is the identity. rotary: which table it turns by."""

    before_attention: Norm
    qkv: Projection
    q_norm: Norm
    k_norm: Norm
    out: nn.Module
    after_attention: Norm
    before_mlp: Norm
    mlp: nn.Module
    after_mlp: Norm
    rotary: int


class FastText:
    """A decoder of transformers' with a preallocated cache of keys and values.

    text: Qwen2Model, Olmo2Model, OlmoeModel or Molmo2TextModel, on its device.
    """

    def __init__(self, text: PreTrainedModel) -> None:
        config = text.config
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._head_dim = text.layers[0].self_attn.head_dim
        # Molmo2 may scale the angles in some layers only.
        unscaled = getattr(text, 'rotary_emb_unscaled', None)
        scaled_in = config.rope_scaling_layers if unscaled else range(len(text.layers))
        self._blocks = [
            _block(layer, rotary=0 if index in scaled_in else 1)
            for index, layer in enumerate(text.layers)
        ]
        self.norm = _norm(text.norm)
        self._rotary = [
            _table(module, config.max_position_embeddings)
            for module in (text.rotary_emb, unscaled)
            if module is not None
        ]
        self._weight = text.norm.weight
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
        return self.norm(self.states(embeds, positions, slots, mask))

    def states(
        self, embeds: Tensor, positions: Tensor, slots: Tensor, mask: Tensor | None
    ) -> Tensor:
        """As `forward`, but before the last norm."""
        angles = [(cos[positions][:, None], sin[positions][:, None]) for cos, sin in self._rotary]
        rows = None if mask is None else self._bias(mask, embeds.dtype)
        hidden = embeds
        for block, cache in zip(self._blocks, self.cache, strict=True):
            cos, sin = angles[block.rotary]
            q, k, v = self._qkv(block, hidden)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            cache[0].index_copy_(1, slots, k.transpose(0, 1))
            cache[1].index_copy_(1, slots, v.transpose(0, 1))
            mixed = self._causal(q, k, v) if rows is None else self._masked(q, cache, rows)
            hidden = hidden + block.after_attention(block.out(mixed))
            hidden = hidden + block.after_mlp(block.mlp(block.before_mlp(hidden)[None])[0])
        return hidden

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

    def _bias(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """What SDPA would make of the mask in every layer anew, for heads as rows."""
        unseen = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        unseen.masked_fill_(~mask, float('-inf'))
        return unseen.repeat(self._heads // self._kv_heads, 1)

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
        return torch.zeros(shape, dtype=self._weight.dtype, device=self._weight.device)


def _table(rotary: nn.Module, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (positions, head_dim) float32 each."""
    like = torch.zeros((), dtype=torch.float32, device=rotary.inv_freq.device)
    cos, sin = rotary(like, torch.arange(positions, device=like.device)[None])
    return cos[0].contiguous(), sin[0].contiguous()


def _block(layer: nn.Module, rotary: int) -> _Block:
    attention = layer.self_attn
    if getattr(layer, 'norm_after', False):
        norms = (None, layer.input_layernorm, None, layer.post_attention_layernorm)
    elif hasattr(layer, 'input_layernorm'):
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
        rotary,
    )


def _norm(module: nn.Module | None) -> Norm:
    if module is None:
        return lambda x: x
    weight, shape, eps = module.weight, module.weight.shape, module.variance_epsilon

    def norm(x: Tensor) -> Tensor:
        if x.shape[-1:] == shape:
            return functional.rms_norm(x, shape, weight, eps)
        heads = x.unflatten(-1, (-1, *shape))  # each by itself
        return functional.rms_norm(heads, shape, weight, eps).flatten(-2)

    return norm


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of (T, heads, head_dim), in float32 as in the releases."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x.float() * cos + turned * sin).to(x.dtype)
