# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Products with a weight; on an x86 CPU by oneDNN, where that takes less time.

`torch.nn.functional.linear` multiplies float32 by MKL there, which reads the weights two or three
times slower than memory gives them where one to thirty rows are multiplied (on AMD EPYCs of two
generations: benchmarks/few_rows.py). oneDNN also adds a bias, and what a product is added to, on
the way. It wants the weights in an order of its own, with which few rows are faster still, in
bfloat16 twice as fast: networks that are not large keep a copy in that order, and large ones, where
nobody else needs the weights, have them in no other. It writes a kernel for every number of rows,
in half a millisecond and half a MB each, and keeps the last 1,024 of them: here 64, some 60 MB.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL = 16_000_000  # weights of a network for which a pass of some more rows takes little longer
HELD_TWICE = 80_000_000  # weights of a part that are kept in oneDNN's order, too: 320 MB
# From two to so many rows MKL is the faster the other way round, with a long matrix of short rows;
# the second where the weights are in oneDNN's order.
TURNED_ROWS = 6
TURNED_ROWS_ORDERED = 2
TURNED_WIDTH = 1024  # of a row
_ORDERED_FOR = 16  # rows; the order is as good for others
# Twelve lengths of questions beside two sizes of pictures. Read at the first use; the second is of
# torch's own cache of the same kernels.
for _name in ('ONEDNN_PRIMITIVE_CACHE_CAPACITY', 'LRU_CACHE_CAPACITY'):
    os.environ.setdefault(_name, '64')


def weights_in(parts: Iterable[nn.Module]) -> int:
    """How many weights these modules have, those among them that are packed to bytes."""
    return sum(weight.numel() for part in parts for weight in (*part.parameters(), *part.buffers()))


class Held(Enum):
    """In which order the weights of a part are held: their own, oneDNN's as well, or that alone."""

    PLAIN = 1
    TWICE = 2
    ORDERED = 3

    @staticmethod
    def of(parts: Iterable[nn.Module], sole: bool) -> Held:
        """How to hold what these modules have. sole: whether nobody else needs their weights."""
        if weights_in(parts) <= HELD_TWICE:
            return Held.TWICE
        return Held.ORDERED if sole else Held.PLAIN


class Product:
    """alpha · (x @ weight.T) + bias, with the weights as they are when it is made.

    weight (out, in), bias (out,) or None. `ordered_alone`: whether it holds them in oneDNN's order
    only, so that `weight` may be given up.
    """

    @torch.no_grad()
    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        alpha: float = 1.0,
        held: Held = Held.PLAIN,
    ) -> None:
        self._bias, self._alpha = bias, alpha
        self._ordered: Tensor | None = None
        self._turned = 0  # up to how many rows are multiplied the other way round
        out, width = weight.shape
        if weight.dtype == torch.float32 and weight.device.type == 'cpu':
            self._turned = TURNED_ROWS if out > 2 * width and width <= TURNED_WIDTH else 0
        exact = alpha == 1 or weight.dtype == torch.float32  # else weights would be rounded again
        if held is not Held.PLAIN and exact and _may_order(weight):
            order = torch.ops.mkldnn._reorder_linear_weight
            self._ordered = order(weight if alpha == 1 else weight * alpha, _ORDERED_FOR)
            self._turned = min(self._turned, TURNED_ROWS_ORDERED) if held is Held.TWICE else 0
        self.ordered_alone = held is Held.ORDERED and self._ordered is not None
        self._weight = weight.new_empty(0) if self.ordered_alone else weight
        self._onednn = self._ordered is not None or _may_multiply(weight)

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(..., in) -> (..., out), added to `onto` (..., out) where that is given."""
        rows = x.numel() // x.shape[-1]
        turned = 1 < rows <= self._turned and x.dim() == 2
        if turned or not self._onednn:
            return self._by_torch(x, onto, turned)
        if self._ordered is not None:
            return _by_onednn(x, self._ordered, self._bias, onto)
        if self._alpha == 1:
            return _by_onednn(x, self._weight, self._bias, onto)
        bias = None if self._bias is None else self._bias / self._alpha
        product = _by_onednn(x, self._weight, bias, None)
        if onto is None:
            return product.mul_(self._alpha)
        return torch.add(onto, product, alpha=self._alpha)

    def _by_torch(self, x: Tensor, onto: Tensor | None, turned: bool) -> Tensor:
        weight, bias = self._weight, self._bias
        if turned:
            product = (weight @ x.t()).t().contiguous()
            if self._alpha != 1:
                product.mul_(self._alpha)
            if bias is not None:
                product.add_(bias)
        elif self._alpha == 1:
            if bias is None and onto is not None and x.dim() == 2:
                return torch.addmm(onto, x, weight.t())
            product = functional.linear(x, weight, bias)
        elif bias is None:
            product = functional.linear(x, weight).mul_(self._alpha)
        else:
            flat = torch.addmm(bias, x.flatten(0, -2), weight.t(), alpha=self._alpha)
            product = flat.view(*x.shape[:-1], -1)
        return product if onto is None else product.add_(onto)


def product_of(linear: nn.Linear, held: Held = Held.PLAIN) -> Product:
    """The product of a linear layer."""
    return taken_over(Product(linear.weight, linear.bias, held=held), linear)


def taken_over(product: Product, *parts: nn.Module) -> Product:
    """Let layers give up the weights that nobody but the product of them needs; returns that."""
    if product.ordered_alone:
        for part in parts:
            part.weight = nn.Parameter(part.weight.new_empty(0), requires_grad=False)
    return product


class Products:
    """Lets the linear layers of modules multiply as `Product` does, while it is entered.

    Not for good, since who teaches the same network needs what can be differentiated. sole: whether
    nobody does, nor needs the weights otherwise.
    """

    def __init__(self, *parts: nn.Module, sole: bool = False) -> None:
        held = Held.ORDERED if sole else Held.PLAIN
        self._products = [
            (linear, product_of(linear, held))
            for part in parts
            for linear in part.modules()
            if type(linear) is nn.Linear
            and (_may_order(linear.weight) if sole else _may_multiply(linear.weight))
        ]

    def __enter__(self) -> None:
        for linear, product in self._products:
            linear.forward = product

    def __exit__(self, *_: object) -> None:
        for linear, _product in self._products:
            del linear.forward


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, onto: Tensor | None) -> Tensor:
    multiply = torch.ops.mkldnn._linear_pointwise
    if onto is None:
        return multiply(x, weight, bias, 'none', [], '')
    return multiply.binary(x, onto, weight, bias, 'add')


def _may_multiply(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and _has_onednn(weight)


def _may_order(weight: Tensor) -> bool:
    """As `_may_multiply`; in bfloat16 only the order makes a difference."""
    if weight.dtype != torch.bfloat16:
        return _may_multiply(weight)
    supported = getattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: False)
    return _has_onednn(weight) and supported()


def _has_onednn(weight: Tensor) -> bool:
    """Its operators are not of torch's public interface: they may be absent."""
    return (
        weight.device.type == 'cpu'
        and platform.machine() in ('x86_64', 'AMD64')
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, '_linear_pointwise')
        and hasattr(torch.ops.mkldnn, '_reorder_linear_weight')
    )
