# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OLMoE's experts for few rows, without a look at the host, so that they can be captured."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_AT_ONCE = 64  # rows; with more, the experts that are not chosen cost too much


def has_plain_experts(mlp: nn.Module) -> bool:
    """Whether a block of transformers' OLMoE holds its experts as two tensors, not quantised."""
    experts = getattr(mlp, 'experts', None)
    return isinstance(getattr(experts, 'gate_up_proj', None), Tensor)


def experts_at_once(mlp: nn.Module, x: Tensor) -> Tensor:
    """What an OlmoeSparseMoeBlock makes of (T, hidden), with SiLU: (T, hidden).

    Few rows read the experts that they chose; with more rows nearly all are chosen by some row,
    and all are computed.
    """
    _, shares, chosen = mlp.gate(x)
    up, down = mlp.experts.gate_up_proj, mlp.experts.down_proj
    rows, most = chosen.shape
    if 2 * rows * most <= len(up):
        picked = chosen.flatten()
        each = x.repeat_interleave(most, dim=0)[:, :, None]
        made = torch.bmm(down[picked], _swiglu(torch.bmm(up[picked], each), dim=1))
        return (made.view(rows, most, -1) * shares[..., None]).sum(dim=1).to(x.dtype)
    every = torch.matmul(_swiglu(x @ up.transpose(1, 2), dim=-1), down.transpose(1, 2))
    weights = torch.zeros(rows, len(up), dtype=shares.dtype, device=x.device)
    weights.scatter_(1, chosen, shares)
    return torch.einsum('eth,te->th', every, weights).to(x.dtype)


def _swiglu(both: Tensor, dim: int) -> Tensor:
    gate, up = both.chunk(2, dim=dim)
    return functional.silu(gate) * up
