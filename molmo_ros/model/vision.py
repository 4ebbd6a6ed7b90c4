# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The image encoder and the connector between it and the decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from molmo_ros.model.config import MolmoConfig, VisionConfig


class VisionTower(nn.Module):
    """CLIP's vision transformer up to the last block whose output is used."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.blocks_used = config.blocks_used
        self.patch_embedding = nn.Linear(config.patch_size**2 * 3, config.hidden_size, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(config.hidden_size))
        self.positional_embedding = nn.Parameter(
            torch.zeros(config.grid**2 + 1, config.hidden_size)
        )
        self.pre_ln = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        clip = CLIPVisionConfig(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_attention_heads=config.num_heads,
            layer_norm_eps=config.norm_eps,
            hidden_act='quick_gelu',
        )
        clip._attn_implementation = 'sdpa'
        self.blocks = nn.ModuleList(
            CLIPEncoderLayer(clip) for _ in range(max(self.blocks_used) + 1)
        )

    def forward(self, crops: Tensor) -> Tensor:
        """(n, patches, pixels of a patch) -> (n, patches, features of the used blocks)."""
        patches = self.patch_embedding(crops)
        first = self.class_embedding.expand(len(crops), 1, -1)
        hidden = torch.cat([first, patches], dim=1) + self.positional_embedding
        hidden = self.pre_ln(hidden)
        outputs = []
        for block in self.blocks:
            hidden = block(hidden, attention_mask=None)
            outputs.append(hidden)
        return torch.cat([outputs[index][:, 1:] for index in self.blocks_used], dim=-1)


class Pooling(nn.Module):
    """Attention over each window of patches, asked by the window's mean."""

    def __init__(self, features: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.wq = nn.Linear(features, hidden)
        self.wk = nn.Linear(features, hidden)
        self.wv = nn.Linear(features, hidden)
        self.wo = nn.Linear(hidden, hidden)

    def forward(self, windows: Tensor) -> Tensor:
        """(windows, patches of a window, features) -> (windows, hidden)."""
        query = self._split(self.wq(windows.mean(dim=1, keepdim=True)))
        keys, values = self._split(self.wk(windows)), self._split(self.wv(windows))
        pooled = functional.scaled_dot_product_attention(query, keys, values)
        return self.wo(pooled.transpose(1, 2).flatten(1))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Projector(nn.Module):
    """SwiGLU from the encoder's width to the decoder's."""

    def __init__(self, features: int, hidden: int, out: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(features, hidden, bias=False)
        self.w2 = nn.Linear(hidden, out, bias=False)
        self.w3 = nn.Linear(features, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class Connector(nn.Module):
    """Marks what is border, pools windows of patches, projects to the decoder's width."""

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__()
        vision = config.vision
        features = vision.hidden_size * len(vision.feature_layers)
        self.grid = vision.grid
        self.pool = config.pool
        self.pad_embed = nn.Parameter(torch.zeros(2, features))
        self.pooling = Pooling(features, vision.hidden_size, vision.num_heads)
        self.projector = Projector(
            vision.hidden_size, config.projector_size, config.text.hidden_size
        )

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """(n, patches, features), (n, patches) -> (n, pooled patches, decoder's width)."""
        pooled = self.pooling(self.windows(features, masks))
        return self.projector(pooled).unflatten(0, (len(features), -1))

    def windows(self, features: Tensor, masks: Tensor) -> Tensor:
        """As `forward`, what is pooled: (windows, patches of a window, features)."""
        all_border = masks == 0
        part_border = (masks < 1) & ~all_border
        features = features + self.pad_embed[0] * all_border[..., None].to(features.dtype)
        features = features + self.pad_embed[1] * part_border[..., None].to(features.dtype)
        return self._to_windows(features)

    def _to_windows(self, features: Tensor) -> Tensor:
        side = self.grid // self.pool
        split = features.unflatten(1, (side, self.pool, side, self.pool))
        return split.transpose(2, 3).flatten(0, 2).flatten(1, 2)
