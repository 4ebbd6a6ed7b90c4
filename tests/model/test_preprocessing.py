# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images become the tokens, places, masks and pixels that the reference makes of them."""

import json
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from molmo_ros.model.preprocessing import ImageTokens, PreprocessorConfig, preprocess

ROWS = json.loads((Path(__file__).parent / 'goldens' / 'preprocessing.json').read_text())


@cache
def waves(width, height, seed):
    """The image that the row was computed for: six waves a channel, stretched to 0..255."""
    rng = np.random.default_rng(seed)
    v, u = np.ogrid[:height, :width]
    image = np.zeros((height, width, 3))
    for channel in range(3):
        for _ in range(6):
            fu, fv = rng.uniform(0, 0.08), rng.uniform(0, 0.08)
            phase, amplitude = rng.uniform(0, 6.28), rng.uniform(0.3, 1)
            image[..., channel] += amplitude * np.sin(fu * u + fv * v + phase)
    low, high = image.min(), image.max()
    return np.round((image - low) / (high - low) * 255).astype(np.uint8)


def digest(tensor):
    return sha256(tensor.numpy().astype(np.int64).tobytes()).hexdigest()


@pytest.mark.parametrize(
    'row', ROWS, ids=[f'{r["width"]}x{r["height"]}-{r["max_crops"]}' for r in ROWS]
)
def test_an_image_is_cropped_as_in_the_reference(row):
    image = waves(row['width'], row['height'], row['image_seed'])
    config = PreprocessorConfig(max_crops=row['max_crops'])
    inputs = preprocess(image, config, ImageTokens(512, 513, 514, 515))
    n = row['n_crops']
    assert inputs.crops.shape == (n, 576, 588)
    assert len(inputs.token_ids) == row['n_tokens']
    assert digest(inputs.token_ids) == row['tokens_sha256']
    assert digest(inputs.input_idx) == row['image_input_idx_sha256']
    assert inputs.input_idx.max() == row['image_input_idx_max']
    assert inputs.masks.double().sum().item() == pytest.approx(row['mask_sum'], abs=1e-6)
    samples = [
        inputs.crops[i % n, 37 * i % 576, 101 * i % 588].item()
        for i in range(len(row['pixel_samples']))
    ]
    assert samples == pytest.approx(row['pixel_samples'], abs=1e-5)
    assert inputs.crops.mean().item() == pytest.approx(row['pixel_mean'], abs=1e-5)
    assert inputs.crops.std().item() == pytest.approx(row['pixel_std'], abs=1e-5)


@pytest.mark.parametrize(
    ('width', 'height', 'crops'),
    [(60, 2000, 2), (1500, 111, 2), (40, 30, 2), (112, 112, 2), (113, 1000, 5), (112, 1000, 5)],
)
def test_a_side_below_the_margins_is_tiled_as_in_the_reference(width, height, crops):
    """The reference takes 112 off each side and goes on with what is below zero: one crop."""
    image = waves(width, height, 1)
    inputs = preprocess(image, PreprocessorConfig(), ImageTokens(512, 513, 514, 515))
    assert len(inputs.crops) == crops
