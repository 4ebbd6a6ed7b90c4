# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints, and a folder with two pictures to learn from."""

import json
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import cv2
import numpy as np
import pytest
import torch

from benchmarks.random_molmo import (
    ONE_POINT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    tiny_tokenizer,
)


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """Makes a tiny checkpoint of a family that points at one spot, whatever it is asked."""
    written = {}

    def write(family='qwen2', seed=0):
        if (family, seed) not in written:
            folder = written[family, seed] = tmp_path_factory.mktemp(family)
            tokenizer = tiny_tokenizer(3 if family == 'olmo2' else 1)
            model = random_molmo(tiny_config(family), seed)
            tilt(model, tokenizer, [ONE_POINT], noise=0.1)
            save_checkpoint(model, tokenizer, folder)
        return written[family, seed]

    return write


@pytest.fixture(scope='session')
def picture():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, picture):
    """A stapler in the middle of the first picture, none in the second."""
    folder = tmp_path / 'pictures'
    (folder / 'images').mkdir(parents=True)
    for name, image in (('a.png', picture), ('b.png', 255 - picture)):
        cv2.imwrite(str(folder / 'images' / name), image[..., ::-1])
    lines = [
        {'image': 'a.png', 'label': 'stapler', 'points': [[60, 45]]},
        {'image': 'b.png', 'label': 'stapler', 'points': []},
    ]
    (folder / 'points.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return folder
