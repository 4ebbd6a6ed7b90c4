# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint is stored in says nothing about what it is computed in."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from molmo_ros.engine import Question, load_engine

SIXTEEN = (torch.float16, torch.bfloat16)


class Seen(TorchDispatchMode):
    """Collects the types of all floating numbers that are computed with."""

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                self.types.add(leaf.dtype)
        return result


@pytest.fixture
def stored(checkpoint, tmp_path):
    """Makes a copy of a checkpoint, its weights stored in another type."""

    def make(family, dtype):
        folder = shutil.copytree(checkpoint(family), tmp_path / str(dtype))
        weights = load_file(folder / 'model.safetensors')
        rounded = {key: weight.to(dtype) for key, weight in weights.items()}
        save_file(rounded, folder / 'model.safetensors', {'format': 'pt'})
        return folder

    return make


def types_used(engine, image):
    with Seen() as seen:
        engine.answer(image, Question('mug'))
    engine.close()
    return seen.types


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
@pytest.mark.parametrize('dtype', SIXTEEN)
def test_sixteen_bits_in_the_file_are_float32_on_a_cpu(family, dtype, stored, images):
    """On a CPU 16 bits are slow or emulated, and rounding at every step costs right answers."""
    engine = load_engine(stored(family, dtype), device='cpu')
    assert types_used(engine, images(0)) <= {torch.float32, torch.float64}


def test_sixteen_bits_are_computed_with_where_they_are_asked_for(stored, images):
    engine = load_engine(stored('qwen2', torch.float16), device='cpu', dtype='bfloat16')
    assert torch.bfloat16 in types_used(engine, images(0))
