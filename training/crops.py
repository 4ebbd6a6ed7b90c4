# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes as the crops that preprocessing makes of them, with what each patch shows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from molmo_ros.model.preprocessing import select_tiling, to_patches
from molmo_ros.tabletop.world import COLOURS, HELD_OUT
from training.architecture import PREPROCESSOR
from training.scenes import COLOUR_NAMES, KIND_NAMES, MAX_OBJECTS, MAX_PARTS, SceneSet

SIZE, PATCH, GRID = PREPROCESSOR.image_size, PREPROCESSOR.patch_size, PREPROCESSOR.grid
STEP = PREPROCESSOR.window_pixels
_MARGIN = PREPROCESSOR.margin_pixels
_MEAN = torch.tensor(PREPROCESSOR.mean)
_STD = torch.tensor(PREPROCESSOR.std)
_RGB = torch.arange(3)
_ORDERS = torch.tensor(list(itertools.permutations(range(3))))
_ALBEDO = torch.tensor([COLOURS[name] for name in COLOUR_NAMES])
_ALIKE = 0.35  # of albedos; red and orange are 0.44 apart
_RECOLOURED = 0.25
NEVER = torch.tensor([[(k, c) in HELD_OUT for c in COLOUR_NAMES] for k in KIND_NAMES])
CELLS = 8  # that a patch is divided into, each way, to say what is where in it


@dataclass(frozen=True)
class Tiling:
    """How pictures of one shape are cut: sizes (width, height) of the whole image in its crop and
    of what the other crops share, and the number of those down and across."""

    coarse: tuple[int, int]
    fine: tuple[int, int]
    rows: int
    columns: int

    @property
    def crops(self) -> int:
        """The whole image is the first."""
        return 1 + self.rows * self.columns

    @property
    def borders(self) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
        """Of the whole image in its crop, and of what the other crops share."""
        outer = (self.columns * STEP + _MARGIN, self.rows * STEP + _MARGIN)
        return _border(*self.coarse, (SIZE, SIZE)), _border(*self.fine, outer)

    def corner(self, crop: Any) -> tuple[Any, Any]:
        """Top and left of a crop (1 and up), or of a tensor of them."""
        return (crop - 1) // self.columns * STEP, (crop - 1) % self.columns * STEP


def tiling_of(scenes: SceneSet) -> Tiling:
    """As preprocessing cuts these pictures, and larger ones of their shape."""
    (height, width), coarse = scenes.fine.shape[1:3], scenes.coarse.shape[1:3]
    rows, columns = select_tiling(height - _MARGIN, width - _MARGIN, STEP, PREPROCESSOR.max_crops)
    return Tiling((coarse[1], coarse[0]), (width, height), rows, columns)


def _border(width: int, height: int, outer: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of a picture centred in (width, height) `outer`."""
    left, top = (outer[0] - width) // 2, (outer[1] - height) // 2
    return left, outer[0] - width - left, top, outer[1] - height - top


@dataclass(frozen=True)
class Batch:
    """B crops: patches (B, P, pixels) float32, share (B, P, MAX_OBJECTS, 1 + MAX_PARTS) of each
    patch that each part of an object covers (0: its body), cells (B, P, CELLS**2) what each cell of
    a patch shows, object * (1 + MAX_PARTS) + part or -1, which crop (B,), scene (B,), whether it is
    mirrored (B,) and the order of its channels (B, 3); tiling: of all their pictures."""

    patches: Tensor
    share: Tensor
    cells: Tensor
    crop: Tensor
    scene: Tensor
    mirrored: Tensor
    channels: Tensor
    tiling: Tiling

    @property
    def recoloured(self) -> Tensor:
        """(B,): whether colours are not those that were rendered."""
        return (self.channels != _RGB).any(-1)

    def only(self, kept: Tensor) -> Batch:
        """The patches with indices (B, K)."""
        rows = torch.arange(len(kept))[:, None]
        return replace(
            self,
            patches=self.patches[rows, kept],
            share=self.share[rows, kept],
            cells=self.cells[rows, kept],
        )


def make_batch(
    scenes: SceneSet,
    index: Tensor,
    crop: Tensor,
    mirrored: Tensor,
    jitter: bool,
    channels: Tensor | None = None,
) -> Batch:
    """Cut crop `crop[i]` (0 = whole) of scene `index[i]`, mirrored left to right if asked, its
    channels in the order `channels[i]`."""
    pictures, ids, tiling = [], [], tiling_of(scenes)
    for scene, which, mirror in zip(index.tolist(), crop.tolist(), mirrored.tolist(), strict=True):
        picture, labels = _cut(scenes, tiling, scene, which, mirror)
        pictures.append(picture)
        ids.append(labels)
    pixels = torch.stack(pictures).float() / 255
    if channels is None:
        channels = _RGB.repeat(len(index), 1)
    recoloured = (channels != _RGB).any(-1)
    order = channels[recoloured][:, None, None].expand(-1, SIZE, SIZE, -1)
    pixels[recoloured] = pixels[recoloured].gather(-1, order)
    border = torch.stack(ids) == 255
    if jitter:
        pixels = _jitter(pixels, index) * ~border[..., None]
    pixels = (pixels - _MEAN) / _STD
    seen = torch.stack(ids).where(~border, torch.tensor(0, dtype=torch.uint8)).long()
    code = torch.where(seen % 16 > 0, 1 + (seen % 16 - 1) * (1 + MAX_PARTS) + seen // 16, 0)
    share = _counts(code, 1 + MAX_OBJECTS * (1 + MAX_PARTS))[..., 1:] / PATCH**2
    return Batch(
        to_patches(pixels.permute(0, 3, 1, 2), PATCH),
        share.unflatten(-1, (MAX_OBJECTS, 1 + MAX_PARTS)),
        _cells(code) - 1,
        crop,
        index,
        mirrored,
        channels,
        tiling,
    )


def draw_channels(scenes: SceneSet, index: Tensor) -> Tensor:
    """(B, 3): an order of the channels for each scene; another than their own for `_RECOLOURED` of
    them, so that a shape is known whatever its colour. None in which a thing looks as if it had a
    colour that its kind is never trained in."""
    channels = _RGB.repeat(len(index), 1)
    for row in torch.nonzero(torch.rand(len(index)) < _RECOLOURED)[:, 0].tolist():
        scene = index[row].item()
        there = scenes.kind[scene] >= 0
        kind, colour = (
            torch.from_numpy(x[scene][there]).long() for x in (scenes.kind, scenes.colour)
        )
        order = _ORDERS[torch.randint(1, len(_ORDERS), ())]
        if not (looks_like(colour, order.expand(len(colour), 3)) & NEVER[kind]).any():
            channels[row] = order
    return channels


def looks_like(colour: Tensor, channels: Tensor) -> Tensor:
    """(N, colours): which colours things of these (N,) may be taken for when their channels are in
    the order (N, 3); their own where nothing is changed."""
    away = (_ALBEDO[colour].gather(1, channels)[:, None] - _ALBEDO).norm(dim=-1)
    return (away < _ALIKE) | (away == away.min(dim=-1, keepdim=True).values)


def _cut(
    scenes: SceneSet, tiling: Tiling, scene: int, crop: int, mirror: bool
) -> tuple[Tensor, Tensor]:
    """(SIZE, SIZE, 3) uint8 pixels and (SIZE, SIZE) uint8 ids, 255 in the border."""
    whole = crop == 0
    picture = torch.from_numpy((scenes.coarse if whole else scenes.fine)[scene])
    ids = torch.from_numpy((scenes.coarse_ids if whole else scenes.fine_ids)[scene])
    if mirror:
        picture, ids = picture.flip(1), ids.flip(1)
    border = tiling.borders[not whole]
    top, left = (0, 0) if whole else tiling.corner(crop)
    window = slice(top, top + SIZE), slice(left, left + SIZE)
    picture = functional.pad(picture, (0, 0, *border))[window]
    ids = functional.pad(ids, border, value=255)[window]
    return picture, ids


def _jitter(pixels: Tensor, index: Tensor) -> Tensor:
    """Exposure, white balance, contrast, blur and noise: a camera's moods, one for all crops of a
    scene."""
    scenes, of = index.unique(return_inverse=True)
    count = len(scenes)
    gain = 1 + 0.2 * (2 * torch.rand(count, 1, 1, 1) - 1)
    balance = 1 + 0.07 * (2 * torch.rand(count, 1, 1, 3) - 1)
    contrast = 1 + 0.2 * (2 * torch.rand(count, 1, 1, 1) - 1)
    blurred = (torch.rand(count) < 0.15)[of]
    if blurred.any():
        planes = pixels[blurred].permute(0, 3, 1, 2)
        soft = functional.avg_pool2d(planes, 3, 1, 1, count_include_pad=False)
        pixels[blurred] = soft.permute(0, 2, 3, 1)
    noise = 0.03 * torch.rand(count, 1, 1, 1)[of] * torch.randn_like(pixels)
    colour = (gain * balance)[of]
    return (((pixels - 0.5) * contrast[of] + 0.5) * colour + noise).clamp(0, 1)


def _cells(code: Tensor) -> Tensor:
    """(B, P, CELLS**2): (B, SIZE, SIZE) codes in the middle of each patch's cells."""
    step = PATCH // CELLS
    return to_patches(code[:, None, step // 2 :: step, step // 2 :: step], CELLS)


def _counts(values: Tensor, number: int) -> Tensor:
    """(B, P, number): how many pixels of each patch have each value of (B, SIZE, SIZE)."""
    patches = to_patches(values[:, None], PATCH).flatten(0, 1)
    first = torch.arange(len(patches))[:, None] * number
    counted = torch.bincount((first + patches).flatten(), minlength=len(patches) * number)
    return counted.reshape(len(values), GRID * GRID, number).float()


def in_crop(percent: Tensor, batch: Batch) -> Tensor:
    """(B, ..., 2) places in percent of the unmirrored image, as each crop sees them: percent of the
    whole image in the whole-image crop, of the crop in the others."""
    shape = (-1, *(1,) * (percent.dim() - 2))
    pictured = mirror_places(percent, batch.mirrored)
    (x, y), whole = pictured.unbind(-1), (batch.crop == 0).reshape(shape)
    top, left = (place.reshape(shape) for place in batch.tiling.corner(batch.crop))
    border, (width, height) = batch.tiling.borders[1], batch.tiling.fine
    across = x * width + 100 * (border[0] - left)
    down = y * height + 100 * (border[2] - top)
    within = torch.stack([across, down], -1) / SIZE
    return torch.where(whole[..., None], pictured, within)


def mirror_places(percent: Tensor, mirrored: Tensor) -> Tensor:
    """Places (B, ..., 2) in percent of the image, left to right where mirrored (B,)."""
    x, y = percent.unbind(-1)
    swapped = mirrored.reshape(-1, *(1,) * (x.dim() - 1))
    return torch.stack([torch.where(swapped, 100 - x, x), y], dim=-1)
