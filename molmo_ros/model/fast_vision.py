# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The image encoder's forward pass with fused projections; the weights are those of `Molmo.vision`.

All crops are one batch, and blocks past the last one that is read are not even loaded. QuickGELU,
x · sigmoid(1.702 x), is SiLU of 1.702 x, in place, and the factor is a part of the products before
and behind it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model.fused import Projection, fuse
from molmo_ros.model.molmo import Molmo
from molmo_ros.model.preprocessing import ImageInputs
from molmo_ros.model.products import Held, Product, Products, product_of, taken_over

QUICK = 1.702


class FastVision:
    """Molmo's image encoder and connector. sole: see `FastText`."""

    def __init__(self, model: Molmo, sole: bool = False) -> None:
        self._model = model
        self._heads = model.config.vision.num_heads
        tower = model.vision
        held = Held.of([tower], sole)
        self._embedded = product_of(tower.patch_embedding, held)
        self._qkv = [_fused(block.self_attn, held) for block in tower.blocks]
        self._out = [product_of(block.self_attn.out_proj, held) for block in tower.blocks]
        self._mlps = [_quick_gelu(block.mlp, held) for block in tower.blocks]
        self._connecting = Products(model.connector, sole=sole)

    def embed_image(self, inputs: ImageInputs, bos: int) -> Tensor:
        """The decoder's input for a BOS and the image, (1 + tokens, hidden)."""
        ids, places = inputs.after(bos)
        placed = (places.flatten() >= 0).nonzero()[:, 0]
        encoded = self._encode(inputs.crops)
        with self._connecting:
            features = self._connect(encoded, inputs.masks, placed)
        return self._model.embed(ids, features, places.flatten()[placed])[0]

    def _encode(self, crops: Tensor) -> Tensor:
        """(n, patches, pixels of a patch) -> (n, patches, features of the used blocks)."""
        tower = self._model.vision
        patches = self._embedded(crops.to(tower.class_embedding.dtype))
        first = tower.class_embedding.expand(len(crops), 1, -1)
        hidden = tower.pre_ln(torch.cat([first, patches], dim=1) + tower.positional_embedding)
        outputs = []
        layers = zip(tower.blocks, self._qkv, self._out, self._mlps, strict=True)
        for block, qkv, out, mlp in layers:
            hidden = out(self._mixed(qkv(block.layer_norm1(hidden))), hidden)
            hidden = mlp(block.layer_norm2(hidden), hidden)
            outputs.append(hidden)
        return torch.cat([outputs[index][:, 1:] for index in tower.blocks_used], dim=-1)

    def _mixed(self, qkv: Tensor) -> Tensor:
        q, k, v = qkv.unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).flatten(2)

    def _connect(self, features: Tensor, masks: Tensor, placed: Tensor) -> Tensor:
        """See `Connector.forward`; of the windows `placed` (k,) alone: (k, decoder's width)."""
        connector, projector = self._model.connector, self._model.connector.projector
        pooled = connector.pooling(connector.windows(features, masks)[placed])
        gated = functional.silu(projector.w1(pooled), inplace=True)
        projected: Tensor = projector.w2(gated.mul_(projector.w3(pooled)))
        return projected


def _fused(attention: nn.Module, held: Held) -> Projection:
    return fuse(attention.q_proj, attention.k_proj, attention.v_proj, held=held)


def _quick_gelu(mlp: nn.Module, held: Held) -> Callable[[Tensor, Tensor], Tensor]:
    """What adds the block's two products, with QuickGELU between them, to what it is given."""
    first, second = mlp.fc1, mlp.fc2
    up = taken_over(Product(first.weight, first.bias.detach() * QUICK, QUICK, held), first)
    down = taken_over(Product(second.weight, second.bias, 1 / QUICK, held), second)
    return lambda x, onto: down(functional.silu(up(x), inplace=True), onto)
