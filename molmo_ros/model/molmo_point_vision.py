# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoint's image encoder, and the connector between it and the decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN

from molmo_ros.errors import shortened
from molmo_ros.model.config import WrongFile
from molmo_ros.model.molmo_point_config import PointConnectorConfig, PointVisionConfig


def _activation(name: object) -> nn.Module:
    """The one that transformers has under a name. Raises WrongFile."""
    if not isinstance(name, str) or name not in ACT2FN:
        raise WrongFile(f'config.json says hidden_act {shortened(name)}, which transformers lacks')
    found: nn.Module = ACT2FN[name]
    return found


class _Attention(nn.Module):
    """Attention with heads that may share keys; `wo` where there is an output projection."""

    def __init__(
        self,
        config: PointVisionConfig | PointConnectorConfig,
        features: int,
        output: bool,
    ) -> None:
        super().__init__()
        self._split = (-1, config.head_dim)
        self._grouped = config.num_heads != config.num_kv_heads
        self.wq = nn.Linear(features, config.num_heads * config.head_dim)
        self.wk = nn.Linear(features, config.num_kv_heads * config.head_dim)
        self.wv = nn.Linear(features, config.num_kv_heads * config.head_dim)
        width = config.num_heads * config.head_dim
        self.wo = nn.Linear(width, config.hidden_size) if output else nn.Identity()

    def forward(self, query: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """(n, q, features), (n, k, features) -> (n, q, hidden). mask: (n, 1, 1, k)."""
        q, k, v = (
            project(x).unflatten(-1, self._split).transpose(1, 2)
            for project, x in ((self.wq, query), (self.wk, states), (self.wv, states))
        )
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, enable_gqa=self._grouped
        )
        out: Tensor = self.wo(mixed.transpose(1, 2).flatten(2))
        return out


class _Block(nn.Module):
    def __init__(self, config: PointVisionConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.attention = _Attention(config, config.hidden_size, output=True)
        self.ffn_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = _activation(config.activation)

    def forward(self, hidden: Tensor) -> Tensor:
        normed = self.attention_norm(hidden)
        hidden = hidden + self.attention(normed, normed)
        return hidden + self.w2(self.activation(self.w1(self.ffn_norm(hidden))))


class PointVisionTower(nn.Module):
    """A vision transformer without a class token, up to the last block whose output is used."""

    def __init__(self, config: PointVisionConfig) -> None:
        super().__init__()
        self.blocks_used = config.blocks_used
        self.patch_embedding = nn.Linear(config.patch_size**2 * 3, config.hidden_size)
        self.positional_embedding = nn.Parameter(torch.zeros(config.grid**2, config.hidden_size))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(max(self.blocks_used) + 1))

    def forward(self, crops: Tensor) -> Tensor:
        """(n, patches, pixels of a patch) -> (n, patches, features of the used blocks)."""
        hidden = self.patch_embedding(crops) + self.positional_embedding
        outputs = []
        for block in self.blocks:
            hidden = block(hidden)
            outputs.append(hidden)
        return torch.cat([outputs[index] for index in self.blocks_used], dim=-1)


class PointConnector(nn.Module):
    """Pools windows of patches, asked by their mean, and projects to the decoder's width."""

    def __init__(self, config: PointConnectorConfig, features: int, out: int) -> None:
        super().__init__()
        self._masked, self._zeroed = config.masked, config.zeroed
        places = (config.positions, features)
        self.positions = nn.Parameter(torch.zeros(places)) if config.positions else None
        self.pooling = _Attention(config, features, config.output)
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, out, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.activation = _activation(config.activation)

    def forward(self, windows: Tensor, present: Tensor) -> Tensor:
        """(n, patches of a window, features), (n, patches of a window) -> (n, decoder's width).

        What is not present is zeros in `windows`. The mean is over what is present, but biases
        of what is not are in its sum, as in the reference.
        """
        if self.positions is not None:
            windows = windows + self.positions[: windows.shape[1]]
        if self._zeroed:
            windows = windows * present[..., None]
        count = present.sum(dim=1).clamp(min=1)[:, None, None].to(windows.dtype)
        mask = present[:, None, None] if self._masked else None
        pooled = self.pooling(windows.sum(dim=1, keepdim=True) / count, windows, mask)[:, 0]
        out: Tensor = self.w2(self.activation(self.w1(pooled)) * self.w3(pooled))
        return out
