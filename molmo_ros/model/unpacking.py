# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Products with packed weights on a CPU, a part of the matrix at a time.

A whole matrix, unpacked anew in each pass, is new memory each time: to get that takes longer than
the product. A part stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_PART = 4 << 20  # bytes of unpacked weights
STEP = 64  # rows: after so many, blocks of 64 weights end, however long a row is


def by_parts(
    x: Tensor, rows: int, unpacked: Callable[[int, int], Tensor], bias: Tensor | None = None
) -> Tensor:
    """x (..., in) times a matrix (rows, in), of which `unpacked` gives rows: (..., rows)."""
    size, parts = rows_of_part(x), []
    for begin in range(0, rows, size):
        end = min(begin + size, rows)
        of_part = None if bias is None else bias[begin:end]
        parts.append(functional.linear(x, unpacked(begin, end), of_part))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def rows_of_part(x: Tensor) -> int:
    """How many rows of a matrix to unpack at a time; x is read anew for each part."""
    rows = max(_PART, x.nbytes) // (x.shape[-1] * x.itemsize)
    return max(rows // STEP, 1) * STEP
