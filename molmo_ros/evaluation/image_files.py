# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures and masks on disk, and which of a data set's are there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros import git_lfs
from molmo_ros.evaluation.samples import Image, InvalidData, Mask
from molmo_ros.grounding.image_file import UnreadableImage, decode_image


# Questions about one picture follow each other.
@lru_cache(maxsize=2)
def read_picture(path: Path) -> Image:
    """(H, W, 3) uint8 RGB, turned as its EXIF says. Raises InvalidData."""
    return decoded(_bytes(path), str(path))


def read_mask(path: Path) -> Mask:
    """(H, W): white, above 127 in any channel. Raises InvalidData."""
    data = np.frombuffer(_bytes(path), np.uint8)
    mask = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if mask is None:
        raise InvalidData(f'{path} is no picture that can be read')
    return np.asarray((mask[..., :3] > 127).any(2) if mask.ndim == 3 else mask > 127)


def decoded(data: bytes, name: str) -> Image:
    """(H, W, 3) uint8 RGB of a picture file's bytes. Raises InvalidData, which calls it `name`."""
    try:
        return decode_image(data).rgb(as_shown=True)
    except UnreadableImage as error:
        raise InvalidData(
            f'{name} is no picture that can be used: it {error}; remove it and use '
            '--skip-missing to go on without it'
        ) from error


def masks_at(masks: Sequence[Mask], size: tuple[int, int]) -> tuple[Mask, ...]:
    """The (H, W) masks of a picture at its own size, width and height."""
    return tuple(_resized(mask, size) for mask in masks)


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    if mask.shape == size[::-1]:
        return mask
    small: NDArray[Any] = mask.astype(np.uint8)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_NEAREST) > 0)


class PictureFolder:
    """The files of a folder by their names, with and without suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: dict[str, Path] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            self._paths.setdefault(path.stem, path)
            self._paths[path.name] = path

    def find(self, names: Sequence[str]) -> Path | None:
        """The file of the first name that there is one of."""
        return next((self._paths[name] for name in names if name in self._paths), None)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidData(f'{path} cannot be read ({error.strerror})') from error
    if git_lfs.is_pointer(data):
        raise InvalidData(f'{path} is {git_lfs.WHAT_TO_DO}')
    return data
