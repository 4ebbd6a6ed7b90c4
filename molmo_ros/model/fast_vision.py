# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The image encoder's forward pass with fused projections; the weights are those of `Molmo.vision`.

All crops are one batch, and blocks past the last one that is read are not even loaded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model.fused import Projection, fuse
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import ImageInputs


class FastVision:
    """Molmo's image encoder and connector."""

    def __init__(self, model: Molmo) -> None:
        self._model = model
        self._heads = model.config.vision.num_heads
        self._qkv = [_fused(block.self_attn) for block in model.vision.blocks]

    def embed_image(self, inputs: ImageInputs, bos: int) -> Tensor:
        """The decoder's input for a BOS and the image, (1 + tokens, hidden)."""
        features = self._model.connector(self._encode(inputs.crops), inputs.masks)
        ids, places = inputs.after(bos)
        return self._model.embed(ids, features, places)[0]

    def _encode(self, crops: Tensor) -> Tensor:
        """(n, patches, pixels of a patch) -> (n, patches, features of the used blocks)."""
        tower = self._model.vision
        patches = tower.patch_embedding(crops.to(tower.class_embedding.dtype))
        first = tower.class_embedding.expand(len(crops), 1, -1)
        hidden = tower.pre_ln(torch.cat([first, patches], dim=1) + tower.positional_embedding)
        outputs = []
        for block, qkv in zip(tower.blocks, self._qkv, strict=True):
            hidden = hidden + self._attend(block, qkv(block.layer_norm1(hidden)))
            hidden = hidden + block.mlp(block.layer_norm2(hidden))
            outputs.append(hidden)
        return torch.cat([outputs[index][:, 1:] for index in tower.blocks_used], dim=-1)

    def _attend(self, block: nn.Module, qkv: Tensor) -> Tensor:
        q, k, v = qkv.unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return block.self_attn.out_proj(mixed.transpose(1, 2).flatten(2))


def _fused(attention: nn.Module) -> Projection:
    return fuse(attention.q_proj, attention.k_proj, attention.v_proj)
