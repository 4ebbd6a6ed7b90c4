# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Molmo in this process: greedy decoding, in as few passes as its tokens can be had.

An image is computed once and kept for the questions that follow. What an answer's form suggests is
drafted and verified (`writer`), several questions share their passes (`decoding`), also about
several images, and a question asked before is first tried with its last answer, or needs no pass
(`recall`). All generations go this way (`networks`).
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from molmo_ros.engine.answers import (
    Answer,
    AskedImage,
    Engine,
    EngineError,
    InvalidQuestion,
    Question,
    QueuedQuestion,
)
from molmo_ros.engine.confidence import number_tokens
from molmo_ros.engine.decoding import Line
from molmo_ros.engine.frame_cache import FrameCache, FrameKey, frame_key
from molmo_ros.engine.networks import Loaded, MolmoPointNetwork, Network, Seen, network_of
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
FRAMES_AT_ONCE = 4  # whose questions share passes
PATIENCE = 8  # passes, which one point takes at most
USUAL_IMAGE = 741  # tokens, of 640 x 480


class LocalEngine(Engine):
    """Runs a loaded checkpoint.

    max_frames, max_bytes: how much of the images seen is kept for further questions. row_step: see
    `Decoder`; by default 8 on a GPU. branch_rows: up to how many rows a pass tries all ten digits
    where one is due; by default `Decoder.spare_rows`: on a GPU, which waits for the weights anyway,
    as many as are replayed; some on a CPU with a small network; none with 4-bit weights, which more
    rows unpack.
    frames_at_once: about how many images questions are answered in common passes, where the
    decoder's cache has room for them. patience: how many passes those being answered have before a
    further image is put through the encoder, for which they wait; by default none on a GPU, and on
    a CPU PATIENCE, for there it takes longer than the passes of a short answer. An image that is
    known waits for nothing. sole: whether nobody else needs the loaded network, whose weights may
    then be held in another order alone; nothing can be asked of it, taught or saved any more.
    """

    def __init__(
        self,
        loaded: Loaded,
        max_frames: int = 16,
        max_bytes: int = 1 << 30,
        row_step: int | None = None,
        branch_rows: int | None = None,
        frames_at_once: int = FRAMES_AT_ONCE,
        patience: int | None = None,
        sole: bool = False,
    ) -> None:
        self._lock = Lock()
        self.parameters = sum(weight.numel() for weight in loaded.model.parameters())
        self._frames_at_once, self._patience = frames_at_once, patience
        frames = FrameCache(max_frames, max_bytes)
        self._state: _State | None = _State(
            network_of(loaded, sole), frames, row_step, branch_rows, sole
        )

    def answer_each(self, image: NDArray[np.uint8], questions: Sequence[QueuedQuestion]) -> None:
        """See `Engine.answer_each`; the questions share their passes through the model."""
        self._answer(AskedImage(image, questions), lambda: None)

    def answer_frames(self, first: AskedImage, more: Callable[[], AskedImage | None]) -> None:
        """See `Engine.answer_frames`; the questions share their passes through the model."""
        if type(self).answer_each is LocalEngine.answer_each:
            self._answer(first, more)
        else:  # whoever changes that wants to be asked so
            super().answer_frames(first, more)

    def _answer(self, first: AskedImage, more: Callable[[], AskedImage | None]) -> None:
        asked = _checked(first)
        if asked is None:
            return
        try:
            with turn(self._lock, asked.untold.all_stopped), torch.inference_mode():
                state = self._state
                if state is None:
                    raise EngineError('the engine is closed')
                patience = self._patience
                if patience is None:
                    patience = 0 if state.device.type == 'cuda' else PATIENCE
                with on_device(state.device):
                    _Run(state, more, self._frames_at_once, patience).go(asked)
        except Exception as error:
            asked.untold.fail(_told(error))

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
        sole: bool,
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
            self.decoder = decoder_of(network, number_ids, self.openings.ids, row_step, sole)
            with torch.inference_mode():
                self.decoder.warm(USUAL_IMAGE)
        if branch_rows is None:
            branch_rows = self.decoder.spare_rows
        self.branch_rows = branch_rows
        self.frames = frames
        self._held: dict[FrameKey, int] = {}  # frames that the decoder holds, and their numbers
        self.recall = Recall()

    def synchronize(self) -> None:
        """Wait for what a GPU has still to do."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    def knows(self, key: FrameKey) -> bool:
        """Whether a frame has been read, and is held or kept."""
        return key in self._held or self.frames.get(key) is not None

    def bring(self, key: FrameKey, rows: int, in_use: Collection[int]) -> int | None:
        """The number of a known frame, held by now; None without room beside those in use.

        rows: how many more are wanted.
        """
        number = self._held.get(key)
        if number is not None:
            self._drop_all_but({*in_use, number})
            return number if not in_use or self.decoder.has_room(rows) else None
        kept = self.frames.get(key)
        if not self.has_room(self.decoder.tokens_in(kept) + rows, in_use):
            return None
        number = self._held[key] = self.decoder.put_image(kept)
        return number

    def has_room(self, rows: int, in_use: Collection[int]) -> bool:
        """Whether there is room for so many rows beside the frames in use; others are dropped."""
        self._drop_all_but(in_use)
        return not in_use or self.decoder.has_room(rows)

    def keep(self, key: FrameKey, number: int) -> None:
        """Keep a frame that the decoder has just read, and know that it holds it."""
        self.frames.put(key, self.decoder.image(number))
        self._held[key] = number

    def _drop_all_but(self, in_use: Collection[int]) -> None:
        for number in self.decoder.frames:
            if number not in in_use:
                self.decoder.drop(number)
        self._held = {key: number for key, number in self._held.items() if number in in_use}

    def writer(self, question: Question, limit: int, remembered: Sequence[int]) -> Writer:
        """For an answer of at most so many tokens."""
        network = self.network
        stops = network.tokenizer.stops
        if isinstance(network, MolmoPointNetwork):
            return PointWriter(network.point_tokenizer, question, limit, stops, remembered)
        return Writer(network.tokenizer, question, limit, stops, remembered, network.style)

    def read(self, writer: Writer, frame: int, width: int, height: int, max_points: int) -> Written:
        """Read what was written about an image that the decoder holds."""
        if isinstance(writer, PointWriter) and isinstance(self.decoder, PointDecoder):
            layout = self.decoder.layout(frame)
            return read_point_answer(writer, layout, width, height, max_points)
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


@dataclass(frozen=True)
class _Checked:
    """An image that can be looked at, and questions about it. preprocessing: seconds so far."""

    image: NDArray[np.uint8]
    key: FrameKey
    untold: _Untold
    preprocessing: float


def _checked(asked: AskedImage) -> _Checked | None:
    """Takes no turn, so that nobody waits for a large image. None: it is refused, and all told."""
    untold, stage = _Untold(asked.questions), Stopwatch()
    try:
        check_image(asked.image)
        with stage('preprocess'):
            key = frame_key(asked.image)
        if len(asked.questions) > MAX_QUESTIONS:
            raise InvalidQuestion(
                f'{len(asked.questions)} questions were asked at once; ask at most {MAX_QUESTIONS}'
            )
    except Exception as error:
        untold.fail(_told(error))
        return None
    return _Checked(asked.image, key, untold, stage.seconds['preprocess'])


class _Frame:
    """An image, questions about it on their way, and what they took so far."""

    def __init__(self, checked: _Checked, synchronize: Callable[[], None]) -> None:
        self.image, self.key, self.untold = checked.image, checked.key, checked.untold
        self.view = view_of(checked.image)
        self.stage = Stopwatch(synchronize)
        self.stage.seconds['preprocess'] = checked.preprocessing
        self.work = dict.fromkeys(('crops', 'image_tokens', 'text_tokens', 'choices'), 0)
        self.seen: Seen | None = None


@dataclass(eq=False)
class _Open:
    """A question that nothing has been told about."""

    asked: QueuedQuestion
    frame: _Frame


@dataclass(eq=False)
class _Worded(_Open):
    """The question as it is heard, and its ids, too."""

    question: Question
    ids: Sequence[int]


@dataclass(eq=False)
class _Reply(_Open):
    """The question as it is heard, its answer as it is written, its line in the decoder, too.

    passes: so far.
    """

    question: Question
    writer: Writer
    line: Line
    passes: int = 0


@dataclass(eq=False)
class _Part:
    """Questions about an image that are begun together."""

    frame: _Frame
    worded: list[_Worded]

    @property
    def rows(self) -> int:
        return sum(len(one.ids) for one in self.worded)


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
    """The way of questions through the model, about an image and what is asked beside it.

    Each leaves it as soon as its answer is known, it is stopped, or it turns out to be no question.
    """

    def __init__(
        self,
        state: _State,
        more: Callable[[], AskedImage | None],
        frames_at_once: int,
        patience: int,
    ) -> None:
        self._state, self._more = state, more
        self._frames_at_once, self._patience = frames_at_once, patience
        self._coming: deque[_Part] = deque()
        self._writing: list[_Reply] = []

    def go(self, first: _Checked) -> None:
        decoder = self._state.decoder
        decoder.end_questions()
        self._add(first)
        self._join()
        while self._writing or self._coming:
            if self._writing:
                replies, self._writing = self._writing, []
                with self._failing_to([reply.frame for reply in replies]):
                    self._writing = self._pass(replies, decoder.read)
            self._join()

    @contextmanager
    def _failing_to(self, frames: Sequence[_Frame]) -> Iterator[None]:
        """Tell an error to all that ask about some frames, and go on with the others."""
        try:
            yield
        except Exception as error:
            told = _told(error)
            self._coming = deque(part for part in self._coming if part.frame not in frames)
            for frame in frames:
                frame.untold.fail(told)
            if not self._writing:
                self._state.decoder.end_questions()

    def _add(self, checked: _Checked) -> None:
        frame = _Frame(checked, self._state.synchronize)
        with self._failing_to([frame]):
            opened = [_Open(asked, frame) for asked in frame.untold]
            worded = self._unanswered(frame, self._wanted(self._each(self._word, opened)))
            self._coming += [_Part(frame, some) for some in _parts(worded)]

    def _join(self) -> None:
        """Begin what waits and can be answered beside what is being written."""
        while self._coming or self._take_more():
            if not self._coming:  # what was taken is answered already
                continue
            part = self._coming[0]
            begun = True
            with self._failing_to([part.frame]):
                begun = self._begin(part)
            if not begun:
                return
            if self._coming and self._coming[0] is part:
                self._coming.popleft()

    def _take_more(self) -> bool:
        """Whether there was something that waits."""
        frames = {reply.frame for reply in self._writing}
        if not 0 < len(frames) < self._frames_at_once:
            return False
        asked = self._more()
        if asked is None:
            return False
        checked = _checked(asked)
        if checked is not None:
            self._add(checked)
        return True

    def _begin(self, part: _Part) -> bool:
        """Begin the answers to a part; False if it has to wait for what is being written."""
        state, frame = self._state, part.frame
        in_use = {reply.line.frame for reply in self._writing}
        if any(reply.frame is frame for reply in self._writing):
            return False  # parts share no pass: they were parted for that
        if in_use:
            part.worded = self._wanted(part.worded)
        if not part.worded:
            return True
        if not state.knows(frame.key):
            return self._begin_new(part, in_use)
        with frame.stage('preprocess'):
            number = state.bring(frame.key, part.rows, in_use)
        if number is not None:
            worded = self._fitting(part.worded, state.decoder.tokens_of(number))
            self._writing += self._wanted(self._begun(worded, number))
        return number is not None

    def _begin_new(self, part: _Part, in_use: Collection[int]) -> bool:
        """Of an image that has to go through the encoder, and through the decoder's first pass."""
        state, frame = self._state, part.frame
        if any(reply.passes < self._patience for reply in self._writing):
            return False
        if frame.seen is None:
            with frame.stage('preprocess'):
                frame.seen = state.network.see(frame.image)
        seen = frame.seen
        if not state.has_room(seen.tokens + part.rows, in_use):
            return False
        worded = self._wanted(self._fitting(part.worded, seen.tokens))
        if not worded:
            return True
        with frame.stage('vision'):
            embeds = seen.embed()
        frame.work |= {'crops': seen.crops, 'image_tokens': seen.tokens}
        number = state.decoder.hold(seen.tokens)

        def read(lines: Sequence[Line]) -> list[list[Prediction]]:
            predictions = state.decoder.read_image(embeds, lines)
            state.keep(frame.key, number)
            return predictions

        replies = self._wanted(self._begun(worded, number))
        if replies:
            branched = state.decoder.masks_image(len(replies))
            self._writing += self._pass(replies, read, branched)
        return True

    def _unanswered(self, frame: _Frame, worded: Sequence[_Worded]) -> list[_Worded]:
        """Those that were not asked before of the same picture; the others are told the same."""
        new = []
        for one in worded:
            known = self._state.recall.answer(frame.key, one.question)
            if known is None:
                new.append(one)
            else:
                seconds = dict(frame.stage.seconds)
                again = replace(known, passes=0, timings=seconds, work=dict(frame.work))
                frame.untold.tell(one.asked, again)
        return new

    def _each(self, step: Callable[[_Item], _Done], items: Iterable[_Item]) -> list[_Done]:
        """Take a step with every question; one that fails is told, and the others go on."""
        done = []
        for item in items:
            try:
                done.append(step(item))
            except Exception as error:
                item.frame.untold.tell(item.asked, _told(error))
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
        return _Worded(item.asked, item.frame, question, ids)

    def _fitting(self, worded: Sequence[_Worded], image_tokens: int) -> list[_Worded]:
        """Those that the decoder has positions for."""
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

    def _begun(self, worded: Sequence[_Worded], number: int) -> list[_Reply]:
        """With lines in the decoder, about the frame that it holds under a number."""
        state = self._state
        after = state.decoder.tokens_of(number)
        lines = state.decoder.begin([one.ids for one in worded], number)
        return [
            _Reply(
                one.asked,
                one.frame,
                one.question,
                state.writer(
                    one.question,
                    min(state.max_positions - after - len(one.ids), MAX_NEW_TOKENS),
                    state.recall.draft(one.frame.view, one.question),
                ),
                line,
            )
            for one, line in zip(worded, lines, strict=True)
        ]

    def _pass(self, replies: Sequence[_Reply], read: _Read, branched: bool = True) -> list[_Reply]:
        """Put answers through the model once; returns those that are to go on."""
        decoder = self._state.decoder
        with ExitStack() as stages:
            for frame in {reply.frame: None for reply in replies}:
                begun = any(reply.passes for reply in replies if reply.frame is frame)
                stages.enter_context(frame.stage('decode' if begun else 'prefill'))
            for reply in replies:
                reply.line.drafted = reply.writer.draft()
            if branched:
                self._branch(replies)
            predictions = read([reply.line for reply in replies])
            for reply, predicted in zip(replies, predictions, strict=True):
                reply.passes += 1
                work, line = reply.frame.work, reply.line
                work['text_tokens'] += len(line.pending) + line.guesses
                work['choices'] += line.guesses + 1
                self._settle(reply, predicted)
        going_on = self._wanted(self._unfinished(replies))
        for reply in replies:
            if reply not in going_on:
                decoder.end(reply.line)
        return going_on

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
        for reply, answer in self._each(lambda reply: (reply, self._answer(reply)), written):
            reply.frame.untold.tell(reply.asked, answer)
        return [reply for reply in replies if not reply.writer.done]

    def _answer(self, reply: _Reply) -> Answer:
        state, frame = self._state, reply.frame
        writer, question = reply.writer, reply.question
        height, width = frame.image.shape[:2]
        with frame.stage('parse'):
            written = state.read(writer, reply.line.frame, width, height, question.max_points)
            temperature = state.network.language.presence_temperature
            presence = presence_of(writer, written.reading, state.openings, temperature)
        answer = Answer(
            written.text,
            written.points,
            written.count,
            written.absent,
            reply.passes,
            dict(frame.stage.seconds),
            written.tokens,
            dict(frame.work),
            presence,
            written.heat,
            writer.truncated,
        )
        state.recall.keep(frame.key, frame.view, question, answer, tuple(writer.ids))
        return answer
