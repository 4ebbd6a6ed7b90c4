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

from molmo_ros.model.experts import MOST_AT_ONCE, experts_at_once, has_plain_experts
from molmo_ros.model.fused import Projection, fuse
from molmo_ros.model.products import SMALL, Held, product_of, weights_in

Norm = Callable[[Tensor], Tensor]
Onto = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Block:
    """One layer; where a norm is absent it is the identity. rotary: which table it turns by.

    q_norm, k_norm: None where both are absent. out, mlp: add to what they are given first.
    """

    before_attention: Norm
    qkv: Projection
    q_norm: Norm | None
    k_norm: Norm | None
    out: Onto
    before_mlp: Norm
    mlp: Onto
    rotary: int


class FastText:
    """A decoder of transformers' with a preallocated cache of keys and values.

    text: Qwen2Model, Olmo2Model, OlmoeModel or Molmo2TextModel, on its device. sole: whether nobody
    else needs the weights of its layers, which it may then take from them.
    """

    def __init__(self, text: PreTrainedModel, sole: bool = False) -> None:
        config = text.config
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._head_dim = text.layers[0].self_attn.head_dim
        # Molmo2 may scale the angles in some layers only.
        unscaled = getattr(text, 'rotary_emb_unscaled', None)
        scaled_in = config.rope_scaling_layers if unscaled else range(len(text.layers))
        self.small, held = weights_in(text.layers) <= SMALL, Held.of(text.layers, sole)
        self._blocks = [
            _block(layer, 0 if index in scaled_in else 1, config.hidden_act == 'silu', held)
            for index, layer in enumerate(text.layers)
        ]
        self.four_bit = any(type(part).__name__ == 'Linear4bit' for part in text.modules())
        # Experts that are chosen on the host cannot be captured: quantised ones.
        self.capturable = all(
            not hasattr(layer.mlp, 'experts') or has_plain_experts(layer.mlp)
            for layer in text.layers
        )
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

    def states(
        self,
        embeds: Tensor,
        positions: Tensor,
        slots: Tensor,
        mask: Tensor | None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Put rows through all layers and keep their keys and values in `slots`.

        embeds (T, hidden), positions and slots (T,). mask (T, n) says which of the first n slots
        each row sees, its own among them; None if the rows are all there is, in order. wanted (W,):
        whose hidden states to return; the last layer computes no others. All by default.
        Returns hidden states (W or T, hidden) before the last norm, which is `norm`.
        """
        angles = [(cos[positions][:, None], sin[positions][:, None]) for cos, sin in self._rotary]
        rows = None if mask is None else self._bias(mask, embeds.dtype)
        extent = self.slots if mask is None else mask.shape[1]
        hidden = embeds
        caches = self.cache.unbind(), self.cache[:, :, :, :extent].unbind()
        for block, cache, seen in zip(self._blocks, *caches, strict=True):
            q, kv = self._qkv(block, hidden, *angles[block.rotary])
            cache.index_copy_(2, slots, kv.permute(1, 2, 0, 3))
            if wanted is not None and block is self._blocks[-1]:
                hidden, q = hidden[wanted], q[wanted]
                if mask is None:
                    order = torch.arange(len(embeds), device=embeds.device)
                    seen, sees = kv.permute(1, 2, 0, 3), order <= wanted[:, None]
                else:
                    sees = mask[wanted]
                rows = self._bias(sees, embeds.dtype)
            mixed = self._causal(q, kv) if rows is None else self._masked(q, seen, rows)
            hidden = block.out(hidden, mixed)
            hidden = block.mlp(hidden, block.before_mlp(hidden))
        return hidden

    def _qkv(
        self, block: _Block, hidden: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(T, heads, head_dim), and (T, 2, heads of keys, head_dim): keys and values."""
        qkv = block.qkv(block.before_attention(hidden))
        turned = self._heads + self._kv_heads
        if block.q_norm is not None and block.k_norm is not None:
            width, kv_width = self._heads * self._head_dim, self._kv_heads * self._head_dim
            q, k, v = qkv.split([width, kv_width, kv_width], dim=-1)
            qkv = torch.cat([block.q_norm(q), block.k_norm(k), v], dim=-1)
        heads = qkv.view(len(qkv), -1, self._head_dim)
        _rotate(heads[:, :turned], cos, sin)
        return heads[:, : self._heads], heads[:, self._heads :].unflatten(1, (2, -1))

    def _causal(self, q: Tensor, kv: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1)[None] for x in (q, kv[:, 0], kv[:, 1]))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return mixed[0].transpose(0, 1).flatten(1)

    def _bias(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """What SDPA would make of the mask in every layer anew, for heads as rows."""
        unseen = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
        unseen.masked_fill_(~mask, float('-inf'))
        return unseen.repeat(self._heads // self._kv_heads, 1)

    def _masked(self, q: Tensor, cache: Tensor, rows: Tensor) -> Tensor:
        """Heads that share keys become rows, so that no key is repeated in memory."""
        tokens = len(q)
        folded = (
            q.view(tokens, self._kv_heads, -1, self._head_dim).permute(1, 2, 0, 3).flatten(1, 2)
        )
        keys, values = cache[:, None].unbind()
        mixed = functional.scaled_dot_product_attention(folded[None], keys, values, attn_mask=rows)
        return mixed[0].unflatten(1, (-1, tokens)).permute(2, 0, 1, 3).flatten(1)

    def _empty(self, slots: int) -> Tensor:
        shape = (len(self._blocks), 2, self._kv_heads, slots, self._head_dim)
        return torch.zeros(shape, dtype=self._weight.dtype, device=self._weight.device)


def _table(rotary: nn.Module, positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (positions, head_dim) float32 each; the sines as `_rotate` wants them."""
    like = torch.zeros((), dtype=torch.float32, device=rotary.inv_freq.device)
    cos, sin = rotary(like, torch.arange(positions, device=like.device)[None])
    first, second = sin[0].chunk(2, dim=-1)
    return cos[0].contiguous(), torch.cat([-first, second], dim=-1)


def _block(layer: nn.Module, rotary: int, silu: bool, held: Held) -> _Block:
    attention = layer.self_attn
    if getattr(layer, 'norm_after', False):
        norms = (None, layer.input_layernorm, None, layer.post_attention_layernorm)
    elif hasattr(layer, 'input_layernorm'):
        norms = (layer.input_layernorm, None, layer.post_attention_layernorm, None)
    else:
        norms = (None, layer.post_attention_layernorm, None, layer.post_feedforward_layernorm)
    before_attention, after_attention, before_mlp, after_mlp = norms
    q_norm, k_norm = (getattr(attention, name, None) for name in ('q_norm', 'k_norm'))
    return _Block(
        _norm(before_attention),
        fuse(attention.q_proj, attention.k_proj, attention.v_proj, held=held),
        None if q_norm is None else _norm(q_norm),
        None if k_norm is None else _norm(k_norm),
        _onto(attention.o_proj, after_attention, held),
        _norm(before_mlp),
        _mlp(layer.mlp, after_mlp, silu, held),
        rotary,
    )


def _onto(linear: nn.Module, norm: nn.Module | None, held: Held) -> Onto:
    """What adds a product to something, with a norm between them where there is one."""
    after = _norm(norm)
    if type(linear) is not nn.Linear:
        return lambda hidden, x: hidden + after(linear(x))
    product = product_of(linear, held)
    if norm is None:
        return lambda hidden, x: product(x, hidden)
    return lambda hidden, x: hidden + after(product(x))


def _mlp(mlp: nn.Module, norm: nn.Module | None, silu: bool, held: Held) -> Onto:
    """As `_onto`, of a SwiGLU as one product, its activation in place, and another."""
    parts = [getattr(mlp, name, None) for name in ('gate_proj', 'up_proj', 'down_proj')]
    if not silu or any(part is None for part in parts):
        after, plain = _norm(norm), has_plain_experts(mlp) and silu

        def other(hidden: Tensor, x: Tensor) -> Tensor:
            if plain and x.device.type == 'cuda' and len(x) <= MOST_AT_ONCE:
                return hidden + after(experts_at_once(mlp, x))
            return hidden + after(mlp(x[None])[0])

        return other
    gate, up, down = parts
    both, onto = fuse(gate, up, held=held), _onto(down, norm, held)

    def swiglu(hidden: Tensor, x: Tensor) -> Tensor:
        gated, other = both(x).chunk(2, dim=-1)
        return onto(hidden, functional.silu(gated, inplace=True).mul_(other))

    return swiglu


def _norm(module: nn.Module | None) -> Norm:
    if module is None:
        return lambda x: x
    shape = module.weight.shape
    over_last = _rms_norm(module.weight, module.variance_epsilon)

    def norm(x: Tensor) -> Tensor:
        if x.shape[-1:] == shape:
            return over_last(x)
        return over_last(x.unflatten(-1, (-1, *shape))).flatten(-2)  # each head by itself

    return norm


def _rms_norm(weight: Tensor, eps: float) -> Norm:
    if weight.device.type != 'cpu' or weight.dtype != torch.float32:
        return lambda x: functional.rms_norm(x, weight.shape, weight, eps)
    # torch makes eight operations of it on a CPU. By the vectors' lengths it takes four.
    width = len(weight)
    scaled, least = weight.detach() * width**0.5, weight.new_tensor((eps * width) ** 0.5)

    def norm(x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(least)
        return (x / length).mul_(scaled)

    return norm


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn (T, heads, head_dim) in place, in float32 as in the releases.

    sin: negative in its first half.
    """
    exact = x if x.dtype == torch.float32 else x.float()
    swapped = exact.roll(x.shape[-1] // 2, dims=-1)
    exact.mul_(cos).addcmul_(swapped, sin)
    if exact is not x:
        x.copy_(exact)
