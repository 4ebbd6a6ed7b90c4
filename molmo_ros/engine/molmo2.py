# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo2 in this process: transformers' network, decoded greedily, a token a pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from molmo_ros.engine.answers import Answer, EngineError, InvalidQuestion, Question, never
from molmo_ros.engine.requests import check_image, continue_or_stop, prompt_of, turn
from molmo_ros.model.molmo2 import LoadedMolmo2, load_molmo2
from molmo_ros.model.molmo2_preprocessing import Molmo2ImageInputs, preprocess_molmo2
from molmo_ros.pointing import Mode, Style, complete, finished, label_for, read_points

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
        self._timings = dict.fromkeys(('preprocess', 'vision', 'prefill', 'decode', 'parse'), 0.0)
        self._passes = 0

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
        with self._stage('prefill'):
            prompt = self._prompt(inputs, suffix)
            first = self._pass(**prompt, mm_encoder_outputs={'image': features})
        with self._stage('decode'):
            text, ids = self._decode(first, question, min(room, MAX_NEW_TOKENS))
        with self._stage('parse'):
            reading = read_points(text, image.shape[1], image.shape[0])
        return Answer(
            text,
            reading.points[: question.max_points or None],
            reading.count,
            reading.absent,
            self._passes,
            self._timings,
            tuple(ids),
            {
                'crops': len(inputs.pixel_values),
                'image_tokens': 1 + len(inputs.token_ids),
                'text_tokens': len(suffix) + self._passes - 1,
            },
        )

    def _prompt(self, inputs: Molmo2ImageInputs, suffix: list[int]) -> dict[str, Tensor]:
        """BOS, image, the user's turn; the image's tokens see each other in both directions."""
        tokenizer, image = self._tokenizer, inputs.token_ids
        ids = torch.cat([image.new_tensor([tokenizer.bos]), image, image.new_tensor(suffix)])
        of_image = torch.zeros_like(ids)
        of_image[1 : 1 + len(image)] = 1
        return {'input_ids': ids[None], 'mm_token_type_ids': of_image[None]}

    def _decode(self, token: int, question: Question, limit: int) -> tuple[str, list[int]]:
        """Write until the end of the turn, or until the last coordinate is known."""
        ids: list[int] = []
        text = ''
        while token not in self._tokenizer.stops and len(ids) < limit:
            ids.append(token)
            text = self._tokenizer.decode(ids)
            if question.mode is not Mode.ASK and finished(text, question.max_points, Style.MOLMO2):
                return complete(text, label_for(question.query), Style.MOLMO2), ids
            token = self._pass(input_ids=torch.tensor([[token]], device=self._model.device))
        return text, ids

    def _pass(self, **inputs: Any) -> int:
        continue_or_stop(self._should_stop)
        self._passes += 1
        out = self._model(**inputs, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        return int(out.logits[0, -1].argmax())

    def _room(self, length: int) -> int:
        positions = self._model.config.get_text_config().max_position_embeddings
        if length >= positions:
            raise InvalidQuestion(
                f'the question is too long: with the image it takes {length} tokens of '
                f'{positions}; ask a shorter one'
            )
        return int(positions - length)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            if self._model.device.type == 'cuda':
                torch.cuda.synchronize()
            self._timings[name] += time.perf_counter() - begin


def load_molmo2_engine(
    folder: Path,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    max_crops: int | None = None,
    quantize: str = 'none',
    on_progress: Callable[[str, float], None] | None = None,
) -> Molmo2Engine:
    """See `molmo_ros.engine.load_engine`."""
    if on_progress is not None:
        on_progress('loading weights', 0.0)
    try:
        loaded = load_molmo2(folder, device, dtype, max_crops, quantize)
    except ValueError as error:
        raise EngineError(str(error)) from error
    except OSError as error:
        raise EngineError(f'{folder} cannot be read: {error}') from error
    if on_progress is not None:
        on_progress('loading weights', 1.0)
    return Molmo2Engine(loaded)
