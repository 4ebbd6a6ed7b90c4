# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images that have been seen, as the decoder remembers them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FrameKey = tuple[tuple[int, ...], bytes]


_WORDS = 4096  # of eight bytes, which are added up at once
# Drawn anew in each process, so that nobody can make two images with one key.
_WEIGHTS = 2 * np.random.default_rng().integers(0, 1 << 63, _WORDS, dtype=np.uint64) + np.uint64(1)
_ROWS = 16  # some of them fit into a core's cache


def frame_key(image: NDArray[np.uint8]) -> FrameKey:
    """What tells an image from others within this process: its shape and a digest of its bytes.

    A sum with random odd weights, modulo 2^64, of every 4,096 words, and of their upper halves,
    whose changes would be lost in a product's upper bits; then a digest of the sums. Two images
    that differ have one key with a likelihood of at most 2^-32. It takes a quarter of the time
    that a digest of all bytes does.
    """
    pixels = np.ascontiguousarray(image).reshape(-1)
    whole = pixels.size // (8 * _WORDS) * 8 * _WORDS
    rows = pixels[:whole].view(np.uint64).reshape(-1, _WORDS)
    digest = hashlib.blake2b(digest_size=16)
    for begin in range(0, len(rows), _ROWS):
        some = rows[begin : begin + _ROWS]
        digest.update((some @ _WEIGHTS).data)
        digest.update(((some >> np.uint64(32)) @ _WEIGHTS).data)
    digest.update(pixels[whole:].data)
    return image.shape, digest.digest()


def same_pixels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two images are the same byte for byte."""
    if one is other:
        return True
    if one.shape != other.shape:
        return False
    flat, other_flat = (np.ascontiguousarray(image).reshape(-1) for image in (one, other))
    words = flat.size // 8 * 8
    return np.array_equal(flat[words:], other_flat[words:]) and np.array_equal(
        flat[:words].view(np.uint64), other_flat[:words].view(np.uint64)
    )


class Kept(Protocol):
    """What a decoder remembers of an image: a tensor, or more."""

    @property
    def nbytes(self) -> int: ...


class FrameCache:
    """Keys and values of the newest images, dropped oldest first; bounded in number and bytes."""

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self._frames: OrderedDict[FrameKey, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def nbytes(self) -> int:
        return sum(kept.nbytes for kept in self._frames.values())

    def get(self, key: FrameKey) -> Any:
        """What was kept under a key; None where nothing is."""
        if key in self._frames:
            self._frames.move_to_end(key)
        return self._frames.get(key)

    def put(self, key: FrameKey, kept: Kept) -> None:
        """Keep `kept`, unless it alone is too large."""
        self._frames[key] = kept
        self._frames.move_to_end(key)
        while self._frames and (
            len(self._frames) > self._max_frames or self.nbytes > self._max_bytes
        ):
            self._frames.popitem(last=False)
