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


def frame_key(image: NDArray[np.uint8]) -> FrameKey:
    """What tells an image from others: its shape and a digest of its bytes."""
    pixels = np.ascontiguousarray(image)
    return image.shape, hashlib.blake2b(pixels.data, digest_size=16).digest()


def same_pixels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two images are the same byte for byte; a tenth of what a digest of one takes."""
    if one is other:
        return True
    if one.shape != other.shape:
        return False
    flat, other_flat = (np.ascontiguousarray(image).reshape(-1) for image in (one, other))
    words = flat.size // 8 * 8
    return np.array_equal(flat[words:], other_flat[words:]) and np.array_equal(
        flat[:words].view(np.uint64), other_flat[:words].view(np.uint64)
    )


class FrameKeys:
    """Keys of images. That of the last one is known by comparing, without a digest."""

    def __init__(self) -> None:
        self._last: tuple[NDArray[np.uint8], FrameKey] | None = None

    def of(self, image: NDArray[np.uint8]) -> FrameKey:
        """The key of an image."""
        if self._last is not None and same_pixels(self._last[0], image):
            return self._last[1]
        key = frame_key(image)
        # A copy: who asks may write the next image into the same array.
        self._last = image.copy(), key
        return key


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
