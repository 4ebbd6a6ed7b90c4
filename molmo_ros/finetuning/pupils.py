# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What learning needs to know of a loaded checkpoint, of either generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.molmo2 import LoadedMolmo2
from molmo_ros.model.molmo2_preprocessing import Molmo2ImageInputs, preprocess_molmo2
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.model.tokens import Tokenizer
from molmo_ros.pointing import Style

# MolmoE's experts are one tensor a layer, which LoRA on linear layers leaves alone.
LAYERS = {
    'decoder': r'text\.layers\.\d+\.(?:self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj)',
    'connector': r'connector\.(?:pooling\.w[qkvo]|projector\.w[123])',
    'vision': r'vision\.blocks\.\d+\.(?:self_attn\.(?:[qkv]|out)_proj|mlp\.fc[12])',
}
"""The linear layers of the parts of a `Molmo` that `settings.TARGETS` names."""

MOLMO2_LAYERS = {
    'decoder': (
        r'model\.language_model\.layers\.\d+\.'
        r'(?:self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj)'
    ),
    'connector': (
        r'model\.multi_modal_projector\.'
        r'(?:image_pooling_2d\.[qkvo]_proj|image_projector\.(?:gate|up|down)_proj)'
    ),
    'vision': r'model\.vision_tower\.layers\.\d+\.(?:self_attn\.[qkvo]_proj|mlp\.fc[12])',
}
"""Of transformers' Molmo2."""


@dataclass(frozen=True)
class SeenPicture:
    """tokens: that the decoder reads of a picture, with what opens the text. embed: runs the
    encoder and gives them, (1, tokens, hidden)."""

    tokens: int
    embed: Callable[[], Tensor]


class Pupil(Protocol):
    """A checkpoint that can be taught.

    Attributes:
        model: all of it, of which LoRA wraps layers.
        layers: the names of the linear layers of each part, as an expression.
        end: the token that ends an answer.
        both_ways: whether a picture's tokens see each other in both directions.
        width, positions: of the decoder: hidden size, and tokens at most.
    """

    model: nn.Module
    layers: Mapping[str, str]
    tokenizer: Tokenizer
    style: Style
    end: int
    both_ways: bool
    width: int
    positions: int

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def see(self, picture: NDArray[np.uint8]) -> SeenPicture:
        """Preprocess an (H, W, 3) RGB picture."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """(T,) ids to (1, T, hidden)."""
        ...

    def decode(self, embeds: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """(1, T, hidden) after the last norm; mask: (1, 1, T, T), added. positions: (1, T)."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """(T, hidden) to (T, vocabulary)."""
        ...


class MolmoPupil:
    """See `Pupil`."""

    layers: Mapping[str, str] = LAYERS
    style, both_ways = Style.MOLMO, False

    def __init__(self, loaded: LoadedMolmo) -> None:
        self._loaded, self._molmo = loaded, loaded.model
        self.model: nn.Module = loaded.model
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.end = loaded.tokenizer.eos
        text = loaded.model.config.text
        self.width, self.positions = text.hidden_size, text.max_positions

    @property
    def device(self) -> torch.device:
        return self._molmo.device

    def see(self, picture: NDArray[np.uint8]) -> SeenPicture:
        loaded = self._loaded
        image = preprocess(picture, loaded.preprocessor, loaded.tokenizer.image, self.device)
        return SeenPicture(
            1 + len(image.token_ids), lambda: self._molmo.embed_image(image, self.end)
        )

    def embed(self, ids: Tensor) -> Tensor:
        return self._molmo.embed(ids)

    def decode(self, embeds: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        return self._molmo.decode(
            embeds, attention_mask=mask, position_ids=positions, use_cache=False
        )

    def logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._molmo.lm_head(hidden)
        return logits


class Molmo2Pupil:
    """See `Pupil`; all of it is computed by transformers' own classes."""

    layers: Mapping[str, str] = MOLMO2_LAYERS
    style, both_ways = Style.MOLMO2, True

    def __init__(self, loaded: LoadedMolmo2) -> None:
        self._loaded, self._molmo2 = loaded, loaded.model
        self.model: nn.Module = loaded.model
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.end = loaded.tokenizer.turn_end
        text = loaded.model.config.text_config
        self.width, self.positions = text.hidden_size, text.max_position_embeddings

    @property
    def device(self) -> torch.device:
        device: torch.device = self._molmo2.lm_head.weight.device
        return device

    def see(self, picture: NDArray[np.uint8]) -> SeenPicture:
        loaded = self._loaded
        inputs = preprocess_molmo2(
            picture, loaded.preprocessor, loaded.tokenizer.image, self.device
        )
        return SeenPicture(1 + len(inputs.token_ids), lambda: self._embed_picture(inputs))

    def embed(self, ids: Tensor) -> Tensor:
        hidden: Tensor = self._molmo2.get_input_embeddings()(ids)
        return hidden[None]

    def decode(self, embeds: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        output = self._molmo2.model.language_model(
            inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._molmo2.lm_head(hidden)
        return logits

    def _embed_picture(self, inputs: Molmo2ImageInputs) -> Tensor:
        tokenizer = self._loaded.tokenizer
        (features,) = self._molmo2.get_image_features(
            inputs.pixel_values.to(self._molmo2.dtype), inputs.token_pooling, inputs.grids
        ).pooler_output
        ids = torch.cat([inputs.token_ids.new_tensor([tokenizer.bos]), inputs.token_ids])
        (places,) = torch.where(ids == tokenizer.image.patch)
        hidden = self.embed(ids)[0]
        return hidden.index_add(0, places, features.to(hidden.dtype))[None]


def pupil_of(loaded: LoadedMolmo | LoadedMolmo2) -> Pupil:
    """What is taught, of a loaded checkpoint."""
    return Molmo2Pupil(loaded) if isinstance(loaded, LoadedMolmo2) else MolmoPupil(loaded)
