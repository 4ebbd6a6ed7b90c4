# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo2 in this process: transformers' network, decoded greedily with verified drafts."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from molmo_ros.engine.answers import Answer, EngineError, InvalidQuestion, Question, never
from molmo_ros.engine.confidence import number_tokens, with_confidence
from molmo_ros.engine.decoding import choices, told
from molmo_ros.engine.requests import Stopwatch, check_image, continue_or_stop, prompt_of, turn
from molmo_ros.engine.writing import Writer
from molmo_ros.model.molmo2 import LoadedMolmo2
from molmo_ros.model.molmo2_preprocessing import Molmo2ImageInputs, preprocess_molmo2
from molmo_ros.pointing import Style, read_points

MAX_NEW_TOKENS = 1024


class Molmo2Engine:
    """Runs a loaded Molmo2; one question at a time, others wait."""

    def __init__(self, loaded: LoadedMolmo2) -> None:
        self._loaded: LoadedMolmo2 | None = loaded
        self._lock = Lock()

    def answer(
        self,
        image: NDArray[np.uint8],
        question: Question,
        should_stop: Callable[[], bool] = never,
    ) -> Answer:
        check_image(image)
        prompt = prompt_of(question)
        with turn(self._lock, should_stop), torch.inference_mode():
            if self._loaded is None:
                raise EngineError('the engine is closed')
            try:
                return _Greedy(self._loaded, should_stop).run(image, prompt, question)
            except EngineError:
                raise
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    'the GPU ran out of memory; use a smaller checkpoint, fewer crops '
                    '(max_crops) or quantize'
                ) from error
            except Exception as error:
                raise EngineError(f'inference failed: {error}') from error

    def close(self) -> None:
        with self._lock:
            self._loaded = None


class _Greedy:
    """One question's way through the model."""

    def __init__(self, loaded: LoadedMolmo2, should_stop: Callable[[], bool]) -> None:
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._preprocessor = loaded.preprocessor
        self._should_stop = should_stop
        self._cache = DynamicCache(config=self._model.config.get_text_config())
        self._stage = Stopwatch(self._model.device)
        # A layer that forgets what is out of its window cannot take a draft back.
        self._may_draft = not any(layer.is_sliding for layer in self._cache.layers)
        ids, self._texts = number_tokens(self._tokenizer.backend.get_vocab())
        self._numbers = torch.tensor(ids, dtype=torch.long, device=self._model.device)
        self._passes = self._rows = 0

    def run(self, image: NDArray[np.uint8], words: str, question: Question) -> Answer:
        suffix = self._tokenizer.encode_question(words)
        device = self._model.device
        continue_or_stop(self._should_stop)
        with self._stage('preprocess'):
            inputs = preprocess_molmo2(image, self._preprocessor, self._tokenizer.image, device)
        room = self._room(1 + len(inputs.token_ids) + len(suffix))
        continue_or_stop(self._should_stop)
        with self._stage('vision'):
            features = self._model.get_image_features(
                inputs.pixel_values.to(self._model.dtype), inputs.token_pooling, inputs.grids
            )
        tokenizer, limit = self._tokenizer, min(room, MAX_NEW_TOKENS)
        writer = Writer(tokenizer, question, limit, tokenizer.stops, style=Style.MOLMO2)
        with self._stage('prefill'):
            prompt = self._prompt(inputs, suffix)
            self._pass(writer, **prompt, mm_encoder_outputs={'image': features})
        with self._stage('decode'):
            while not writer.done:
                self._pass(writer, input_ids=torch.tensor([writer.ids[-1:]], device=device))
        with self._stage('parse'):
            height, width = image.shape[:2]
            reading = read_points(writer.answer, width, height)
            points = with_confidence(
                reading.points[: question.max_points or None],
                writer,
                self._texts,
                width,
                height,
                Style.MOLMO2,
            )
        return Answer(
            writer.answer,
            points,
            reading.count,
            reading.absent,
            self._passes,
            self._stage.seconds,
            tuple(writer.ids),
            {
                'crops': len(inputs.pixel_values),
                'image_tokens': 1 + len(inputs.token_ids),
                'text_tokens': self._rows - 1 - len(inputs.token_ids),
            },
        )

    def _prompt(self, inputs: Molmo2ImageInputs, suffix: list[int]) -> dict[str, Tensor]:
        """BOS, image, the user's turn; the image's tokens see each other in both directions."""
        tokenizer, image = self._tokenizer, inputs.token_ids
        ids = torch.cat([image.new_tensor([tokenizer.bos]), image, image.new_tensor(suffix)])
        of_image = torch.zeros_like(ids)
        of_image[1 : 1 + len(image)] = 1
        return {'input_ids': ids[None], 'mm_token_type_ids': of_image[None]}

    def _pass(self, writer: Writer, **inputs: Any) -> None:
        """Put inputs and a draft through the model, and keep what stands of the draft."""
        continue_or_stop(self._should_stop)
        drafted = writer.draft() if self._may_draft else []
        for name, ids in inputs.items():
            if name.endswith('_ids'):
                more = drafted if name == 'input_ids' else [0] * len(drafted)
                inputs[name] = torch.cat([ids, ids.new_tensor([more])], dim=1)
        out = self._model(
            **inputs,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=len(drafted) + 1,
        )
        self._passes += 1
        self._rows += inputs['input_ids'].shape[1]
        predictions = told(choices(out.logits[0], self._numbers).cpu().numpy())
        stood = writer.accept(drafted, predictions)
        if drafted:
            self._cache.crop(stood - len(drafted))

    def _room(self, length: int) -> int:
        positions = self._model.config.get_text_config().max_position_embeddings
        if length >= positions:
            raise InvalidQuestion(
                f'the question is too long: with the image it takes {length} tokens of '
                f'{positions}; ask a shorter one'
            )
        return int(positions - length)
