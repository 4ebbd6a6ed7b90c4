# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo checkpoint's shape: Molmo-7B-D's architecture, small enough to ship."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molmo_ros.model.config import MolmoConfig, TextConfig, VisionConfig
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import PreprocessorConfig
from training.language import LANGUAGE

VOCABULARY = 640  # of the tokenizer, added image tokens not counted
ADDED_TOKENS = 8

PREPROCESSOR = PreprocessorConfig(image_size=192, patch_size=16, max_crops=12, margins=(2, 2))

CONFIG = MolmoConfig(
    vision=VisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_heads=2,
        num_layers=9,
        image_size=PREPROCESSOR.image_size,
        patch_size=PREPROCESSOR.patch_size,
        feature_layers=(-1, -5),
    ),
    text=TextConfig(
        family='qwen2',
        hidden_size=192,
        intermediate_size=512,
        num_layers=8,
        num_heads=3,
        num_kv_heads=3,
        rope_theta=10_000.0,
        norm_eps=1e-6,
        embedding_size=VOCABULARY,
        additional_vocab_size=ADDED_TOKENS,
        qkv_bias=True,
        max_positions=2048,
    ),
    projector_size=512,
    language=LANGUAGE,
)


def new_model(seed: int = 0) -> Molmo:
    """Fan-in initialisation; patch positions start as 2-D sine-cosine."""
    torch.manual_seed(seed)
    model = Molmo(CONFIG)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)
    vision = model.vision
    with torch.no_grad():
        nn.init.normal_(vision.class_embedding, std=0.5)
        vision.positional_embedding[1:] = _sine_cosine(
            CONFIG.vision.grid, CONFIG.vision.hidden_size
        )
    return model


def _sine_cosine(grid: int, width: int) -> Tensor:
    """(grid², width): half of the features for rows, half for columns."""
    quarter = width // 4
    frequency = torch.pi * 2 ** torch.linspace(-1, 4, quarter)
    phase = (torch.arange(grid) + 0.5)[:, None] / grid * frequency
    one = torch.cat([phase.sin(), phase.cos()], dim=1)
    rows = one[:, None].expand(grid, grid, -1)
    columns = one[None].expand(grid, grid, -1)
    return torch.cat([rows, columns], dim=-1).reshape(grid * grid, width)
