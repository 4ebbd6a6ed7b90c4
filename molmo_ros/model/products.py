# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Products with a weight; in float32 on an x86 CPU by oneDNN, where that takes less time.

`torch.nn.functional.linear` multiplies float32 by MKL there. oneDNN adds a bias, and what a product
is added to, on the way. It wants the weights in an order of its own: many rows pay for that each
time, and small networks keep a copy in that order, so that few rows gain, too. It writes a kernel
for every number of rows, in half a millisecond and half a MB each, and keeps the last 1,024 of
them: here 64, some 60 MB.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL = 16_000_000  # weights of a network that are held twice
ROWS = 256  # from which on putting the weights in order costs little
ORDERED_ROWS = 8  # from which on a product with ordered weights is faster
_ORDERED_FOR = 16  # rows; the order is as good for others
# Twelve lengths of questions beside two sizes of pictures. Read at the first use; the second is of
# torch's own cache of the same kernels.
for _name in ('ONEDNN_PRIMITIVE_CACHE_CAPACITY', 'LRU_CACHE_CAPACITY'):
    os.environ.setdefault(_name, '64')


def is_small(parts: Iterable[nn.Module]) -> bool:
    """Whether the weights of these modules are few enough to be held twice."""
    return sum(weight.numel() for part in parts for weight in part.parameters()) <= SMALL


class Product:
    """alpha · (x @ weight.T) + bias, with the weights as they are when it is made.

    weight (out, in), bias (out,) or None. small: whether the weights may be held twice.
    """

    @torch.no_grad()
    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, alpha: float = 1.0, small: bool = False
    ) -> None:
        self._weight, self._bias, self._alpha = weight, bias, alpha
        self._ordered: Tensor | None = None
        self._fewest: int | None = None  # rows for oneDNN
        if weight.dtype == torch.float32 and _has_onednn(weight.device):
            self._fewest = ROWS
            if small:
                order = torch.ops.mkldnn._reorder_linear_weight
                self._ordered, self._fewest = order(weight * alpha, _ORDERED_FOR), ORDERED_ROWS

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(..., in) -> (..., out), added to `onto` (..., out) where that is given."""
        if self._fewest is None or x.numel() < self._fewest * x.shape[-1]:
            return self._by_torch(x, onto)
        if self._ordered is not None:
            return _by_onednn(x, self._ordered, self._bias, onto)
        if self._alpha == 1:
            return _by_onednn(x, self._weight, self._bias, onto)
        bias = None if self._bias is None else self._bias / self._alpha
        product = _by_onednn(x, self._weight, bias, None)
        if onto is None:
            return product.mul_(self._alpha)
        return torch.add(onto, product, alpha=self._alpha)

    def _by_torch(self, x: Tensor, onto: Tensor | None) -> Tensor:
        weight, bias = self._weight, self._bias
        if bias is None and self._alpha == 1:
            if onto is not None and x.dim() == 2:
                return torch.addmm(onto, x, weight.t())
            product = functional.linear(x, weight)
        elif bias is None:
            product = functional.linear(x, weight).mul_(self._alpha)
        else:
            flat = torch.addmm(bias, x.flatten(0, -2), weight.t(), alpha=self._alpha)
            product = flat.view(*x.shape[:-1], -1)
        return product if onto is None else product.add_(onto)


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, onto: Tensor | None) -> Tensor:
    multiply = torch.ops.mkldnn._linear_pointwise
    if onto is None:
        return multiply(x, weight, bias, 'none', [], '')
    return multiply.binary(x, onto, weight, bias, 'add')


def _has_onednn(device: torch.device) -> bool:
    """Its operators are not of torch's public interface: they may be absent."""
    return (
        device.type == 'cpu'
        and platform.machine() in ('x86_64', 'AMD64')
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, '_linear_pointwise')
        and hasattr(torch.ops.mkldnn, '_reorder_linear_weight')
    )
