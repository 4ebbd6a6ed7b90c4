# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints of every architecture, random but for a tilt towards the language of points."""

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytest
import torch

from benchmarks.random_molmo import (
    END_OF_TEXT,
    ONE_POINT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    tiny_tokenizer,
    word_tokenizer,
)
from molmo_ros.engine import load_engine
from molmo_ros.model import products


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """A folder with a checkpoint: `texts` are what it likes to write, `noise` how loosely.

    `pieces` instead: it writes these in order, each a token.
    """
    written = {}

    def write(family='qwen2', texts=(ONE_POINT,), noise=0.02, seed=0, pieces=()):
        key = family, tuple(texts), noise, seed, pieces
        if key not in written:
            folder = tmp_path_factory.mktemp(family)
            tokenizer = tiny_tokenizer(3 if family == 'olmo2' else 1)
            if pieces:
                tokenizer, texts = word_tokenizer(pieces), [''.join(pieces) + END_OF_TEXT]
            model = random_molmo(tiny_config(family), seed)
            tilt(model, tokenizer, texts, noise)
            save_checkpoint(model, tokenizer, folder)
            written[key] = folder
        return written[key]

    return write


@pytest.fixture
def engine(checkpoint):
    """Points at (61.5, 61.5) percent, whatever it is asked."""
    engine = load_engine(checkpoint())
    yield engine
    engine.close()


@pytest.fixture
def images():
    """Makes a random image, another for each seed."""
    return lambda seed, height=90, width=120: np.random.default_rng(seed).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


@pytest.fixture
def large_networks(monkeypatch):
    """Every network counts as too large to be held twice, as releases are."""
    monkeypatch.setattr(products, 'HELD_TWICE', 0)
