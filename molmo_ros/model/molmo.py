# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo of the first generation, composed from transformers' encoder and decoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    Olmo2Config,
    Olmo2Model,
    OlmoeConfig,
    OlmoeModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2Model,
)

from molmo_ros.model.config import MolmoConfig, TextConfig
from molmo_ros.model.preprocessing import ImageInputs
from molmo_ros.model.vision import Connector, VisionTower


class Molmo(nn.Module):
    """Image encoder, connector and decoder; parameters are named as in `checkpoint.key_map`."""

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config.vision)
        self.connector = Connector(config)
        self.text = _text_model(config.text)
        self.lm_head = nn.Linear(config.text.hidden_size, config.text.embedding_size, bias=False)

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    def image_features(self, crops: Tensor, masks: Tensor) -> Tensor:
        """(n, patches, pixels), (n, patches) -> (n, pooled patches, hidden)."""
        return self.connector(self.vision(crops.to(self.dtype)), masks)

    def embed(
        self, input_ids: Tensor, features: Tensor | None = None, input_idx: Tensor | None = None
    ) -> Tensor:
        """Embed (T,) ids and add image features at their places.

        `input_idx` (n, pooled patches) counts from the first id; negative entries are dropped.
        Returns (1, T, hidden).
        """
        hidden = self.text.get_input_embeddings()(input_ids)
        if features is not None and input_idx is not None:
            placed = input_idx >= 0
            hidden = hidden.index_add(0, input_idx[placed], features[placed].to(hidden.dtype))
        return hidden[None]

    def embed_image(self, inputs: ImageInputs, bos: int) -> Tensor:
        """Run the encoder: the decoder's input for a BOS and the image, (1, 1 + tokens, hidden)."""
        ids, places = inputs.after(bos)
        return self.embed(ids, self.image_features(inputs.crops, inputs.masks), places)

    def decode(self, embeds: Tensor, **kwargs: Any) -> Tensor:
        """Hidden states (B, T, hidden) after the decoder's last norm; kwargs go to its forward."""
        return self.text(inputs_embeds=embeds, **kwargs).last_hidden_state


def _text_model(config: TextConfig) -> PreTrainedModel:
    shared: dict[str, Any] = {
        'vocab_size': config.embedding_size + config.additional_vocab_size,
        'hidden_size': config.hidden_size,
        'intermediate_size': config.intermediate_size,
        'num_hidden_layers': config.num_layers,
        'num_attention_heads': config.num_heads,
        'num_key_value_heads': config.num_kv_heads,
        'max_position_embeddings': config.max_positions,
        'rms_norm_eps': config.norm_eps,
        'rope_parameters': {'rope_type': 'default', 'rope_theta': config.rope_theta},
        'tie_word_embeddings': False,
        'pad_token_id': None,
        'bos_token_id': None,
        'eos_token_id': None,
        'attn_implementation': 'sdpa',
    }
    if config.family == 'qwen2':
        return Qwen2Model(Qwen2Config(**shared))
    if config.family == 'olmo2':
        return Olmo2Model(Olmo2Config(**shared))
    return OlmoeModel(
        OlmoeConfig(
            **shared,
            num_experts=config.num_experts,
            num_experts_per_tok=config.experts_per_token,
            norm_topk_prob=False,
        )
    )
