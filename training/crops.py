# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes as the crops that preprocessing makes of them, with what each patch shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.architecture import PREPROCESSOR
from training.scenes import COARSE_SIZE, FINE_SIZE, MAX_OBJECTS, MAX_PARTS, SceneSet

SIZE, PATCH, GRID = PREPROCESSOR.image_size, PREPROCESSOR.patch_size, PREPROCESSOR.grid
STEP = PREPROCESSOR.window_pixels
ROWS, COLUMNS = 2, 3  # of crops: what a 4:3 image gives with max_crops = 6
CROPS = 1 + ROWS * COLUMNS  # the whole image first
_MARGIN = PREPROCESSOR.margin_pixels


def _border(width: int, height: int, outer: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of a picture centred in (width, height) `outer`."""
    left, top = (outer[0] - width) // 2, (outer[1] - height) // 2
    return left, outer[0] - width - left, top, outer[1] - height - top


_COARSE_BORDER = _border(*COARSE_SIZE, (SIZE, SIZE))
_FINE_BORDER = _border(*FINE_SIZE, (COLUMNS * STEP + _MARGIN, ROWS * STEP + _MARGIN))
_MEAN = torch.tensor(PREPROCESSOR.mean)
_STD = torch.tensor(PREPROCESSOR.std)


@dataclass(frozen=True)
class Batch:
    """B crops: patches (B, P, pixels) float32, share (B, P, MAX_OBJECTS, 1 + MAX_PARTS) of each
    patch that each part of an object covers (0: its body), which crop (B,), scene (B,) and whether
    it is mirrored (B,)."""

    patches: Tensor
    share: Tensor
    crop: Tensor
    scene: Tensor
    mirrored: Tensor

    def only(self, kept: Tensor) -> Batch:
        """The patches with indices (B, K)."""
        rows = torch.arange(len(kept))[:, None]
        return replace(
            self,
            patches=self.patches[rows, kept],
            share=self.share[rows, kept],
        )


def make_batch(
    scenes: SceneSet, index: Tensor, crop: Tensor, mirrored: Tensor, jitter: bool
) -> Batch:
    """Cut crop `crop[i]` (0 = whole) of scene `index[i]`, mirrored left to right if asked."""
    pictures, ids = [], []
    for scene, which, mirror in zip(index.tolist(), crop.tolist(), mirrored.tolist(), strict=True):
        picture, labels = _cut(scenes, scene, which, mirror)
        pictures.append(picture)
        ids.append(labels)
    pixels = torch.stack(pictures).float() / 255
    border = torch.stack(ids) == 255
    if jitter:
        pixels = _jitter(pixels) * ~border[..., None]
    pixels = (pixels - _MEAN) / _STD
    seen = torch.stack(ids).where(~border, torch.tensor(0, dtype=torch.uint8)).long()
    code = torch.where(seen % 16 > 0, 1 + (seen % 16 - 1) * (1 + MAX_PARTS) + seen // 16, 0)
    share = _counts(code, 1 + MAX_OBJECTS * (1 + MAX_PARTS))[..., 1:] / PATCH**2
    return Batch(
        _to_patches(pixels),
        share.unflatten(-1, (MAX_OBJECTS, 1 + MAX_PARTS)),
        crop,
        index,
        mirrored,
    )


def _cut(scenes: SceneSet, scene: int, crop: int, mirror: bool) -> tuple[Tensor, Tensor]:
    """(SIZE, SIZE, 3) uint8 pixels and (SIZE, SIZE) uint8 ids, 255 in the border."""
    whole = crop == 0
    picture = torch.from_numpy((scenes.coarse if whole else scenes.fine)[scene])
    ids = torch.from_numpy((scenes.coarse_ids if whole else scenes.fine_ids)[scene])
    if mirror:
        picture, ids = picture.flip(1), ids.flip(1)
    border = _COARSE_BORDER if whole else _FINE_BORDER
    top, left = (0, 0) if whole else _corner(crop)
    window = slice(top, top + SIZE), slice(left, left + SIZE)
    picture = functional.pad(picture, (0, 0, *border))[window]
    ids = functional.pad(ids, border, value=255)[window]
    return picture, ids


def _corner(crop: Any) -> tuple[Any, Any]:
    """Top and left of a crop (1 and up), or of a tensor of them."""
    return (crop - 1) // COLUMNS * STEP, (crop - 1) % COLUMNS * STEP


def _jitter(pixels: Tensor) -> Tensor:
    """Exposure, white balance, contrast, blur and noise: a camera's moods."""
    count = len(pixels)
    gain = 1 + 0.2 * (2 * torch.rand(count, 1, 1, 1) - 1)
    balance = 1 + 0.07 * (2 * torch.rand(count, 1, 1, 3) - 1)
    contrast = 1 + 0.2 * (2 * torch.rand(count, 1, 1, 1) - 1)
    blurred = torch.rand(count) < 0.15
    if blurred.any():
        planes = pixels[blurred].permute(0, 3, 1, 2)
        soft = functional.avg_pool2d(planes, 3, 1, 1, count_include_pad=False)
        pixels[blurred] = soft.permute(0, 2, 3, 1)
    noise = 0.03 * torch.rand(count, 1, 1, 1) * torch.randn_like(pixels)
    return (((pixels - 0.5) * contrast + 0.5) * gain * balance + noise).clamp(0, 1)


def _to_patches(pixels: Tensor) -> Tensor:
    split = pixels.reshape(-1, GRID, PATCH, GRID, PATCH, 3)
    return split.transpose(2, 3).reshape(len(pixels), GRID * GRID, -1)


def _counts(values: Tensor, number: int) -> Tensor:
    """(B, P, number): how many pixels of each patch have each value of (B, SIZE, SIZE)."""
    patch = torch.arange(SIZE) // PATCH
    place = torch.arange(len(values))[:, None, None] * GRID**2 + patch[:, None] * GRID + patch
    counted = torch.bincount(
        (place * number + values).flatten(), minlength=len(values) * GRID**2 * number
    )
    return counted.reshape(len(values), GRID * GRID, number).float()


def in_crop(percent: Tensor, batch: Batch) -> Tensor:
    """(B, ..., 2) places in percent of the unmirrored image, as each crop sees them: percent of the
    whole image in the whole-image crop, of the crop in the others."""
    shape = (-1, *(1,) * (percent.dim() - 2))
    x = torch.where(batch.mirrored.reshape(shape), 100 - percent[..., 0], percent[..., 0])
    y, whole = percent[..., 1], (batch.crop == 0).reshape(shape)
    top, left = (place.reshape(shape) for place in _corner(batch.crop))
    across = x * FINE_SIZE[0] + 100 * (_FINE_BORDER[0] - left)
    down = y * FINE_SIZE[1] + 100 * (_FINE_BORDER[2] - top)
    within = torch.stack([across, down], -1) / SIZE
    return torch.where(whole[..., None], torch.stack([x, y], -1), within)
