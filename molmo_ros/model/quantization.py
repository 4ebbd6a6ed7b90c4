# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The decoder's weights in 8 or 4 bits, through bitsandbytes.

Weights only: activations, norms, embeddings, the output head and all of the vision path keep their
type. 'int8' stores a signed byte a weight and a scale a row; 'int4' is NF4, 16 levels in blocks of
64 whose scales are quantised too.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.extras import require

Quantization = Literal['none', 'int8', 'int4']
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)

_ROWS = 1024
# Bytes a weight takes, scales included (int8's rows are thousands of weights long).
BYTES_PER_WEIGHT = {'int8': 1.002, 'int4': 0.5 + 1 / 64 + 4 / (64 * 256)}


def check_available(quantize: str) -> None:
    """Raise ValueError for a quantisation that there is not, or not on this machine."""
    if quantize not in QUANTIZATIONS:
        raise ValueError(f'quantize must be one of {", ".join(QUANTIZATIONS)}; not {quantize!r}')
    if quantize != 'none':
        require('bitsandbytes', f'quantize {quantize!r}', ValueError)


def quantize_weight(model: nn.Module, name: str, quantize: str) -> None:
    """Replace the linear layer, or the experts, that a complete parameter belongs to.

    Other parameters are left as they are. A bias may still be to come.
    """
    owner, _, leaf = name.rpartition('.')
    parent, _, child = owner.rpartition('.')
    module = model.get_submodule(owner)
    if isinstance(module, nn.Linear) and leaf == 'weight':
        setattr(model.get_submodule(parent), child, _quantized(module, quantize))
    elif child == 'experts' and leaf == 'down_proj':  # the last of an expert's that is read
        setattr(model.get_submodule(parent), child, QuantizedExperts(module, quantize))


class Int8Linear(nn.Module):
    """y = (x · codesᵀ) · scale + bias, with `codes` (out, in) int8 and `scale` (out,) float32."""

    codes: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        from bitsandbytes.functional import int8_vectorwise_quant

        # The library quantises float16 only; some rows at a time, for it needs room to do so.
        parts = [int8_vectorwise_quant(rows.half()) for rows in linear.weight.detach().split(_ROWS)]
        self.register_buffer('codes', torch.cat([codes for codes, _, _ in parts]))
        self.register_buffer('scale', torch.cat([largest for _, largest, _ in parts]) / 127)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        y = functional.linear(x, self.codes.to(x.dtype)) * self.scale
        return (y if self.bias is None else y + self.bias).to(x.dtype)


class QuantizedExperts(nn.Module):
    """OLMoE's experts, each with its own quantised layers; unchosen ones are not touched."""

    def __init__(self, experts: nn.Module, quantize: str) -> None:
        super().__init__()
        self.gate_up, self.down = (
            nn.ModuleList(_quantized(_linear(weight), quantize) for weight in weights)
            for weights in (experts.gate_up_proj, experts.down_proj)
        )

    def forward(self, hidden: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """(T, hidden), (T, k) indices of experts, (T, k) their shares -> (T, hidden)."""
        out = torch.zeros_like(hidden)
        for expert in chosen.unique().tolist():
            token, place = torch.where(chosen == expert)
            gate, up = self.gate_up[expert](hidden[token]).chunk(2, dim=-1)
            answer = self.down[expert](functional.silu(gate) * up)
            out.index_add_(0, token, (answer * shares[token, place, None]).to(out.dtype))
        return out


def _quantized(linear: nn.Linear, quantize: str) -> nn.Module:
    return Int8Linear(linear) if quantize == 'int8' else _int4(linear)


def _int4(linear: nn.Linear) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit

    weight = linear.weight.detach()
    packed = Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=False,
        compute_dtype=weight.dtype,
        device='meta',
    )
    # Where a CPU has AVX512-BF16 the library would pack anew for a kernel of its own, which refuses
    # widths that are no multiples of 32 and 64, and rounds scales and products to bfloat16.
    packed.support_avx512bf16_for_cpu = False
    packed.weight = Params4bit(weight, requires_grad=False, quant_type='nf4')
    # Moving quantises, to the same device too.
    packed.to(weight.device)
    packed.bias = linear.bias
    return packed


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device='meta')
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear
