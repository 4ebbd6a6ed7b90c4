# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes' linear layer of 4 bits, which on a CPU unpacks its weights in parts.

To be imported only where that library is there.
"""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes import nn as library
from bitsandbytes.functional import (
    QuantState,
    dequantize_4bit,
    dequantize_blockwise,
    quantize_4bit,
    quantize_blockwise,
)
from torch import Tensor, nn

from molmo_ros.model.unpacking import STEP, by_parts, rows_of_part


class Linear4bit(library.Linear4bit):
    """Gives what the library's gives, on a CPU in less time where nothing is to be learnt."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        one_part = x.device.type != 'cpu' or self.out_features <= rows_of_part(x)
        learns = x.requires_grad and torch.is_grad_enabled()  # keeps nothing unpacked till then
        if one_part or learns or x.dtype != self.compute_dtype:
            return super().forward(x)
        codes, state = self.weight.data.view(-1), self.weight.quant_state
        rows, width = state.shape
        largest = dequantize_blockwise(state.absmax, state.state2) + state.offset

        def unpacked(begin: int, end: int) -> Tensor:
            first, last = begin * width, end * width
            part = QuantState(
                largest[first // state.blocksize : -(-last // state.blocksize)],
                torch.Size([end - begin, width]),
                state.code,
                state.blocksize,
                state.quant_type,
                x.dtype,
            )
            return dequantize_4bit(codes[first // 2 : -(-last // 2), None], part)

        return by_parts(x, rows, unpacked, self.bias)


def four_bits(linear: nn.Linear) -> nn.Module:
    """The layer with its weights in NF4; its bias is the same parameter."""
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
    if weight.device.type == 'cpu':
        codes, state = _packed_by_parts(weight)
        packed.weight = library.Params4bit(
            codes, quant_state=state, quant_type='nf4', bnb_quantized=True, module=packed
        )
    else:
        packed.weight = library.Params4bit(weight, requires_grad=False, quant_type='nf4')
        packed.to(weight.device)  # which quantises, to the same device too
    packed.bias = linear.bias
    return packed


def _packed_by_parts(weight: Tensor) -> tuple[Tensor, Any]:
    """What the library packs a matrix to: codes (n, 1), and their state.

    The library takes 14 bytes a weight meanwhile, here of some rows only.
    """
    packed = [quantize_4bit(rows, quant_type='nf4') for rows in weight.split(STEP)]
    codes, state = torch.cat([codes for codes, _ in packed]), packed[0][1]
    largest = torch.cat([part.absmax for _, part in packed])
    offset = largest.mean()
    absmax, of_absmax = quantize_blockwise(largest - offset, blocksize=256)
    return codes, QuantState(
        absmax,
        weight.shape,
        state.code,
        state.blocksize,
        state.quant_type,
        weight.dtype,
        offset,
        of_absmax,
    )
