# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The image encoder's forward pass with fused projections; the weights are those of `Molmo.vision`.

All crops are one batch, and blocks past the last one that is read are not even loaded. QuickGELU,
x · sigmoid(1.702 x), is SiLU of 1.702 x, in place, and the factor is a part of the products before
and behind it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model.fused import Projection, fuse
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import ImageInputs

QUICK = 1.702


class FastVision:
    """Molmo's image encoder and connector."""

    def __init__(self, model: Molmo) -> None:
        self._model = model
        self._heads = model.config.vision.num_heads
        self._qkv = [_fused(block.self_attn) for block in model.vision.blocks]
        self._mlps = [_quick_gelu(block.mlp) for block in model.vision.blocks]

    def embed_image(self, inputs: ImageInputs, bos: int) -> Tensor:
        """The decoder's input for a BOS and the image, (1 + tokens, hidden)."""
        features = self._connect(self._encode(inputs.crops), inputs.masks)
        ids, places = inputs.after(bos)
        return self._model.embed(ids, features, places)[0]

    def _encode(self, crops: Tensor) -> Tensor:
        """(n, patches, pixels of a patch) -> (n, patches, features of the used blocks)."""
        tower = self._model.vision
        patches = tower.patch_embedding(crops.to(tower.class_embedding.dtype))
        first = tower.class_embedding.expand(len(crops), 1, -1)
        hidden = tower.pre_ln(torch.cat([first, patches], dim=1) + tower.positional_embedding)
        outputs = []
        for block, qkv, mlp in zip(tower.blocks, self._qkv, self._mlps, strict=True):
            hidden = hidden + self._attend(block, qkv(block.layer_norm1(hidden)))
            hidden = mlp(block.layer_norm2(hidden)).add_(hidden)
            outputs.append(hidden)
        return torch.cat([outputs[index][:, 1:] for index in tower.blocks_used], dim=-1)

    def _attend(self, block: nn.Module, qkv: Tensor) -> Tensor:
        q, k, v = qkv.unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return block.self_attn.out_proj(mixed.transpose(1, 2).flatten(2))

    def _connect(self, features: Tensor, masks: Tensor) -> Tensor:
        """See `Connector.forward`."""
        connector, projector = self._model.connector, self._model.connector.projector
        pooled = connector.pooling(connector.windows(features, masks))
        gated = functional.silu(projector.w1(pooled), inplace=True)
        projected = projector.w2(gated.mul_(projector.w3(pooled)))
        return projected.unflatten(0, (len(features), -1))


def _fused(attention: nn.Module) -> Projection:
    return fuse(attention.q_proj, attention.k_proj, attention.v_proj)


def _quick_gelu(mlp: nn.Module) -> Projection:
    up, down = mlp.fc1, mlp.fc2
    into, back = up.weight.t(), down.weight.t()
    bias = up.bias * QUICK

    def forward(x: Tensor) -> Tensor:
        hidden = torch.addmm(bias, x.flatten(0, -2), into, alpha=QUICK)
        hidden = functional.silu(hidden, inplace=True)
        return torch.addmm(down.bias, hidden, back, alpha=1 / QUICK).view(x.shape)

    return forward
