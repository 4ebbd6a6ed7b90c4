# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo in this process: greedy decoding, in as few passes as its tokens can be had.

An image is computed once and kept for the questions that follow. What an answer's form suggests is
drafted and verified (`writing`), several questions share their passes (`decoding`), and a question
asked before is first tried with its last answer. Both generations go this way (`networks`).
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
    Engine,
    EngineError,
    InvalidQuestion,
    Question,
    QueuedQuestion,
)
from molmo_ros.engine.confidence import number_tokens, with_confidence
from molmo_ros.engine.decoding import Decoder, Line
from molmo_ros.engine.frame_cache import FrameCache, FrameKey, frame_key
from molmo_ros.engine.networks import Network, network_of
from molmo_ros.engine.requests import (
    Stopwatch,
    as_engine_error,
    check_image,
    continue_or_stop,
    prompt_of,
    turn,
)
from molmo_ros.engine.writer import Writer
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.model.molmo2 import LoadedMolmo2
from molmo_ros.pointing import read_points

MAX_NEW_TOKENS = 1024
MAX_QUESTIONS = 64  # at a time
MAX_REMEMBERED = 64  # answers, to draft from


class LocalEngine(Engine):
    """Runs a loaded checkpoint; one image at a time, others wait.

    max_frames, max_bytes: how much of the images seen is kept for further questions. row_step: see
    `Decoder`; by default 8 on a GPU.
    """

    def __init__(
        self,
        loaded: LoadedMolmo | LoadedMolmo2,
        max_frames: int = 16,
        max_bytes: int = 1 << 30,
        row_step: int | None = None,
    ) -> None:
        self._lock = Lock()
        frames = FrameCache(max_frames, max_bytes)
        self._state: _State | None = _State(network_of(loaded), frames, row_step)

    def answer_each(self, image: NDArray[np.uint8], questions: Sequence[QueuedQuestion]) -> None:
        """See `Engine.answer_each`; the questions share their passes through the model."""
        run = _Run(questions)
        try:
            check_image(image)
            if len(questions) > MAX_QUESTIONS:
                raise InvalidQuestion(
                    f'{len(questions)} questions were asked at once; ask at most {MAX_QUESTIONS}'
                )
            with turn(self._lock, run.all_stopped), torch.inference_mode():
                if self._state is None:
                    raise EngineError('the engine is closed')
                run.go(self._state, image)
        except Exception as error:
            run.fail(_told(error))

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


def _told(error: Exception) -> EngineError:
    """What to tell whoever asked."""
    if not isinstance(error, torch.OutOfMemoryError):
        return as_engine_error(error)
    told = EngineError(
        'the GPU ran out of memory; use a smaller checkpoint, fewer crops (max_crops), a smaller '
        'dtype or quantize'
    )
    told.__cause__ = error
    return told


class _State:
    """What stays from question to question."""

    def __init__(self, network: Network, frames: FrameCache, row_step: int | None) -> None:
        self.network = network
        self.device = network.lm_head.weight.device
        self.max_positions: int = network.text.config.max_position_embeddings
        number_ids, self.numbers = number_tokens(network.tokenizer.backend.get_vocab())
        if row_step is None:
            row_step = 8 if self.device.type == 'cuda' else 1
        self.decoder = Decoder(network, number_ids, row_step)
        self.frames = frames
        self.frame: FrameKey | None = None  # whose keys and values the decoder holds
        self.remembered: OrderedDict[Question, tuple[int, ...]] = OrderedDict()

    def synchronize(self) -> None:
        """Wait for what a GPU has still to do."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize()

    def knows(self, key: FrameKey) -> bool:
        """Whether the decoder holds a frame, by now."""
        if key != self.frame and (kept := self.frames.get(key)) is not None:
            self.frame = None
            self.decoder.put_image(kept)
            self.frame = key
        return key == self.frame

    def remember(self, question: Question, ids: Sequence[int]) -> None:
        self.remembered[question] = tuple(ids)
        self.remembered.move_to_end(question)
        if len(self.remembered) > MAX_REMEMBERED:
            self.remembered.popitem(last=False)


class _Reply:
    """One question on its way."""

    ids: list[int]  # of the question
    writer: Writer
    line: Line | None = None
    passes = 0

    def __init__(self, asked: QueuedQuestion) -> None:
        self.asked = asked

    def go_on(self) -> None:
        """Raise Stopped if nobody wants to know any more."""
        continue_or_stop(self.asked.should_stop)


class _Run:
    """The way of some questions about one image through the model.

    Each leaves it as soon as its answer is known, it is stopped, or it turns out to be no question.
    """

    _state: _State
    _stage: Stopwatch

    def __init__(self, asked: Sequence[QueuedQuestion]) -> None:
        self._open = [_Reply(one) for one in asked]  # who has not been told anything yet
        self._work = dict.fromkeys(('crops', 'image_tokens', 'text_tokens', 'choices'), 0)

    def all_stopped(self) -> bool:
        return all(reply.asked.should_stop() for reply in self._open)

    def fail(self, error: EngineError) -> None:
        """Tell everybody left."""
        for reply in list(self._open):
            self._tell(reply, error)

    def go(self, state: _State, image: NDArray[np.uint8]) -> None:
        self._state, self._stage = state, Stopwatch(state.synchronize)
        self._each(self._encode)
        self._each(_Reply.go_on)
        if not self._open:
            return
        with self._stage('preprocess'):
            key = frame_key(image)
            seen = None if state.knows(key) else state.network.see(image)
        tokens = state.decoder.image_tokens if seen is None else seen.tokens
        self._each(lambda reply: self._begin(reply, tokens))
        if seen is None:
            self._decode(None, tokens, key, image)
            return
        self._each(_Reply.go_on)
        if self._open:
            with self._stage('vision'):
                embeds = seen.embed()
            self._work |= {'crops': seen.crops, 'image_tokens': tokens}
            self._decode(embeds, tokens, key, image)

    def _each(self, step: Callable[[_Reply], None]) -> None:
        """Take a step with every question; one that fails leaves, and the others go on."""
        for reply in list(self._open):
            try:
                step(reply)
            except Exception as error:
                self._tell(reply, _told(error))

    def _tell(self, reply: _Reply, outcome: Answer | EngineError) -> None:
        self._open.remove(reply)
        if reply.line is not None:
            self._state.decoder.end(reply.line)
        reply.asked.tell(outcome)

    def _encode(self, reply: _Reply) -> None:
        prompt = prompt_of(reply.asked.question)
        reply.ids = self._state.network.tokenizer.encode_question(prompt)

    def _begin(self, reply: _Reply, image_tokens: int) -> None:
        state, question = self._state, reply.asked.question
        length = image_tokens + len(reply.ids)
        if length >= state.max_positions:
            raise InvalidQuestion(
                f'the question is too long: with the image it takes {length} tokens of '
                f'{state.max_positions}; ask a shorter one'
            )
        tokenizer = state.network.tokenizer
        reply.writer = Writer(
            tokenizer,
            question,
            min(state.max_positions - length, MAX_NEW_TOKENS),
            tokenizer.stops,
            state.remembered.get(question, ()),
            state.network.style,
        )

    def _decode(
        self, embeds: Tensor | None, tokens: int, key: FrameKey, image: NDArray[np.uint8]
    ) -> None:
        """Write all answers. embeds: what the decoder has yet to read of the image."""
        if embeds is not None:
            self._state.frame = None
        lines = self._state.decoder.begin([reply.ids for reply in self._open], tokens)
        for reply, line in zip(self._open, lines, strict=True):
            reply.line = line
        stage = 'prefill'
        while True:
            self._each(_Reply.go_on)
            if not self._open:
                return
            with self._stage(stage):
                self._pass([(reply, reply.line) for reply in self._open if reply.line], embeds)
                if embeds is not None:
                    self._state.frames.put(key, self._state.decoder.image())
                    self._state.frame, embeds = key, None
            self._each(lambda reply: self._finish(reply, image))
            stage = 'decode'

    def _pass(self, replies: Sequence[tuple[_Reply, Line]], embeds: Tensor | None) -> None:
        decoder = self._state.decoder
        for reply, line in replies:
            line.drafted = reply.writer.draft()
        rows, choices = decoder.rows, decoder.choices
        predictions = decoder.read([line for _, line in replies], embeds)
        self._work['text_tokens'] += decoder.rows - rows - (0 if embeds is None else len(embeds))
        self._work['choices'] += decoder.choices - choices
        for (reply, line), predicted in zip(replies, predictions, strict=True):
            stood = reply.writer.accept(line.drafted, predicted)
            decoder.settle(line, stood, predicted[stood].token)
            reply.passes += 1

    def _finish(self, reply: _Reply, image: NDArray[np.uint8]) -> None:
        """Tell the answer, if it is written."""
        writer, question = reply.writer, reply.asked.question
        if not writer.done:
            return
        self._state.remember(question, writer.ids)
        height, width = image.shape[:2]
        with self._stage('parse'):
            reading = read_points(writer.answer, width, height)
            points = with_confidence(
                reading.points[: question.max_points or None],
                writer,
                self._state.numbers,
                width,
                height,
                self._state.network.style,
            )
        answer = Answer(
            writer.answer,
            points,
            reading.count,
            reading.absent,
            reply.passes,
            dict(self._stage.seconds),
            tuple(writer.ids),
            dict(self._work),
        )
        self._tell(reply, answer)
