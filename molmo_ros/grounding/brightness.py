# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How bright a picture is to be shown, and whether there is anything to see in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What sensors have; a number between two belongs to the wider.
_WIDTHS = (8, 10, 12, 14, 16)
_DARK = 24
_BRIGHT_SHARE = 99.0


def bits_used(pixels: NDArray) -> int:
    """8, 10, 12, 14 or 16: the fewest that hold the largest number of an unsigned picture."""
    if pixels.dtype == np.uint8:
        return 8
    needed = int(pixels.max(initial=0)).bit_length()
    return next(width for width in _WIDTHS if width >= needed)


def eight_bits(pixels: NDArray, bits: int) -> NDArray[np.uint8]:
    """The upper 8 of `bits` bits of an unsigned picture; what is larger is white."""
    if pixels.dtype == np.uint8:
        return pixels
    if bits < 8:
        return np.minimum(pixels << np.uint16(8 - bits), 255).astype(np.uint8)
    return np.minimum(pixels >> np.uint16(bits - 8), 255).astype(np.uint8)


def dark_note(color: NDArray[np.uint8]) -> str:
    """What to say of an (H, W, 3) picture in which nothing can be seen; '' of others."""
    brightest = np.percentile(color[::4, ::4], _BRIGHT_SHARE)
    if brightest >= _DARK:
        return ''
    return (
        f'image: it is almost black, 99 % of it at most {brightest:.0f} of 255: look at the light, '
        'the exposure and the lens'
    )
