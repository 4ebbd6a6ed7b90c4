# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From an image to what Molmo's vision encoder and decoder take.

The algorithm of the September 2024 releases: one crop of the whole image, then overlapping crops at
a higher resolution, each a square of `image_size` pixels; overlaps are dropped after pooling, so
that the tokens of the crops form one raster of the image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molmo_ros.model.config import side_of, understood, without_nulls

NOWHERE = -100  # image_input_idx of a pooled patch that overlaps another crop's

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PreprocessorConfig:
    """The numbers of preprocessor_config.json; margins are in patches, (before, after)."""

    image_size: int = 336
    patch_size: int = 14
    max_crops: int = 12
    margins: tuple[int, int] = (4, 4)
    pool: int = 2
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @property
    def margin_pixels(self) -> int:
        return sum(self.margins) * self.patch_size

    @property
    def window_pixels(self) -> int:
        """What one crop adds to the raster, margins taken off."""
        return self.image_size - self.margin_pixels

    @staticmethod
    def from_folder(folder: Path) -> PreprocessorConfig:
        """Read preprocessor_config.json; a folder without one has the releases' values."""
        path = folder / 'preprocessor_config.json'
        if not path.is_file():
            return PreprocessorConfig()
        with understood(path):
            fields = without_nulls(json.loads(path.read_text()))
            before, after = fields.get('overlap_margins', (4, 4))
            config = PreprocessorConfig(
                image_size=side_of(fields.get('base_image_input_size', 336), f'a crop in {path}'),
                patch_size=fields.get('image_patch_size', 14),
                max_crops=fields.get('max_crops', 12),
                margins=(before, after),
                mean=tuple(fields.get('image_mean', CLIP_MEAN)),
                std=tuple(fields.get('image_std', CLIP_STD)),
            )
            check_numbers(config)
        return config


class _Numbers(Protocol):
    """What both generations' preprocessors go by."""

    @property
    def image_size(self) -> int: ...
    @property
    def patch_size(self) -> int: ...
    @property
    def max_crops(self) -> int: ...
    @property
    def margins(self) -> tuple[int, ...]: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


def check_numbers(config: _Numbers) -> None:
    """Raise ValueError for numbers that no image can be cut by."""
    if not 0 < config.patch_size <= config.image_size or config.image_size % config.patch_size:
        raise ValueError(f'crops of {config.image_size} pixels, patches of {config.patch_size}')
    if config.max_crops < 1:
        raise ValueError(f'max_crops is {config.max_crops}')
    grid = config.image_size // config.patch_size
    if len(config.margins) != 2 or min(config.margins) < 0 or sum(config.margins) >= grid:
        raise ValueError(f'overlap_margins are {config.margins} of {grid} patches')
    for name, numbers in (('image_mean', config.mean), ('image_std', config.std)):
        whole = all(isinstance(one, int | float) and abs(one) < 1e6 for one in numbers)
        if len(numbers) != 3 or not whole or (name == 'image_std' and min(numbers) <= 0):
            raise ValueError(f'{name} is {numbers}')


@dataclass(frozen=True)
class ImageTokens:
    """The ids of the tokens that stand for an image, read from a checkpoint's tokenizer."""

    start: int
    end: int
    patch: int
    column: int


@dataclass(frozen=True)
class ImageInputs:
    """An image, ready for the model.

    crops: (n, patches, patch_size² * 3) float32, normalised, pixels of a patch in (row, column,
        channel) order; the first crop is the whole image.
    masks: (n, patches) float32, the share of each patch that is image rather than border. As in the
        releases it is shifted by one crop and ends in a row of -1: the weights expect it so.
    input_idx: (n, pooled patches) int64, the place of each pooled patch among `token_ids`, or
        NOWHERE.
    token_ids: (tokens,) int64, without a leading BOS.
    """

    crops: Tensor
    masks: Tensor
    input_idx: Tensor
    token_ids: Tensor

    def after(self, bos: int) -> tuple[Tensor, Tensor]:
        """What the decoder reads: the ids after a BOS, and `input_idx` counted from there.

        The patch-index rule: a place moves on by the BOS, and what has none keeps its NOWHERE.
        """
        ids = torch.cat([self.token_ids.new_tensor([bos]), self.token_ids])
        return ids, torch.where(self.input_idx < 0, self.input_idx, self.input_idx + 1)


def select_tiling(height: int, width: int, window: int, max_crops: int) -> tuple[int, int]:
    """Choose (rows, columns) of crops: the fewest that need no shrinking, else the sharpest.

    height and width are without the margins; where a side is shorter than those, and so below 0,
    one crop it is, as in the reference.
    """
    tilings = [
        (rows, columns)
        for rows in range(1, max_crops + 1)
        for columns in range(1, max_crops + 1)
        if rows * columns <= max_crops
    ]
    tilings.sort(key=lambda tiling: (tiling[0] * tiling[1], tiling[0]))
    # float32 as in the reference: ties are decided by its rounding.
    sizes = np.array(tilings, dtype=np.float32) * np.float32(window)
    original = np.array([height, width], dtype=np.float32)
    with np.errstate(divide='ignore'):
        scales = (sizes / original).min(axis=1)
    if np.all(scales < 1):
        best = int(np.argmax(scales))
    else:
        best = int(np.argmin(np.where(scales < 1, np.float32(np.inf), scales)))
    return tilings[best]


def preprocess(
    image: NDArray[np.uint8],
    config: PreprocessorConfig,
    tokens: ImageTokens,
    device: torch.device | str = 'cpu',
) -> ImageInputs:
    """Crop an RGB image of shape (H, W, 3) as the releases do; H and W at least 2.

    The pixels go to `device` as bytes and are resized there.
    """
    pixels = planes(image, device).div_(255)
    height, width = image.shape[:2]
    tiling = select_tiling(
        height - config.margin_pixels,
        width - config.margin_pixels,
        config.window_pixels,
        config.max_crops,
    )
    whole, _ = _letterbox(pixels, (config.image_size, config.image_size))
    canvas, canvas_mask = _letterbox(
        pixels,
        tuple(count * config.window_pixels + config.margin_pixels for count in tiling),
    )
    mean = torch.tensor(config.mean, device=device).view(3, 1, 1)
    std = torch.tensor(config.std, device=device).view(3, 1, 1)
    # Colours innermost before crops overlap, so that patches are copied in whole rows.
    whole, canvas = (
        ((pixels - mean) / std).permute(1, 2, 0).contiguous().permute(2, 0, 1)
        for pixels in (whole, canvas)
    )
    crops = torch.cat(
        [
            to_patches(window[None], config.patch_size)
            for window in (whole, *_windows(canvas, tiling, config))
        ]
    )
    shown = to_patches(torch.stack(_windows(canvas_mask, tiling, config)), config.patch_size)
    masks = functional.pad(shown.mean(dim=2), (0, 0, 0, 1), value=-1)
    grids = _token_grids(tiling, config)
    return ImageInputs(
        crops,
        masks,
        _input_idx(tiling, config).to(device),
        _token_ids(grids, tokens).to(device),
    )


def planes(image: NDArray[np.uint8], device: torch.device | str) -> Tensor:
    """(H, W, 3) bytes -> (3, H, W) float32 on a device; a plane a colour, which resizing is
    fastest with."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
    return pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format)


def _letterbox(pixels: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Fit (3, H, W) pixels into `size`, centred on black; also a (1, h, w) mask of the image."""
    height, width = pixels.shape[1:]
    ratios = np.array(size, dtype=np.float32) / np.array([height, width], dtype=np.float32)
    scale = np.float32(ratios.min())
    scaled = tuple(max(int(np.float32(side) * scale), 1) for side in (height, width))
    resized = functional.interpolate(
        pixels[None], scaled, mode='bilinear', antialias=True, align_corners=False
    )[0].clamp(0, 1)
    top, left = ((outer - inner) // 2 for outer, inner in zip(size, scaled, strict=True))
    border = (left, size[1] - scaled[1] - left, top, size[0] - scaled[0] - top)
    mask = functional.pad(torch.ones_like(resized[:1]), border)
    return functional.pad(resized, border), mask


def _windows(canvas: Tensor, tiling: tuple[int, int], config: PreprocessorConfig) -> list[Tensor]:
    step, size = config.window_pixels, config.image_size
    return [
        canvas[:, row * step : row * step + size, column * step : column * step + size]
        for row in range(tiling[0])
        for column in range(tiling[1])
    ]


def to_patches(crops: Tensor, patch: int) -> Tensor:
    """(n, c, h, w) -> (n, patches, patch * patch * c).

    The order of patches: row by row, and in each its pixels row by row, channels last.
    """
    count, channels = crops.shape[:2]
    split = crops.unflatten(2, (-1, patch)).unflatten(4, (-1, patch))
    return split.permute(0, 2, 4, 3, 5, 1).reshape(count, -1, patch * patch * channels)


def kept(index: int, count: int, side: int, margins: tuple[int, int]) -> slice:
    """Which rows (or columns) of crop `index` of `count` in line stand for the image.

    The rule of overlaps: each crop gives up its margins to its neighbours, and at the image's edge
    there is none. side, margins: in the same unit, patches or pooled ones.
    """
    before, after = margins
    return slice(before if index else 0, side if index == count - 1 else side - after)


def _token_grids(
    tiling: tuple[int, int], config: PreprocessorConfig
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(rows, columns) of pooled patches: of the whole image, and of the stitched crops."""
    side = config.grid // config.pool
    window = (config.grid - sum(config.margins)) // config.pool
    overlap = sum(config.margins) // config.pool
    return (side, side), (tiling[0] * window + overlap, tiling[1] * window + overlap)


def _token_ids(grids: tuple[tuple[int, int], ...], tokens: ImageTokens) -> Tensor:
    ids: list[int] = []
    for rows, columns in grids:
        ids += [tokens.start]
        ids += ([tokens.patch] * columns + [tokens.column]) * rows
        ids += [tokens.end]
    return torch.tensor(ids)


def _input_idx(tiling: tuple[int, int], config: PreprocessorConfig) -> Tensor:
    """Where each pooled patch of each crop stands among the image tokens."""
    (side, _), (_, columns) = _token_grids(tiling, config)
    before, after = (margin // config.pool for margin in config.margins)
    margins, window = (before, after), side - before - after
    cell = torch.arange(side)
    whole = 1 + cell[:, None] * (side + 1) + cell
    raster_start = 1 + side * (side + 1) + 1 + 1

    crops = [whole]
    for row in range(tiling[0]):
        for column in range(tiling[1]):
            y, x = row * window + cell, column * window + cell
            place = raster_start + y[:, None] * (columns + 1) + x
            rows, across = (
                kept(row, tiling[0], side, margins),
                kept(column, tiling[1], side, margins),
            )
            shown = torch.full_like(place, NOWHERE)
            shown[rows, across] = place[rows, across]
            crops.append(shown)
    return torch.stack(crops).reshape(len(crops), -1)
