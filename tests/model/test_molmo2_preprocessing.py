# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Our preprocessing of Molmo2's images is transformers', whose resizing needs torchvision."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers.models.molmo2.image_processing_molmo2 import Molmo2ImageProcessor

from molmo_ros.model.molmo2_preprocessing import (
    Molmo2ImageTokens,
    Molmo2PreprocessorConfig,
    preprocess_molmo2,
)

TOKENS = Molmo2ImageTokens(start=1, end=2, patch=3, column=4, whole_start=5)
# (width, height), crops, rows and columns of pooled patches of the crops, image tokens
SIZES = [
    ((320, 240), 2, (14, 14), 410),
    ((640, 360), 3, (14, 23), 536),
    ((640, 480), 5, (23, 23), 752),
    ((1280, 720), 9, (23, 42), 1189),
    ((1920, 1080), 9, (23, 42), 1189),
    ((300, 2000), 9, (80, 14), 1400),
]


class WithoutTorchvision(Molmo2ImageProcessor):
    """The library's processor, its two calls into torchvision replaced by torch's."""

    def __init__(self):
        pass

    def resize(self, image, size, antialias, resample=None):
        shape = (size.height, size.width)
        return functional.interpolate(image, shape, mode='bilinear', antialias=antialias)

    def rescale_and_normalize(self, image, rescale, factor, normalize, mean, std):
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
        return (image.float() * factor - mean) / std


@pytest.mark.parametrize('size, crops, grid, tokens', SIZES)
def test_images_become_what_transformers_makes_of_them(size, crops, grid, tokens):
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    inputs = preprocess_molmo2(image, Molmo2PreprocessorConfig(), TOKENS)
    grids, pixels, pooling = WithoutTorchvision()._image_batch_to_patches_and_grids(
        torch.from_numpy(image).permute(2, 0, 1)[None],
        max_crops=8,
        overlap_margins=[4, 4],
        crop_size=378,
        resample=None,
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        image_patch_size=14,
        image_pooling_w=2,
        image_pooling_h=2,
    )
    assert inputs.grids.tolist() == grids[0][None].tolist() == [[14, 14, *grid]]
    assert torch.equal(inputs.token_pooling, pooling[0].long())
    torch.testing.assert_close(inputs.pixel_values, pixels[0], atol=1e-6, rtol=0)
    assert len(inputs.pixel_values) == crops
    assert len(inputs.token_ids) == tokens
    assert (inputs.token_ids == TOKENS.patch).sum() == len(inputs.token_pooling)


def test_the_layout_is_the_releases():
    image = np.zeros((240, 320, 3), np.uint8)
    ids = preprocess_molmo2(image, Molmo2PreprocessorConfig(), TOKENS).token_ids.tolist()
    assert ids == [5, *[3] * 196, 2, 1, *([3] * 14 + [4]) * 14, 2]


def test_a_folder_says_how_its_images_are_cropped(tmp_path):
    assert Molmo2PreprocessorConfig.from_folder(tmp_path) == Molmo2PreprocessorConfig()
    fields = {'max_crops': 24, 'size': {'height': 56, 'width': 56}, 'overlap_margins': [1, 1]}
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(fields))
    (tmp_path / 'processor_config.json').write_text('{"use_single_crop_col_tokens": true}')
    config = Molmo2PreprocessorConfig.from_folder(tmp_path)
    assert (config.max_crops, config.image_size, config.margins) == (24, 56, (1, 1))
    assert config.whole_column_tokens


def test_small_images_are_still_cropped():
    image = np.zeros((16, 20, 3), np.uint8)
    assert len(preprocess_molmo2(image, Molmo2PreprocessorConfig(), TOKENS).pixel_values) == 2
