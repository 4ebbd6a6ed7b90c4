# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo in this process: greedy decoding, in as few passes as its tokens can be had.

An image is computed once and kept for the questions that follow. What an answer's form suggests is
drafted and verified (`writer`), several questions share their passes (`decoding`), and a question
asked before is first tried with its last answer, or needs no pass (`recall`). All generations go
this way (`networks`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from molmo_ros.engine.answers import (
    Answer,
    Engine,
    EngineError,
    InvalidQuestion,
    Question,
    QueuedQuestion,
)
from molmo_ros.engine.confidence import number_tokens
from molmo_ros.engine.decoding import Line
from molmo_ros.engine.frame_cache import FrameCache, FrameKey, frame_key
from molmo_ros.engine.networks import Loaded, MolmoPointNetwork, Network, network_of
from molmo_ros.engine.point_decoding import PointDecoder, decoder_of
from molmo_ros.engine.point_writer import PointWriter, read_point_answer
from molmo_ros.engine.presence import Openings, presence_of
from molmo_ros.engine.recall import Recall, view_of
from molmo_ros.engine.requests import (
    Stopwatch,
    as_engine_error,
    check_image,
    continue_or_stop,
    heard,
    prompt_of,
    turn,
)
from molmo_ros.engine.writer import Digits, Prediction, Writer
from molmo_ros.engine.written import Written, read_written

MAX_NEW_TOKENS = 1024
MAX_QUESTIONS = 64  # at a time
MAX_ROWS = 1024  # of questions in a pass: its mask takes their square, for each head
USUAL_IMAGE = 741  # tokens, of 640 x 480


class LocalEngine(Engine):
    """Runs a loaded checkpoint; one image at a time, others wait.

    max_frames, max_bytes: how much of the images seen is kept for further questions. row_step: see
    `Decoder`; by default 8 on a GPU. branch_rows: up to how many rows a pass tries all ten digits
    where one is due; by default `Decoder.spare_rows`: on a GPU, which waits for the weights anyway,
    as many as are replayed; some on a CPU with a small network; none with 4-bit weights, which more
    rows unpack.
    """

    def __init__(
        self,
        loaded: Loaded,
        max_frames: int = 16,
        max_bytes: int = 1 << 30,
        row_step: int | None = None,
        branch_rows: int | None = None,
    ) -> None:
        self._lock = Lock()
        self.parameters = sum(weight.numel() for weight in loaded.model.parameters())
        frames = FrameCache(max_frames, max_bytes)
        self._state: _State | None = _State(network_of(loaded), frames, row_step, branch_rows)

    def answer_each(self, image: NDArray[np.uint8], questions: Sequence[QueuedQuestion]) -> None:
        """See `Engine.answer_each`; the questions share their passes through the model."""
        untold, stage = _Untold(questions), Stopwatch()
        try:
            check_image(image)
            with stage('preprocess'):
                key = frame_key(image)  # before its turn, so that nobody waits for a large one
            if len(questions) > MAX_QUESTIONS:
                raise InvalidQuestion(
                    f'{len(questions)} questions were asked at once; ask at most {MAX_QUESTIONS}'
                )
            with turn(self._lock, untold.all_stopped), torch.inference_mode():
                if self._state is None:
                    raise EngineError('the engine is closed')
                with on_device(self._state.device):
                    _Run(self._state, image, key, untold, stage.seconds['preprocess']).go()
        except Exception as error:
            untold.fail(_told(error))

    @property
    def held_bytes(self) -> int:
        """What is held beyond the weights: the decoder's cache, and the images kept."""
        state = self._state
        return 0 if state is None else state.decoder.nbytes + state.frames.nbytes

    @property
    def refused_capture(self) -> str:
        """Why passes are not captured on a GPU; empty where they are, and on a CPU."""
        state = self._state
        return '' if state is None else state.decoder.refused_capture

    def close(self) -> None:
        with self._lock:
            device = None if self._state is None else self._state.device
            self._state = None
            # Modules refer to each other in circles, and the memory is wanted now.
            gc.collect()
            if device is not None and device.type == 'cuda':
                with on_device(device):
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

    def __init__(
        self,
        network: Network,
        frames: FrameCache,
        row_step: int | None,
        branch_rows: int | None,
    ) -> None:
        self.network = network
        self.device = network.lm_head.weight.device
        self.max_positions: int = network.text.config.max_position_embeddings
        number_ids, self.numbers = number_tokens(network.tokenizer.backend.get_vocab())
        if row_step is None:
            row_step = 8 if self.device.type == 'cuda' else 1
        self.digits = Digits.of(network.tokenizer)
        self.openings = Openings.of(network.tokenizer, network.style)
        with on_device(self.device):
            # It joins weights that may be taught later: not in inference mode.
            self.decoder = decoder_of(network, number_ids, self.openings.ids, row_step)
            with torch.inference_mode():
                self.decoder.warm(USUAL_IMAGE)
        if branch_rows is None:
            branch_rows = self.decoder.spare_rows
        self.branch_rows = branch_rows
        self.frames = frames
        self.frame: FrameKey | None = None  # whose keys and values the decoder holds
        self.recall = Recall()

    def synchronize(self) -> None:
        """Wait for what a GPU has still to do."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    def knows(self, key: FrameKey) -> bool:
        """Whether the decoder holds a frame, by now."""
        if key != self.frame and (kept := self.frames.get(key)) is not None:
            self.frame = None
            self.decoder.put_image(kept)
            self.frame = key
        return key == self.frame

    def keep(self, key: FrameKey) -> None:
        """Keep the frame that the decoder has just read, and know that it holds it."""
        self.frames.put(key, self.decoder.image())
        self.frame = key

    def writer(self, question: Question, limit: int, remembered: Sequence[int]) -> Writer:
        """For an answer of at most so many tokens."""
        network = self.network
        stops = network.tokenizer.stops
        if isinstance(network, MolmoPointNetwork):
            return PointWriter(network.point_tokenizer, question, limit, stops, remembered)
        return Writer(network.tokenizer, question, limit, stops, remembered, network.style)

    def read(self, writer: Writer, width: int, height: int, max_points: int) -> Written:
        """Read what was written about the image that the decoder holds."""
        if isinstance(writer, PointWriter) and isinstance(self.decoder, PointDecoder):
            return read_point_answer(writer, self.decoder.layout, width, height, max_points)
        style = self.network.style
        return read_written(writer, self.numbers, style, width, height, max_points)


class _Untold:
    """Questions that have not been told anything yet; each leaves as it is told."""

    def __init__(self, questions: Sequence[QueuedQuestion]) -> None:
        self._left = list(questions)

    def __iter__(self) -> Iterator[QueuedQuestion]:
        return iter(list(self._left))

    def all_stopped(self) -> bool:
        return all(asked.should_stop() for asked in self._left)

    def tell(self, asked: QueuedQuestion, outcome: Answer | EngineError) -> None:
        self._left.remove(asked)
        asked.tell(outcome)

    def fail(self, error: EngineError) -> None:
        """Tell everybody left."""
        for asked in self:
            self.tell(asked, error)


@dataclass(frozen=True, eq=False)
class _Open:
    """A question that nothing has been told about."""

    asked: QueuedQuestion


@dataclass(frozen=True, eq=False)
class _Worded(_Open):
    """The question as it is heard, and its ids, too."""

    question: Question
    ids: Sequence[int]


@dataclass(frozen=True, eq=False)
class _Reply(_Open):
    """The question as it is heard, its answer as it is written, its line in the decoder, too."""

    question: Question
    writer: Writer
    line: Line


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """With a GPU as the current one: streams and captures are of that."""
    return torch.cuda.device(device) if device.type == 'cuda' else nullcontext()


def _parts(worded: Sequence[_Worded]) -> list[list[_Worded]]:
    """In parts of up to MAX_ROWS rows."""
    parts: list[list[_Worded]] = []
    rows = MAX_ROWS
    for one in worded:
        rows += len(one.ids)
        if rows > MAX_ROWS:
            parts.append([])
            rows = len(one.ids)
        parts[-1].append(one)
    return parts


_Item = TypeVar('_Item', bound=_Open)
_Done = TypeVar('_Done')
_Read = Callable[[Sequence[Line]], list[list[Prediction]]]


class _Run:
    """The way of some questions about one image through the model.

    Each leaves it as soon as its answer is known, it is stopped, or it turns out to be no question.
    """

    def __init__(
        self,
        state: _State,
        image: NDArray[np.uint8],
        key: FrameKey,
        untold: _Untold,
        preprocessing: float,
    ) -> None:
        self._state, self._image, self._key, self._untold = state, image, key, untold
        self._view = view_of(image)
        self._stage = Stopwatch(state.synchronize)
        self._stage.seconds['preprocess'] = preprocessing  # so far
        self._work = dict.fromkeys(('crops', 'image_tokens', 'text_tokens', 'choices'), 0)
        self._passes = 0

    def go(self) -> None:
        worded = self._wanted(self._each(self._word, [_Open(one) for one in self._untold]))
        worded = self._unanswered(worded)
        if not worded:
            return
        with self._stage('preprocess'):
            known = self._state.knows(self._key)
        if known:
            self._ask_known(worded)
        else:
            self._ask_new(worded)

    def _unanswered(self, worded: Sequence[_Worded]) -> list[_Worded]:
        """Those that were not asked before of the same picture; the others are told the same."""
        new = []
        for one in worded:
            known = self._state.recall.answer(self._key, one.question)
            if known is None:
                new.append(one)
            else:
                seconds = dict(self._stage.seconds)
                again = replace(known, passes=0, timings=seconds, work=dict(self._work))
                self._untold.tell(one.asked, again)
        return new

    def _ask_known(self, worded: Sequence[_Worded]) -> None:
        """Of an image that the decoder holds."""
        decoder = self._state.decoder
        for some in _parts(self._fitting(worded, decoder.image_tokens)):
            self._passes = 0
            self._write(self._begin(some, decoder.image_tokens), decoder.read)

    def _ask_new(self, worded: Sequence[_Worded]) -> None:
        """Of an image that has to go through the encoder, and through the decoder's first pass."""
        state = self._state
        with self._stage('preprocess'):
            seen = state.network.see(self._image)
        worded = self._wanted(self._fitting(worded, seen.tokens))
        if not worded:
            return
        with self._stage('vision'):
            embeds = seen.embed()
        self._work |= {'crops': seen.crops, 'image_tokens': seen.tokens}

        def read(lines: Sequence[Line]) -> list[list[Prediction]]:
            predictions = state.decoder.read_image(embeds, lines)
            state.keep(self._key)
            return predictions

        state.frame = None
        for some in _parts(worded):
            self._passes = 0
            known = state.frame == self._key
            self._write(self._begin(some, seen.tokens), state.decoder.read if known else read)

    def _each(self, step: Callable[[_Item], _Done], items: Iterable[_Item]) -> list[_Done]:
        """Take a step with every question; one that fails is told, and the others go on."""
        done = []
        for item in items:
            try:
                done.append(step(item))
            except Exception as error:
                self._untold.tell(item.asked, _told(error))
        return done

    def _wanted(self, items: Sequence[_Item]) -> list[_Item]:
        """Those that somebody still wants to know."""

        def wanted(item: _Item) -> _Item:
            continue_or_stop(item.asked.should_stop)
            return item

        return self._each(wanted, items)

    def _word(self, item: _Open) -> _Worded:
        network = self._state.network
        question = heard(item.asked.question, network.language)
        ids = network.tokenizer.encode_question(prompt_of(question, network.style))
        return _Worded(item.asked, question, ids)

    def _fitting(self, worded: Sequence[_Worded], image_tokens: int) -> list[_Worded]:
        """Those that the decoder has room for."""
        limit = self._state.max_positions

        def fitting(one: _Worded) -> _Worded:
            length = image_tokens + len(one.ids)
            if length >= limit:
                raise InvalidQuestion(
                    f'the question is too long: with the image it takes {length} tokens of '
                    f'{limit}; ask a shorter one'
                )
            return one

        return self._each(fitting, worded)

    def _begin(self, worded: Sequence[_Worded], image_tokens: int) -> list[_Reply]:
        state = self._state
        lines = state.decoder.begin([one.ids for one in worded], image_tokens)
        return [
            _Reply(
                one.asked,
                one.question,
                state.writer(
                    one.question,
                    min(state.max_positions - image_tokens - len(one.ids), MAX_NEW_TOKENS),
                    state.recall.draft(self._view, one.question),
                ),
                line,
            )
            for one, line in zip(worded, lines, strict=True)
        ]

    def _write(self, replies: Sequence[_Reply], first: _Read) -> None:
        """Write all answers, pass by pass; `first` is the first one."""
        decoder, read, stage = self._state.decoder, first, 'prefill'
        writing = self._wanted(replies)
        while writing:
            with self._stage(stage):
                self._pass(writing, read)
            going_on = self._wanted(self._unfinished(writing))
            for reply in writing:
                if reply not in going_on:
                    decoder.end(reply.line)
            writing, read, stage = going_on, decoder.read, 'decode'

    def _pass(self, replies: Sequence[_Reply], read: _Read) -> None:
        decoder = self._state.decoder
        for reply in replies:
            reply.line.drafted = reply.writer.draft()
        if read == decoder.read or decoder.masks_image(len(replies)):
            self._branch(replies)
        text_rows, choices = decoder.text_rows, decoder.choices
        predictions = read([reply.line for reply in replies])
        self._work['text_tokens'] += decoder.text_rows - text_rows
        self._work['choices'] += decoder.choices - choices
        self._passes += 1
        for reply, predicted in zip(replies, predictions, strict=True):
            self._settle(reply, predicted)

    def _branch(self, replies: Sequence[_Reply]) -> None:
        """Let lines try every digit where the pass has rows to spare for all of them.

        They take as many passes as the slowest, so some alone would gain nothing; nor would digits
        without what the form forces after them, which is drafted in the next pass anyway.
        """
        state = self._state
        spare = state.branch_rows
        spare -= sum(len(one.line.pending) + len(one.line.drafted) for one in replies)
        if spare < len(replies) * len(state.digits.ids):
            return
        for reply in replies:
            if type(reply.writer) is not Writer:  # one that writes no digits
                return
            reply.line.branches = reply.writer.branches(reply.line.drafted, state.digits)
        if sum(len(way) for reply in replies for way in reply.line.branches) > spare:
            for reply in replies:
                reply.line.branches = []

    def _settle(self, reply: _Reply, predicted: Sequence[Prediction]) -> None:
        """Take what the model chose."""
        decoder, line, writer = self._state.decoder, reply.line, reply.writer
        trunk, rest = predicted[: len(line.drafted) + 1], predicted[len(line.drafted) + 1 :]
        stood = writer.accept(line.drafted, trunk)
        chosen = trunk[stood].token
        if stood == len(line.drafted) and not writer.done:
            for index, branch in enumerate(line.branches):
                if branch[0] == chosen:
                    after = writer.accept(branch[1:], rest[: len(branch)])
                    decoder.settle_branch(line, index, 1 + after, rest[after].token)
                    return
                rest = rest[len(branch) :]
        decoder.settle(line, stood, chosen)

    def _unfinished(self, replies: Sequence[_Reply]) -> list[_Reply]:
        """Those that are still being written; the others are told their answer."""
        written = [reply for reply in replies if reply.writer.done]
        for asked, answer in self._each(lambda reply: (reply.asked, self._answer(reply)), written):
            self._untold.tell(asked, answer)
        return [reply for reply in replies if not reply.writer.done]

    def _answer(self, reply: _Reply) -> Answer:
        state, writer, question = self._state, reply.writer, reply.question
        height, width = self._image.shape[:2]
        with self._stage('parse'):
            written = state.read(writer, width, height, question.max_points)
            temperature = state.network.language.presence_temperature
            presence = presence_of(writer, written.reading, state.openings, temperature)
        answer = Answer(
            written.text,
            written.points,
            written.count,
            written.absent,
            self._passes,
            dict(self._stage.seconds),
            written.tokens,
            dict(self._work),
            presence,
            written.heat,
            writer.truncated,
        )
        state.recall.keep(self._key, self._view, question, answer, tuple(writer.ids))
        return answer
