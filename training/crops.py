# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes as the crops that preprocessing makes of them, with what each patch shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.architecture import PREPROCESSOR
from training.scenes import MAX_OBJECTS, SceneSet

SIZE, PATCH, GRID = PREPROCESSOR.image_size, PREPROCESSOR.patch_size, PREPROCESSOR.grid
STEP = PREPROCESSOR.window_pixels
CROPS = 3  # the whole image, and two side by side: what a 4:3 image gives with max_crops = 2
_COARSE_BORDER = (0, 0, 24, 24)  # left, right, top, bottom of a 192 x 144 picture in 192 x 192
_FINE_BORDER = (32, 32, 0, 0)  # of a 256 x 192 picture in 320 x 192
_MEAN = torch.tensor(PREPROCESSOR.mean)
_STD = torch.tensor(PREPROCESSOR.std)


@dataclass(frozen=True)
class Batch:
    """B crops: patches (B, P, pixels) float32, share (B, P, MAX_OBJECTS) of each patch that an
    object covers, which crop (B,), scene (B,) and whether it is mirrored (B,)."""

    patches: Tensor
    share: Tensor
    crop: Tensor
    scene: Tensor
    mirrored: Tensor


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
    objects = torch.stack(ids).where(~border, torch.tensor(0, dtype=torch.uint8)).long()
    return Batch(_to_patches(pixels), _share(objects), crop, index, mirrored)


def _cut(scenes: SceneSet, scene: int, crop: int, mirror: bool) -> tuple[Tensor, Tensor]:
    """(SIZE, SIZE, 3) uint8 pixels and (SIZE, SIZE) uint8 ids, 255 in the border."""
    whole = crop == 0
    picture = torch.from_numpy((scenes.coarse if whole else scenes.fine)[scene])
    ids = torch.from_numpy((scenes.coarse_ids if whole else scenes.fine_ids)[scene])
    if mirror:
        picture, ids = picture.flip(1), ids.flip(1)
    border = _COARSE_BORDER if whole else _FINE_BORDER
    left = 0 if whole else (crop - 1) * STEP
    picture = functional.pad(picture, (0, 0, *border))[:, left : left + SIZE]
    ids = functional.pad(ids, border, value=255)[:, left : left + SIZE]
    return picture, ids


def _jitter(pixels: Tensor) -> Tensor:
    """Exposure, white balance, contrast and a little noise: a camera's moods."""
    count = len(pixels)
    gain = 1 + 0.12 * (2 * torch.rand(count, 1, 1, 1) - 1)
    balance = 1 + 0.05 * (2 * torch.rand(count, 1, 1, 3) - 1)
    contrast = 1 + 0.15 * (2 * torch.rand(count, 1, 1, 1) - 1)
    noise = 0.015 * torch.randn_like(pixels)
    return (((pixels - 0.5) * contrast + 0.5) * gain * balance + noise).clamp(0, 1)


def _to_patches(pixels: Tensor) -> Tensor:
    split = pixels.reshape(-1, GRID, PATCH, GRID, PATCH, 3)
    return split.transpose(2, 3).reshape(len(pixels), GRID * GRID, -1)


def _share(ids: Tensor) -> Tensor:
    one_hot = functional.one_hot(ids, MAX_OBJECTS + 1)[..., 1:].float()
    split = one_hot.reshape(-1, GRID, PATCH, GRID, PATCH, MAX_OBJECTS)
    return split.mean(dim=(2, 4)).reshape(len(ids), GRID * GRID, MAX_OBJECTS)


def targets_in_crop(scenes: SceneSet, batch: Batch) -> Tensor:
    """(B, MAX_OBJECTS, 2): where to point, percent of the whole image, or of a smaller crop."""
    target = torch.from_numpy(scenes.target)[batch.scene].clone()
    target[..., 0] = torch.where(batch.mirrored[:, None], 100 - target[..., 0], target[..., 0])
    left = 32 - (batch.crop - 1) * STEP
    in_crop = torch.stack(
        [(target[..., 0] * 2.56 + left[:, None]) / SIZE * 100, target[..., 1]], dim=-1
    )
    return torch.where((batch.crop == 0)[:, None, None], target, in_crop)
