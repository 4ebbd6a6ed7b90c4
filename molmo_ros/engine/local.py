# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo in this process: greedy decoding, in as few passes as its tokens can be had.

An image is computed once and kept for the questions that follow. What an answer's form suggests is
drafted and verified (`writing`), several questions share their passes (`decoding`), and a question
asked before is first tried with its last answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molmo_ros.engine.answers import (
    Answer,
    EngineError,
    InvalidQuestion,
    Question,
    never,
)
from molmo_ros.engine.confidence import number_tokens, with_confidence
from molmo_ros.engine.decoding import Decoder
from molmo_ros.engine.frames import FrameCache, FrameKey, frame_key
from molmo_ros.engine.requests import Stopwatch, check_image, continue_or_stop, prompt_of, turn
from molmo_ros.engine.writing import Writer
from molmo_ros.model.fast_vision import FastVision
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.pointing import read_points

MAX_NEW_TOKENS = 1024
MAX_QUESTIONS = 64  # at a time
MAX_REMEMBERED = 64  # answers, to draft from


class LocalEngine:
    """Runs a loaded Molmo; one image at a time, others wait.

    max_frames, max_bytes: how much of the images seen is kept for further questions. row_step: see
    `Decoder`; by default 8 on a GPU.
    """

    def __init__(
        self,
        loaded: LoadedMolmo,
        max_frames: int = 16,
        max_bytes: int = 1 << 30,
        row_step: int | None = None,
    ) -> None:
        self._lock = Lock()
        self._state: _State | None = _State(loaded, FrameCache(max_frames, max_bytes), row_step)

    def answer(
        self,
        image: NDArray[np.uint8],
        question: Question,
        should_stop: Callable[[], bool] = never,
    ) -> Answer:
        return self.answer_many(image, [question], should_stop)[0]

    def answer_many(
        self,
        image: NDArray[np.uint8],
        questions: Sequence[Question],
        should_stop: Callable[[], bool] = never,
    ) -> tuple[Answer, ...]:
        """Answer questions about one image in common passes; see `answers.answer_many`."""
        check_image(image)
        if not 1 <= len(questions) <= MAX_QUESTIONS:
            raise InvalidQuestion(
                f'{len(questions)} questions were asked at once; ask 1 to {MAX_QUESTIONS}'
            )
        prompts = [prompt_of(question) for question in questions]
        with turn(self._lock, should_stop), torch.inference_mode():
            if self._state is None:
                raise EngineError('the engine is closed')
            try:
                return _Run(self._state, should_stop).answers(image, questions, prompts)
            except EngineError:
                raise
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    'the GPU ran out of memory; use a smaller checkpoint, fewer crops '
                    '(max_crops) or a smaller dtype'
                ) from error
            except Exception as error:
                raise EngineError(f'inference failed: {error}') from error

    @property
    def held_bytes(self) -> int:
        """What is held beyond the weights: the decoder's cache, and the images kept."""
        state = self._state
        return 0 if state is None else state.decoder.nbytes + state.frames.nbytes

    def close(self) -> None:
        with self._lock:
            self._state = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


class _State:
    """What stays from question to question."""

    def __init__(self, loaded: LoadedMolmo, frames: FrameCache, row_step: int | None) -> None:
        self.tokenizer, self.preprocessor = loaded.tokenizer, loaded.preprocessor
        self.device = loaded.model.device
        self.max_positions = loaded.model.config.text.max_positions
        number_ids, self.numbers = number_tokens(loaded.tokenizer.backend.get_vocab())
        if row_step is None:
            row_step = 8 if self.device.type == 'cuda' else 1
        self.vision = FastVision(loaded.model)
        self.decoder = Decoder(loaded.model, number_ids, row_step)
        self.frames = frames
        self.frame: FrameKey | None = None  # whose keys and values the decoder holds
        self.remembered: OrderedDict[Question, tuple[int, ...]] = OrderedDict()

    def remember(self, question: Question, ids: Sequence[int]) -> None:
        self.remembered[question] = tuple(ids)
        self.remembered.move_to_end(question)
        if len(self.remembered) > MAX_REMEMBERED:
            self.remembered.popitem(last=False)


class _Run:
    """The way of some questions about one image through the model."""

    def __init__(self, state: _State, should_stop: Callable[[], bool]) -> None:
        self._state, self._should_stop = state, should_stop
        self._stage = Stopwatch(state.device)
        self._work = dict.fromkeys(('crops', 'image_tokens', 'text_tokens'), 0)

    def answers(
        self, image: NDArray[np.uint8], questions: Sequence[Question], prompts: Sequence[str]
    ) -> tuple[Answer, ...]:
        suffixes = [self._state.tokenizer.encode_question(prompt) for prompt in prompts]
        continue_or_stop(self._should_stop)
        with self._stage('preprocess'):
            key = frame_key(image)
        embeds, image_tokens = self._image(image, key, max(map(len, suffixes)))
        writers = [
            self._writer(question, image_tokens + len(suffix))
            for question, suffix in zip(questions, suffixes, strict=True)
        ]
        passes = self._decode(embeds, image_tokens, suffixes, writers, key)
        for question, writer in zip(questions, writers, strict=True):
            self._state.remember(question, writer.ids)
        with self._stage('parse'):
            read = [
                self._answer(image, question, writer, count)
                for question, writer, count in zip(questions, writers, passes, strict=True)
            ]
        return tuple(read)

    def _image(
        self, image: NDArray[np.uint8], key: FrameKey, longest: int
    ) -> tuple[Tensor | None, int]:
        """What the decoder has yet to read of the image (None: nothing), and its tokens."""
        state = self._state
        with self._stage('preprocess'):
            if key != state.frame and (kept := state.frames.get(key)) is not None:
                state.frame = None
                state.decoder.put_image(kept)
                state.frame = key
            if key == state.frame:
                tokens = state.decoder.image_tokens
                self._check_length(tokens + longest)
                return None, tokens
            inputs = preprocess(image, state.preprocessor, state.tokenizer.image, state.device)
            tokens = 1 + len(inputs.token_ids)
            self._check_length(tokens + longest)
        continue_or_stop(self._should_stop)
        with self._stage('vision'):
            embeds = state.vision.embed_image(inputs, state.tokenizer.eos)
        self._work |= {'crops': len(inputs.crops), 'image_tokens': tokens}
        return embeds, tokens

    def _check_length(self, length: int) -> None:
        if length >= self._state.max_positions:
            raise InvalidQuestion(
                f'the question is too long: with the image it takes {length} tokens of '
                f'{self._state.max_positions}; ask a shorter one'
            )

    def _writer(self, question: Question, length: int) -> Writer:
        limit = min(self._state.max_positions - length, MAX_NEW_TOKENS)
        remembered = self._state.remembered.get(question, ())
        tokenizer = self._state.tokenizer
        return Writer(tokenizer, question, limit, [tokenizer.eos], remembered)

    def _decode(
        self,
        embeds: Tensor | None,
        image_tokens: int,
        suffixes: Sequence[Sequence[int]],
        writers: Sequence[Writer],
        key: FrameKey,
    ) -> list[int]:
        """Write all answers; return how many passes each took part in."""
        state, decoder = self._state, self._state.decoder
        if embeds is not None:
            state.frame = None
        lines = decoder.begin(suffixes, image_tokens)
        passes = [0] * len(lines)
        active = list(range(len(lines)))
        stage = 'prefill'
        while active:
            continue_or_stop(self._should_stop)
            with self._stage(stage):
                for index in active:
                    lines[index].drafted = writers[index].draft()
                rows = decoder.rows
                predictions = decoder.read([lines[index] for index in active], embeds)
                self._work['text_tokens'] += decoder.rows - rows
                for index, predicted in zip(active, predictions, strict=True):
                    line, writer = lines[index], writers[index]
                    stood = writer.accept(line.drafted, predicted)
                    decoder.settle(line, stood, predicted[stood].token)
                    passes[index] += 1
                if embeds is not None:
                    self._work['text_tokens'] -= image_tokens
                    state.frames.put(key, decoder.image())
                    state.frame, embeds = key, None
            active = [index for index in active if not writers[index].done]
            stage = 'decode'
        return passes

    def _answer(
        self, image: NDArray[np.uint8], question: Question, writer: Writer, passes: int
    ) -> Answer:
        height, width = image.shape[:2]
        text = writer.answer
        reading = read_points(text, width, height)
        points = with_confidence(
            reading.points[: question.max_points or None],
            writer,
            self._state.numbers,
            width,
            height,
        )
        return Answer(
            text,
            points,
            reading.count,
            reading.absent,
            passes,
            self._stage.seconds,
            tuple(writer.ids),
            self._work,
        )
