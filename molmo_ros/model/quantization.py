# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The decoder's weights in 8 or 4 bits, through bitsandbytes.

Weights only: activations, norms, embeddings, the output head and all of the vision path keep their
type. 'int8' stores a signed byte a weight and a scale a row; 'int4' is NF4, 16 levels in blocks of
64 whose scales are quantised too. On a CPU a matrix is unpacked and multiplied in parts that its
cache holds: as a whole it would be new memory in each pass, which takes longer than the product.
`python -m benchmarks.quantised_products` measures it.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.extras import require
from molmo_ros.model.bits_library import import_bitsandbytes
from molmo_ros.model.unpacking import by_parts, rows_of_part

Quantization = Literal['none', 'int8', 'int4']
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)

_ROWS = 1024
# Up to which torch's own product of bfloat16 and int8 takes less time on a CPU. It does not look
# whether the width is one of those that it can read.
FEW_ROWS, WIDTHS = 8, 64
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
        import_bitsandbytes()
        from bitsandbytes.functional import int8_vectorwise_quant

        # The library quantises float16 only; some rows at a time, for it needs room to do so.
        parts = [int8_vectorwise_quant(rows.half()) for rows in linear.weight.detach().split(_ROWS)]
        self.register_buffer('codes', torch.cat([codes for codes, _, _ in parts]))
        self.register_buffer('scale', torch.cat([largest for _, largest, _ in parts]) / 127)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        y = self._product(x)
        return (y if self.bias is None else y + self.bias).to(x.dtype)

    def _product(self, x: Tensor) -> Tensor:
        width, on_cpu = x.shape[-1], x.device.type == 'cpu'
        few = x.dtype == torch.bfloat16 and x.numel() <= FEW_ROWS * width and not width % WIDTHS
        if on_cpu and few and hasattr(torch.ops.aten, '_weight_int8pack_mm'):  # not public
            multiply = torch.ops.aten._weight_int8pack_mm
            product = multiply(x.reshape(-1, width), self.codes, self.scale.to(x.dtype))
            return product.view(*x.shape[:-1], -1)
        at_once = rows_of_part(x)
        if not on_cpu or len(self.codes) <= at_once:
            return functional.linear(x, self.codes.to(x.dtype)) * self.scale
        room = torch.empty(at_once, width, dtype=x.dtype)

        def unpacked(begin: int, end: int) -> Tensor:
            return room[: end - begin].copy_(self.codes[begin:end])

        return by_parts(x, len(self.codes), unpacked) * self.scale


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
    if quantize == 'int8':
        return Int8Linear(linear)
    import_bitsandbytes()
    from molmo_ros.model.four_bits import four_bits

    return four_bits(linear)


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device='meta')
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear
