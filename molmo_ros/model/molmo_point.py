# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoint: Molmo2's decoder, an image encoder like Molmo2's, and a head that points.

After allenai/molmo2, olmo/hf_model/modeling_molmo_point.py. Where it says patch, it means a window
of 2x2 patches of the encoder, which is one token; a subpatch is one of the four.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import sqrt
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.model.config import UnsupportedCheckpoint
from molmo_ros.model.molmo2_preprocessing import Molmo2ImageInputs
from molmo_ros.model.molmo_point_config import MolmoPointConfig
from molmo_ros.model.molmo_point_vision import PointConnector, PointVisionTower
from molmo_ros.model.point_ids import LOCATIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ABSENT = -1e5  # the logit of what an image lacks


@dataclass(frozen=True)
class PointImage:
    """An image that went through the encoder.

    embeds: (1 + tokens, hidden), what the decoder reads. patches: (n,) places of the n pooled
    patches among them. windows: (n, s, features) of the encoder, zeros where `present` (n, s) is
    False. features: (n, hidden) after the connector. indexable: (n,) which can be pointed at.
    """

    embeds: Tensor
    patches: Tensor
    windows: Tensor
    present: Tensor
    features: Tensor
    indexable: Tensor


@dataclass(frozen=True)
class PointMemory:
    """What pointing at an image that the decoder has read takes.

    patch_keys: (n + 1, dim), the last stands for no more points where there is such a class.
    pointable: (n + 1,) bool. ranks: (n,) int64. subpatch_keys: (n, s, dim). The others are those of
    `PointImage`.
    """

    patch_keys: Tensor
    pointable: Tensor
    ranks: Tensor
    subpatch_keys: Tensor
    present: Tensor
    windows: Tensor
    features: Tensor

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, field.name).nbytes for field in fields(self))


@dataclass(frozen=True)
class PointLogits:
    """What follows each of some rows, if it is a token of a point.

    patches: (rows, n + 1). subpatches: (rows, s), of the patch that the row is. locations:
    (rows, 9).
    """

    patches: Tensor
    subpatches: Tensor
    locations: Tensor


class PointHead(nn.Module):
    """Finds patches, their parts and places in those by what the decoder makes of a token."""

    def __init__(self, config: MolmoPointConfig) -> None:
        super().__init__()
        self._theta, self._scaled = config.rotary_theta, config.scaled
        hidden, dim = config.hidden_size, config.dim
        self.norm = nn.RMSNorm(hidden, eps=config.text['rms_norm_eps'])
        self.patch_q = nn.Linear(hidden, dim)
        self.patch_k = nn.Linear(hidden, dim)
        self.subpatch_q = nn.Linear(hidden, dim)
        self.subpatch_k = nn.Linear(config.vision.features, dim)
        self.location = nn.Linear(hidden, LOCATIONS)
        self.end = nn.Parameter(torch.zeros(dim)) if config.ends else None

    def remember(self, states: Tensor, image: PointImage) -> PointMemory:
        """states: (n, hidden) of the image's patches, before the decoder's last norm."""
        # Rank among those that can be pointed at; those before the first have -1 and are masked.
        ranks = image.indexable.long().cumsum(0) - 1
        keys = self._rotated(self.patch_k(self.norm(states)), ranks)
        pointable = image.indexable
        if self.end is not None:
            keys = torch.cat([keys, self.end[None].to(keys.dtype)])
            pointable = functional.pad(pointable, (0, 1), value=True)
        subpatch_keys = self.subpatch_k(image.windows)
        return PointMemory(
            keys, pointable, ranks, subpatch_keys, image.present, image.windows, image.features
        )

    def forward(
        self, states: Tensor, memory: PointMemory, last: Tensor, here: Tensor
    ) -> PointLogits:
        """states: (rows, hidden) before the decoder's last norm. last: (rows,) the patch pointed at
        before each row, -1 for none. here: (rows,) the patch that a row is, anything if none.
        """
        normed = self.norm(states)
        ranks = torch.where(last >= 0, memory.ranks[last.clamp(min=0)], 0).clamp(min=0)
        patches = self._rotated(self.patch_q(normed), ranks) @ memory.patch_keys.T
        subpatches = torch.einsum('rd,rsd->rs', self.subpatch_q(normed), memory.subpatch_keys[here])
        if self._scaled:
            # By the number of keys, not by their width: so it was trained.
            patches = patches / sqrt(len(memory.patch_keys))
            subpatches = subpatches / sqrt(memory.patch_keys.shape[1])
        return PointLogits(
            patches.masked_fill(~memory.pointable, -1e8),
            subpatches.masked_fill(~memory.present[here], ABSENT),
            self.location(states),
        )

    def _rotated(self, x: Tensor, ranks: Tensor) -> Tensor:
        """Rotary embedding of (rows, dim), in float32."""
        if not self._theta:
            return x
        width = x.shape[-1]
        exponents = torch.arange(0, width, 2, device=x.device).float() / width
        angles = ranks.float()[:, None] / self._theta**exponents
        cos, sin = (turn.repeat(1, 2) for turn in (angles.cos(), angles.sin()))
        first, second = x.float().chunk(2, dim=-1)
        return (x.float() * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


class MolmoPoint(nn.Module):
    """Parameters are named as in `molmo_point_keys.key_map`."""

    def __init__(self, config: MolmoPointConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = PointVisionTower(config.vision)
        self.connector = PointConnector(
            config.connector, config.vision.features, config.hidden_size
        )
        self.text = _text_model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocabulary, bias=False)
        self.points = PointHead(config)
        self.vit_embedding = nn.Linear(config.vision.features, config.hidden_size)

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    def see(self, inputs: Molmo2ImageInputs, bos: int) -> PointImage:
        """Put an image through the encoder."""
        pooling = inputs.token_pooling
        present = pooling >= 0
        seen = self.vision(inputs.pixel_values.to(self.dtype)).flatten(0, 1)
        windows = seen[pooling.clamp(min=0)] * present[..., None].to(seen.dtype)
        features = self.connector(windows, present)
        ids = torch.cat([inputs.token_ids.new_tensor([bos]), inputs.token_ids])
        of_crops = ids == self.config.image.patch
        (patches,) = torch.where(of_crops | (ids == self.config.whole_patch))
        embeds = self.embed(ids).index_add(0, patches, features)
        return PointImage(embeds, patches, windows, present, features, of_crops[patches])

    def embed(self, ids: Tensor) -> Tensor:
        """(T,) plain ids -> (T, hidden)."""
        hidden: Tensor = self.text.get_input_embeddings()(ids)
        return hidden

    def embed_patch(self, patch: Tensor, image: PointImage | PointMemory) -> Tensor:
        """What the decoder reads of (T,) patches that were pointed at, (T, hidden)."""
        return self.embed(torch.full_like(patch, self.config.patch_token)) + image.features[patch]

    def embed_subpatch(
        self, patch: Tensor, subpatch: Tensor, image: PointImage | PointMemory
    ) -> Tensor:
        """What the decoder reads of (T,) parts of patches, (T, hidden)."""
        embeds: Tensor = self.vit_embedding(image.windows[patch, subpatch])
        return embeds

    def states(self, embeds: Tensor, **kwargs: Any) -> Tensor:
        """Hidden states (B, T, hidden) before the last norm, by transformers' own forward."""
        kept: list[Tensor] = []
        hook = self.text.norm.register_forward_pre_hook(lambda _, inputs: kept.extend(inputs))
        try:
            self.text(inputs_embeds=embeds, **kwargs)
        finally:
            hook.remove()
        return kept[0]


def _text_model(config: MolmoPointConfig) -> PreTrainedModel:
    try:
        from transformers.models.molmo2 import Molmo2TextConfig
        from transformers.models.molmo2.modeling_molmo2 import Molmo2TextModel
    except ImportError as error:
        raise UnsupportedCheckpoint(
            'a MolmoPoint needs Molmo2, which transformers knows from version 5.20 on; this is '
            f"{transformers.__version__}: pip install 'transformers>=5.20'"
        ) from error
    text = Molmo2TextConfig(**config.text)
    text._attn_implementation = 'sdpa'
    return Molmo2TextModel(text)
