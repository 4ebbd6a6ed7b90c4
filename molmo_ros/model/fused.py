# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Projections of the same input as one matrix product."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from molmo_ros.model.products import Held, Product, taken_over

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
    return taken_over(Product(weight, bias, held=held), *parts)


def _join(parameters: list[nn.Parameter]) -> Tensor:
    joined = torch.cat([parameter.data for parameter in parameters])
    for parameter, view in zip(
        parameters, joined.split([len(parameter) for parameter in parameters]), strict=True
    ):
        parameter.data = view
    return joined
