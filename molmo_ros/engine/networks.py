# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What decoding needs to know of a loaded checkpoint, of whatever generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from molmo_ros.engine.answers import EngineError
from molmo_ros.engine.point_belief import PointLayout
from molmo_ros.model.config import LanguageConfig
from molmo_ros.model.fast_vision import FastVision
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.molmo2 import LoadedMolmo2
from molmo_ros.model.molmo2_preprocessing import Molmo2ImageInputs, preprocess_molmo2
from molmo_ros.model.molmo_point import PointImage
from molmo_ros.model.molmo_point_loading import LoadedMolmoPoint
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.model.products import Products
from molmo_ros.model.tokens import Tokenizer
from molmo_ros.pointing import Style


@dataclass(frozen=True)
class Seen:
    """A preprocessed image.

    tokens: how many the decoder reads, with the beginning of text before them. embed: runs the
    encoder and gives them, (tokens, hidden), in what the network's decoder takes.
    """

    tokens: int
    crops: int
    embed: Callable[[], Any]


@dataclass(frozen=True)
class SeenPoints:
    """What `Seen.embed` gives for a MolmoPoint, whose embeds are the image's."""

    image: PointImage
    layout: PointLayout


class Network(Protocol):
    """text, lm_head: the decoder, of transformers', and its head.

    both_ways: whether the image's tokens see each other in both directions; nothing that follows
    is seen by any of them, so what they become depends on the image alone in either case.
    language: how it wants to be asked.
    """

    text: PreTrainedModel
    lm_head: nn.Module
    tokenizer: Tokenizer
    style: Style
    both_ways: bool
    language: LanguageConfig

    def see(self, image: NDArray[np.uint8]) -> Seen:
        """Preprocess an (H, W, 3) RGB image."""
        ...


class MolmoNetwork:
    """See `Network`."""

    style, both_ways = Style.MOLMO, False

    def __init__(self, loaded: LoadedMolmo, sole: bool = False) -> None:
        self.text, self.lm_head = loaded.model.text, loaded.model.lm_head
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.language = loaded.model.config.language
        self._loaded, self._vision = loaded, FastVision(loaded.model, sole)

    def see(self, image: NDArray[np.uint8]) -> Seen:
        tokenizer, model = self._loaded.tokenizer, self._loaded.model
        inputs = preprocess(image, self._loaded.preprocessor, tokenizer.image, model.device)
        return Seen(
            1 + len(inputs.token_ids),
            len(inputs.crops),
            lambda: self._vision.embed_image(inputs, tokenizer.eos),
        )


class Molmo2Network:
    """See `Network`; the encoder is run by transformers' own classes."""

    style, both_ways = Style.MOLMO2, True
    language = LanguageConfig()

    def __init__(self, loaded: LoadedMolmo2, sole: bool = False) -> None:
        self.text, self.lm_head = loaded.model.model.language_model, loaded.model.lm_head
        self.tokenizer: Tokenizer = loaded.tokenizer
        self._loaded = loaded
        _check_rope(self.text)
        parts = loaded.model.model
        self._products = Products(parts.vision_tower, parts.multi_modal_projector, sole=sole)

    def see(self, image: NDArray[np.uint8]) -> Seen:
        tokenizer, model = self._loaded.tokenizer, self._loaded.model
        inputs = preprocess_molmo2(image, self._loaded.preprocessor, tokenizer.image, model.device)
        return Seen(
            1 + len(inputs.token_ids), len(inputs.pixel_values), lambda: self._embed(inputs)
        )

    def _embed(self, inputs: Molmo2ImageInputs) -> Tensor:
        model, tokenizer = self._loaded.model, self._loaded.tokenizer
        with self._products:
            (features,) = model.get_image_features(
                inputs.pixel_values.to(model.dtype), inputs.token_pooling, inputs.grids
            ).pooler_output
        ids = torch.cat([inputs.token_ids.new_tensor([tokenizer.bos]), inputs.token_ids])
        (places,) = torch.where(ids == tokenizer.image.patch)
        hidden: Tensor = model.get_input_embeddings()(ids)
        return hidden.index_add(0, places, features.to(hidden.dtype))


class MolmoPointNetwork:
    """See `Network`; it is asked, and writes words, as a Molmo2 does."""

    style, both_ways = Style.MOLMO2, True
    language = LanguageConfig()

    def __init__(self, loaded: LoadedMolmoPoint, sole: bool = False) -> None:
        self.model = loaded.model
        self.text, self.lm_head = loaded.model.text, loaded.model.lm_head
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.point_tokenizer = loaded.tokenizer
        self._preprocessor = loaded.preprocessor
        _check_rope(self.text)
        self._products = Products(loaded.model.vision, loaded.model.connector, sole=sole)

    def see(self, image: NDArray[np.uint8]) -> Seen:
        tokens, device = self.point_tokenizer.image, self.model.device
        inputs = preprocess_molmo2(image, self._preprocessor, tokens, device)
        return Seen(
            1 + len(inputs.token_ids), len(inputs.pixel_values), lambda: self._embed(inputs)
        )

    def _embed(self, inputs: Molmo2ImageInputs) -> SeenPoints:
        pooling = inputs.token_pooling.cpu().numpy()
        layout = PointLayout.of(pooling, inputs.raster.cpu().numpy())
        with self._products:
            seen = self.model.see(inputs, self.point_tokenizer.bos)
        return SeenPoints(seen, layout)


def _check_rope(text: PreTrainedModel) -> None:
    kind = text.config.rope_parameters['rope_type']
    if kind in ('dynamic', 'longrope'):
        raise EngineError(f'rope_type {kind} is not supported: its angles depend on the length')


Loaded = LoadedMolmo | LoadedMolmo2 | LoadedMolmoPoint


def network_of(loaded: Loaded, sole: bool = False) -> Network:
    """The network of a loaded checkpoint; sole: see `LocalEngine`. Raises EngineError."""
    if isinstance(loaded, LoadedMolmoPoint):
        return MolmoPointNetwork(loaded, sole)
    kind = Molmo2Network if isinstance(loaded, LoadedMolmo2) else MolmoNetwork
    return kind(loaded, sole)  # type: ignore[arg-type]
