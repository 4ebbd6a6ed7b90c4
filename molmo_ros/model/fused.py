# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Projections of the same input as one matrix product."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from molmo_ros.model.products import Held, Product

Projection = Callable[[Tensor], Tensor]


@torch.no_grad()
def fuse(*parts: nn.Module, held: Held = Held.PLAIN) -> Projection:
    """Return a function that gives what `parts` give, side by side; held: see `Product`.

    Plain linear layers become views of one matrix, so nothing is held twice. Others (quantised
    ones) are called one after the other.
    """
    if any(type(part) is not nn.Linear for part in parts):
        return lambda x: torch.cat([part(x) for part in parts], dim=-1)
    weight = _join([part.weight for part in parts])
    bias = None if parts[0].bias is None else _join([part.bias for part in parts])
    return _taken_over(Product(weight, bias, held=held), *parts)


def product_of(linear: nn.Linear, held: Held = Held.PLAIN) -> Product:
    """As `fuse`, of one plain linear layer."""
    return _taken_over(Product(linear.weight, linear.bias, held=held), linear)


def _taken_over(product: Product, *parts: nn.Module) -> Product:
    """Let layers give up the weights that nobody but the product needs."""
    if product.ordered_alone:
        for part in parts:
            part.weight = nn.Parameter(part.weight.new_empty(0), requires_grad=False)
    return product


def _join(parameters: list[nn.Parameter]) -> Tensor:
    joined = torch.cat([parameter.data for parameter in parameters])
    for parameter, view in zip(
        parameters, joined.split([len(parameter) for parameter in parameters]), strict=True
    ):
        parameter.data = view
    return joined
