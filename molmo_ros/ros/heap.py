# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the C library keeps of memory that was freed."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
_ARENAS = 2


def few_arenas() -> None:
    """Let all threads share two heaps of glibc's, before any has one of its own.

    Each heap keeps what was freed in it: images come in a dozen threads, and as many would keep
    several each. Where the C library is another, nothing happens.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError):
        return
