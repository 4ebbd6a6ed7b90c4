# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bilinear resizing that rounds alike on every machine: with fused multiply-adds.

Of a picture's pixels some in a thousand fall just between two levels, and which one they become is
a matter of rounding, which torch leaves to the compiler and the processor. The reference's numbers
for MolmoPoint were made with products fused to the sum that follows; so it is done here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fused_bilinear(pixels: Tensor, size: tuple[int, ...]) -> Tensor:
    """(3, H, W) float32 -> (3, *size) float32, as interpolate(align_corners=False)."""
    rows, columns = (_weights(n, to, pixels) for n, to in zip(pixels.shape[1:], size, strict=True))
    return _mixed(_mixed(pixels, *columns).mT, *rows).mT


def _mixed(pixels: Tensor, first: Tensor, second: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """near * pixels[..., first] + far * pixels[..., second], the first product unrounded."""
    rest = far * pixels[..., second]
    # In float64 the product of two float32 is exact.
    return (near.double() * pixels[..., first].double() + rest.double()).float()


def _weights(count: int, to: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which two of `count` pixels each of `to` is between, and their shares."""
    scale = torch.tensor(count, dtype=torch.float32) / torch.tensor(to, dtype=torch.float32)
    places = (scale * (torch.arange(to, dtype=torch.float32) + 0.5) - 0.5).clamp(min=0)
    first = places.long()
    far = places - first.float()
    second = (first + 1).clamp(max=count - 1)
    first, second, near, far = (x.to(like.device) for x in (first, second, 1 - far, far))
    return first, second, near, far
