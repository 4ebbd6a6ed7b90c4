# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo in this process, decoded greedily."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from molmo_ros.engine.answers import (
    Answer,
    EngineError,
    InvalidImage,
    InvalidQuestion,
    Question,
    Stopped,
    never,
)
from molmo_ros.model.config import UnsupportedCheckpoint
from molmo_ros.model.loading import LoadedMolmo, load_molmo
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.pointing import Mode, complete, finished, label_for, prompt_for, read_points

MIN_SIDE = 16
MAX_PIXELS = 64_000_000
MAX_NEW_TOKENS = 1024


class LocalEngine:
    """Runs a loaded Molmo; one question at a time, others wait."""

    def __init__(self, loaded: LoadedMolmo) -> None:
        self._loaded: LoadedMolmo | None = loaded
        self._lock = Lock()

    def answer(
        self,
        image: NDArray[np.uint8],
        question: Question,
        should_stop: Callable[[], bool] = never,
    ) -> Answer:
        _check_image(image)
        try:
            prompt = prompt_for(question.query, question.mode)
        except ValueError as error:
            raise InvalidQuestion(str(error)) from error
        with self._lock, torch.inference_mode():
            if self._loaded is None:
                raise EngineError('the engine is closed')
            try:
                return _Greedy(self._loaded, should_stop).run(image, prompt, question)
            except EngineError:
                raise
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    'the GPU ran out of memory; use a smaller checkpoint, fewer crops '
                    '(max_crops) or a smaller dtype'
                ) from error
            except Exception as error:
                raise EngineError(f'inference failed: {error}') from error

    def close(self) -> None:
        with self._lock:
            self._loaded = None


class _Greedy:
    """One question's way through the model."""

    def __init__(self, loaded: LoadedMolmo, should_stop: Callable[[], bool]) -> None:
        self.model, self.tokenizer = loaded.model, loaded.tokenizer
        self.preprocessor = loaded.preprocessor
        self.should_stop = should_stop
        self.cache = DynamicCache(config=self.model.text.config)
        self.passes = 0
        self.timings: dict[str, float] = {}

    def run(self, image: NDArray[np.uint8], prompt: str, question: Question) -> Answer:
        suffix = self.tokenizer.encode_question(prompt)
        with self._stage('preprocess'):
            inputs = preprocess(image, self.preprocessor, self.tokenizer.image, self.model.device)
        length = 1 + len(inputs.token_ids) + len(suffix)
        room = self.model.config.text.max_positions - length
        if room < 1:
            raise InvalidQuestion(
                f'the question is too long: with the image it takes {length} tokens of '
                f'{self.model.config.text.max_positions}; ask a shorter one'
            )
        self._continue_or_stop()
        with self._stage('vision'):
            prefix = self.model.embed_image(inputs, self.tokenizer.eos)
        with self._stage('prefill'):
            tail = self.model.embed(torch.tensor(suffix, device=self.model.device))
            next_id = self._pass(torch.cat([prefix, tail], dim=1))
        with self._stage('decode'):
            text = self._decode(next_id, question, min(room, MAX_NEW_TOKENS))
        with self._stage('parse'):
            reading = read_points(text, image.shape[1], image.shape[0])
        points = reading.points[: question.max_points or None]
        return Answer(text, points, reading.count, reading.absent, self.passes, self.timings)

    def _decode(self, next_id: int, question: Question, limit: int) -> str:
        """Write until the end of text, or until the last coordinate is known."""
        ids: list[int] = []
        text = ''
        while next_id != self.tokenizer.eos and len(ids) < limit:
            ids.append(next_id)
            text = self.tokenizer.decode(ids)
            if question.mode is not Mode.ASK and finished(text, question.max_points):
                return complete(text, label_for(question.query))
            next_id = self._pass(
                self.model.embed(torch.tensor([next_id], device=self.model.device))
            )
        return text

    def _pass(self, embeds: Tensor) -> int:
        self._continue_or_stop()
        hidden = self.model.decode(embeds, past_key_values=self.cache, use_cache=True)
        self.passes += 1
        return int(self.model.lm_head(hidden[0, -1]).argmax())

    def _continue_or_stop(self) -> None:
        if self.should_stop():
            raise Stopped('stopped before the answer was complete')

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            if self.model.device.type == 'cuda':
                torch.cuda.synchronize()
            self.timings[name] = time.perf_counter() - begin


def load_local(
    folder: Path,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    max_crops: int | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> LocalEngine:
    """See `molmo_ros.engine.load_engine`."""

    def progress(share: float) -> None:
        if on_progress is not None:
            on_progress('loading weights', share)

    try:
        return LocalEngine(load_molmo(folder, device, dtype, max_crops, progress))
    except (UnsupportedCheckpoint, ValueError) as error:
        raise EngineError(str(error)) from error
    except OSError as error:
        raise EngineError(f'{folder} cannot be read: {error}') from error


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InvalidImage(
            f'expected an RGB image of shape (height, width, 3) and uint8; got '
            f'{image.shape} {image.dtype}'
        )
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise InvalidImage(
            f'the image is {width}x{height}; both sides must be at least {MIN_SIDE} pixels'
        )
    if height * width > MAX_PIXELS:
        raise InvalidImage(
            f'the image has {width}x{height} pixels; at most {MAX_PIXELS} are accepted'
        )
