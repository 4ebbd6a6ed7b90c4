# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From an image to what transformers' Molmo2 takes, without torchvision.

The algorithm of the Molmo2 releases, as transformers' Molmo2ImageProcessor and Molmo2Processor have
it: as for Molmo a crop of the whole image, then overlapping crops at a higher resolution, but
stretched instead of letterboxed, and pooled after the crops were put together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molmo_ros.model.config import side_of, understood, without_nulls
from molmo_ros.model.fused_resize import fused_bilinear
from molmo_ros.model.preprocessing import (
    check_numbers,
    kept,
    planes,
    select_tiling,
    to_patches,
)


@dataclass(frozen=True)
class Molmo2PreprocessorConfig:
    """The numbers of preprocessor_config.json and processor_config.json.

    margins are in patches, (before, after); column_tokens and whole_column_tokens say whether rows
    of the crops, and of the whole image, end in a column token. fused: see `fused_resize`.
    """

    image_size: int = 378
    patch_size: int = 14
    max_crops: int = 8
    margins: tuple[int, int] = (4, 4)
    pool: tuple[int, int] = (2, 2)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    column_tokens: bool = True
    whole_column_tokens: bool = False
    whole_start_token: bool = True
    fused: bool = False

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size

    @property
    def window(self) -> int:
        """Patches that one crop adds, margins taken off."""
        return self.grid - sum(self.margins)

    @staticmethod
    def from_folder(folder: Path) -> Molmo2PreprocessorConfig:
        """Read both files; what they do not say is as in the releases."""
        with understood(folder / 'preprocessor_config.json'):
            fields: dict[str, Any] = {}
            for name in ('preprocessor_config.json', 'processor_config.json'):
                if (folder / name).is_file():
                    fields |= json.loads((folder / name).read_text())
            fields |= fields.get('image_processor') or {}
            # A null here means something, and nowhere else.
            whole_columns = fields.get('use_single_crop_col_tokens', False)
            fields = without_nulls(fields)
            columns = fields.get('image_use_col_tokens', True)
            config = Molmo2PreprocessorConfig(
                image_size=side_of(
                    fields.get('size', 378), f'a crop in {folder / "preprocessor_config.json"}'
                ),
                patch_size=fields.get('patch_size', 14),
                max_crops=fields.get('max_crops', 8),
                margins=tuple(fields.get('overlap_margins', (4, 4))),
                pool=_pair(fields.get('pooling_size', (2, 2))),
                mean=tuple(fields.get('image_mean', (0.5, 0.5, 0.5))),
                std=tuple(fields.get('image_std', (0.5, 0.5, 0.5))),
                column_tokens=columns,
                whole_column_tokens=columns if whole_columns is None else whole_columns,
                whole_start_token=fields.get('use_single_crop_start_token', True),
            )
            check_numbers(config)
        return config


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


@dataclass(frozen=True)
class Molmo2ImageTokens:
    """The ids of the tokens that stand for an image; `whole_start` begins the whole image.

    whole_patch: a patch of the whole image, where that has an id of its own (MolmoPoint).
    """

    start: int
    end: int
    patch: int
    column: int
    whole_start: int
    whole_patch: int | None = None


@dataclass(frozen=True)
class Molmo2ImageInputs:
    """An image, ready for the model.

    pixel_values: (n, patches, patch_size² * 3) float32, the first crop is the whole image.
    token_pooling: (pooled patches, patches of a window) int64, which patches each one pools,
        counted through all crops; -1 where a window has fewer.
    grids: (1, 4) int64, rows and columns of pooled patches of the whole image, then of the crops.
    token_ids: (tokens,) int64.
    raster: (rows, columns) int64, the patches that the crops show the image in, counted as in
        token_pooling.
    """

    pixel_values: Tensor
    token_pooling: Tensor
    grids: Tensor
    token_ids: Tensor
    raster: Tensor


def preprocess_molmo2(
    image: NDArray[np.uint8],
    config: Molmo2PreprocessorConfig,
    tokens: Molmo2ImageTokens,
    device: torch.device | str = 'cpu',
) -> Molmo2ImageInputs:
    """Crop an RGB image of shape (H, W, 3) as the Molmo2 releases do."""
    pixels = planes(image, device)
    margin, window = sum(config.margins) * config.patch_size, config.window * config.patch_size
    height, width = (side - margin for side in image.shape[:2])
    tiling = select_tiling(height, width, window, config.max_crops)
    whole = _stretch(pixels, (config.image_size, config.image_size), config)
    canvas = _stretch(pixels, tuple(count * window + margin for count in tiling), config)
    windows = canvas.unfold(1, config.image_size, window).unfold(2, config.image_size, window)
    crops = torch.cat([whole[None], windows.flatten(1, 2).transpose(0, 1)])
    of_whole = _pooled(torch.arange(config.grid**2).view(config.grid, -1), config)
    raster = _stitched(tiling, config)
    of_crops = _pooled(raster, config)
    return Molmo2ImageInputs(
        to_patches(crops, config.patch_size),
        torch.cat([of_whole.flatten(0, 1), of_crops.flatten(0, 1)]).to(device),
        torch.tensor([[*of_whole.shape[:2], *of_crops.shape[:2]]], device=device),
        _token_ids(of_whole.shape, of_crops.shape, config, tokens).to(device),
        raster,
    )


def _stretch(pixels: Tensor, size: tuple[int, ...], config: Molmo2PreprocessorConfig) -> Tensor:
    """Resize (3, H, W) bytes without regard to proportions, round, normalise."""
    if config.fused:
        resized = fused_bilinear(pixels, size)
    else:
        resized = functional.interpolate(pixels[None], size, mode='bilinear', align_corners=False)[
            0
        ]
    mean, std = (
        torch.tensor(values, device=pixels.device).view(3, 1, 1) * 255
        for values in (config.mean, config.std)
    )
    return (resized.round().clamp(0, 255) - mean) / std


def _stitched(tiling: tuple[int, int], config: Molmo2PreprocessorConfig) -> Tensor:
    """The raster of the crops' patches, each from the crop that has it nearest its middle.

    (rows, columns) of numbers that count patches through all crops, the whole image's first.
    """
    grid, margins = config.grid, config.margins
    numbers = torch.arange(tiling[0] * tiling[1] * grid**2).view(*tiling, grid, grid) + grid**2

    return torch.cat(
        [
            torch.cat(
                [
                    numbers[
                        row,
                        column,
                        kept(row, tiling[0], grid, margins),
                        kept(column, tiling[1], grid, margins),
                    ]
                    for column in range(tiling[1])
                ],
                dim=1,
            )
            for row in range(tiling[0])
        ]
    )


def _pooled(raster: Tensor, config: Molmo2PreprocessorConfig) -> Tensor:
    """(h, w) -> (rows, columns, patches of a window); -1 fills windows over the edge."""
    rows, columns = config.pool
    below, right = -raster.shape[0] % rows, -raster.shape[1] % columns
    border = (right // 2, right - right // 2, below // 2, below - below // 2)
    padded = functional.pad(raster, border, value=-1)
    return padded.unfold(0, rows, rows).unfold(1, columns, columns).flatten(2)


def _token_ids(
    whole: torch.Size,
    crops: torch.Size,
    config: Molmo2PreprocessorConfig,
    tokens: Molmo2ImageTokens,
) -> Tensor:
    def raster(size: torch.Size, patch: int, columns: bool) -> list[int]:
        return ([patch] * size[1] + [tokens.column] * columns) * size[0]

    start = tokens.whole_start if config.whole_start_token else tokens.start
    of_whole = tokens.patch if tokens.whole_patch is None else tokens.whole_patch
    ids = [start, *raster(whole, of_whole, config.whole_column_tokens), tokens.end]
    ids += [tokens.start, *raster(crops, tokens.patch, config.column_tokens), tokens.end]
    return torch.tensor(ids)
