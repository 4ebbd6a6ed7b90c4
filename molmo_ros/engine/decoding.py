# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Passes of the decoder over images and any number of questions, each about one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molmo_ros.engine.networks import Network
from molmo_ros.engine.slots import BRANCH, FIRST_QUESTION, FRAME, IMAGE, PADDING, Slots
from molmo_ros.engine.writer import Prediction
from molmo_ros.model.fast_text import FastText
from molmo_ros.model.products import SMALL, Held, product_of, weights_in
from molmo_ros.model.replay import CudaRecorder, Replay

SLOT_STEP = 512  # the cache grows by this much
EXTENT_STEP = 128  # attention runs over multiples of this, so that few shapes occur
REPLAYED_EXTENT_STEP = 512  # where each shape is captured
REPLAYED_ROWS = (8, 16, 32, 64)  # and the predictions wanted of them: as many, or FEW_WANTED
FOUR_BIT_ROWS = 4  # up to which bitsandbytes' kernel multiplies packed weights on every GPU
FEW_WANTED = 16
MAX_REPLAYED_ROWS = REPLAYED_ROWS[-1]
# On a CPU some ten more rows take less than a pass of a decoder as small as the demo checkpoint's.
SPARE_ROWS = 32
# oneDNN writes a kernel for each number of rows; what a small decoder reads is filled up to these.
SMALL_STEP = 8
MOST_RESERVED = 1 << 30  # bytes of the cache that are taken at once where passes are captured
NEGLIGIBLE = -80.0  # of a logit, below the largest; its exp is a denormal soon, and those are slow

Ints = NDArray[np.int64]


@dataclass
class Line:
    """One question in the cache.

    The next pass reads `pending`, which stands, at `position` and after, then `drafted`, then each
    of `branches` as if it alone came after that.
    """

    owner: int
    position: int
    pending: list[int]
    drafted: list[int] = field(default_factory=list)
    draft_slots: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    branches: list[list[int]] = field(default_factory=list)

    @property
    def guesses(self) -> int:
        """How many tokens are read that may not stand."""
        return len(self.drafted) + sum(len(branch) for branch in self.branches)

    @property
    def frame(self) -> int:
        """Of the image that it is about."""
        return self.owner // FRAME


@dataclass(frozen=True)
class Rows:
    """What lines have to read in a pass, (rows,) each; wanted: after which to predict."""

    tokens: Ints
    owners: Ints
    positions: Ints
    slots: Ints
    wanted: Ints

    def filled(self, rows: int, wanted: int) -> Rows:
        """With so many more, that mean nothing."""
        return Rows(
            np.pad(self.tokens, (0, rows)),
            np.pad(self.owners, (0, rows), constant_values=PADDING),
            np.pad(self.positions, (0, rows)),
            np.pad(self.slots, (0, rows)),
            np.pad(self.wanted, (0, wanted)),
        )


class Decoder:
    """Holds images' keys and values and those of the questions being answered, by the number of
    the frame that each is about.

    numbers, openings: the ids whose probabilities every prediction tells. row_step: passes are
    filled up to multiples of it (1: not at all), so that few shapes occur and each is captured
    once. sole: whether nobody else needs the weights of the network, see `FastText`.
    """

    def __init__(
        self,
        network: Network,
        numbers: Sequence[int],
        openings: Sequence[int] = (),
        row_step: int = 1,
        sole: bool = False,
    ) -> None:
        self._both_ways = network.both_ways
        self._embed, head = network.text.get_input_embeddings(), network.lm_head
        self._small_head = weights_in([head]) <= SMALL
        self._head = head
        if type(head) is nn.Linear:
            self._head = product_of(head, Held.of([head], sole and not _shared(head, self._embed)))
        self._device = network.lm_head.weight.device
        self._text = FastText(network.text, sole)
        captures = self._device.type == 'cuda'
        self._extent_step = REPLAYED_EXTENT_STEP if captures else EXTENT_STEP
        self._text.reserve(3 * SLOT_STEP)
        most = MOST_RESERVED * self._text.slots // self._text.cache.nbytes
        if captures:  # what grows later makes captures void
            self._text.reserve(min(network.text.config.max_position_embeddings, most))
        # With more rows many GPUs unpack 4-bit weights first, and take longer than with bfloat16.
        few = (FOUR_BIT_ROWS,) if self._text.four_bit else ()
        self._sizes = (*few, *REPLAYED_ROWS)
        self._slots = Slots()
        watched = [*numbers, *openings]
        self._watched = torch.tensor(watched, dtype=torch.long, device=self._device)
        self._numbers = len(numbers)
        self._row_step = row_step
        recorder = CudaRecorder(self._device) if captures else None
        self._step = Replay(self._read_packed, captures and self._text.capturable, recorder)
        self._images: dict[int, slice] = {}  # the slots of each
        self._begun = 0  # of the questions
        self._most_slots = max(self._text.slots, 0 if captures else most)

    @property
    def nbytes(self) -> int:
        """Of the cache of keys and values."""
        return self._text.cache.nbytes

    @property
    def spare_rows(self) -> int:
        """Up to how many rows a pass takes less time than two passes of a row do."""
        if self._text.four_bit:
            return 0
        if self._device.type == 'cuda':
            return MAX_REPLAYED_ROWS
        return SPARE_ROWS if self._text.small and self._small_head else 0

    @property
    def refused_capture(self) -> str:
        """Why passes are not captured on a GPU; empty where they are, and on a CPU."""
        if self._device.type == 'cuda' and not self._text.capturable:
            return 'quantised experts are chosen on the host'
        return self._step.refused

    @property
    def frames(self) -> list[int]:
        """The numbers of the frames that it holds."""
        return list(self._images)

    def tokens_of(self, frame: int) -> int:
        """How many tokens an image has."""
        image = self._images[frame]
        return image.stop - image.start

    def has_room(self, tokens: int) -> bool:
        """Whether so many more fit beside what it holds, in memory that is granted for that."""
        return self._slots.gap(tokens) + tokens <= self._most_slots

    def hold(self, tokens: int) -> int:
        """Give an image of so many tokens slots; returns the number of its frame."""
        frame = next(number for number in count() if number not in self._images)
        self._images[frame] = self._slots.place(frame, tokens)
        self._reserve()
        return frame

    def drop(self, frame: int) -> None:
        """Forget an image and the questions about it."""
        del self._images[frame]
        self._slots.drop(frame)

    def image(self, frame: int) -> Tensor:
        """A copy of an image's keys and values: (layers, 2, heads, tokens, head_dim)."""
        return self._image_slots(frame).clone()

    def tokens_in(self, kept: Any) -> int:
        """How many tokens the image has of which `image` gave this."""
        return int(kept.shape[3])

    def put_image(self, cache: Tensor) -> int:
        """Bring back what `image` gave; returns the number of its frame."""
        frame = self.hold(cache.shape[3])
        self._image_slots(frame).copy_(cache)
        return frame

    def end_questions(self) -> None:
        """Drop all questions."""
        self._slots.end_questions()
        self._begun = 0

    def begin(self, questions: Sequence[Sequence[int]], frame: int) -> list[Line]:
        """Begin a line for each of some questions, after a frame's image."""
        after = self.tokens_of(frame)
        return [Line(self._owner(frame), after, list(ids)) for ids in questions]

    def read(self, lines: Sequence[Line]) -> list[list[Prediction]]:
        """Put what lines have pending and drafted through the model, in one pass.

        Returns for each line the choices after its last pending and after each drafted token, then
        after each of its branches' tokens.
        """
        return self._by_line(lines, self._read_step(self._take(lines)))

    def read_image(self, image: Tensor, lines: Sequence[Line]) -> list[list[Prediction]]:
        """As `read`, with an image (tokens, hidden) in the same pass, before lines about it."""
        rows = self._take(lines)
        return self._by_line(lines, self._read_all(image, lines[0].frame, rows, len(lines)))

    def masks_image(self, questions: int) -> bool:
        """Whether so many lines beside an image are masked; in order alone, they need not be."""
        return questions > 1 or self._both_ways

    def settle(self, line: Line, stood: int, next_token: int) -> None:
        """Keep the first `stood` drafted tokens of a line; `next_token` comes after them."""
        self._slots.release(line.draft_slots[stood:])
        line.position += len(line.pending) + stood
        line.pending, line.drafted, line.branches = [next_token], [], []

    def settle_branch(self, line: Line, branch: int, stood: int, next_token: int) -> None:
        """As `settle`, where the whole draft stood and the first `stood` tokens of a branch."""
        drafted = len(line.drafted)
        begin = drafted + sum(len(other) for other in line.branches[:branch])
        chosen = line.draft_slots[begin : begin + stood]
        self._slots.release(line.draft_slots[drafted:])
        self._slots.join(chosen, line.owner)
        line.draft_slots = line.draft_slots[:drafted]
        self.settle(line, drafted, next_token)
        line.position += stood

    def end(self, line: Line) -> None:
        """Free what a line holds; it is read no more."""
        self._slots.release_all(line.owner)

    def _owner(self, frame: int) -> int:
        """A new one, of a question about a frame."""
        self._begun += 1
        return FRAME * frame + FIRST_QUESTION + self._begun % (FRAME - FIRST_QUESTION)

    def _by_line(
        self, lines: Sequence[Line], output: NDArray[np.float32]
    ) -> list[list[Prediction]]:
        counts = np.cumsum([0] + [line.guesses + 1 for line in lines])
        return [told(output[begin:end], self._numbers) for begin, end in pairwise(counts)]

    def _take(self, lines: Sequence[Line]) -> Rows:
        """Give slots to what lines have to read."""
        tokens, owners, positions = _rows(lines)
        slots = self._slots.take(owners, positions)
        ends = np.cumsum([len(line.pending) + line.guesses for line in lines])
        for line, end in zip(lines, ends, strict=True):
            line.draft_slots = slots[end - line.guesses : end]
        wanted = np.concatenate(
            [np.arange(end - line.guesses - 1, end) for line, end in zip(lines, ends, strict=True)]
        )
        return Rows(tokens, owners, positions, slots, wanted)

    def _read_all(
        self, image: Tensor, frame: int, rows: Rows, questions: int
    ) -> NDArray[np.float32]:
        rows = rows.filled(self._lacking(len(image) + len(rows.tokens)), 0)
        whole, last_seen = self._with_image(frame, rows)
        mask = self._mask(whole.owners, last_seen) if self.masks_image(questions) else None
        self._reserve()
        embeds = torch.cat([image, self._embed(self._tensor(rows.tokens))])
        states = self._text.states(
            embeds,
            self._tensor(whole.positions),
            self._tensor(whole.slots),
            None if mask is None else self._tensor(mask),
            self._tensor(whole.wanted),
        )
        return self._predict(states).cpu().numpy()

    def _with_image(self, frame: int, rows: Rows) -> tuple[Rows, Ints]:
        """Rows with those of an image before them, and up to which position each sees."""
        image = self._images[frame]
        tokens = self.tokens_of(frame)
        positions = np.concatenate([np.arange(tokens), rows.positions])
        owners = np.concatenate([np.full(tokens, IMAGE + FRAME * frame), rows.owners])
        slots = np.concatenate([np.arange(image.start, image.stop), rows.slots])
        last_seen = positions.copy()
        if self._both_ways:
            last_seen[1:tokens] = tokens - 1  # the beginning of text is not of the image
        ids = np.pad(rows.tokens, (tokens, 0))
        return Rows(ids, owners, positions, slots, tokens + rows.wanted), last_seen

    def warm(self, image_tokens: int) -> None:
        """Capture the passes that a question about an image of so many tokens will take."""
        if self._device.type != 'cuda' or type(self) is not Decoder:  # what reads otherwise
            return
        frame = self.hold(image_tokens)
        for rows in self._sizes:
            for wanted in {min(rows, FEW_WANTED), rows}:
                nothing = np.zeros(rows, np.int64)
                self._read_step(
                    Rows(nothing, nothing + PADDING, nothing, nothing, nothing[:wanted])
                )
        self.drop(frame)

    def _read_step(self, rows: Rows) -> NDArray[np.float32]:
        count, asked = len(rows.tokens), len(rows.wanted)
        filled = rows
        if self._row_step > 1 and count <= MAX_REPLAYED_ROWS:
            size = next(size for size in self._sizes if count <= size)
            filled = rows.filled(
                size - count, (FEW_WANTED if asked <= FEW_WANTED < size else size) - asked
            )
        elif count >= SMALL_STEP:
            filled = rows.filled(self._lacking(count), 0)
        mask = self._mask(filled.owners, filled.positions)
        self._reserve()
        output = self._put_through(filled, mask, captured=count <= MAX_REPLAYED_ROWS)
        return output[:asked].cpu().numpy()

    def _lacking(self, rows: int) -> int:
        """How many rows a small decoder on a CPU is given beside these."""
        small = self._text.small and self._device.type == 'cpu'
        return -rows % SMALL_STEP if small else 0

    def _put_through(self, rows: Rows, mask: NDArray[np.bool_], captured: bool) -> Tensor:
        """All that a pass reads goes to the device as one piece."""
        sizes = {'rows': len(rows.tokens), 'wanted': len(rows.wanted)}
        numbers = np.concatenate([rows.tokens, rows.positions, rows.slots, rows.wanted])
        packed = torch.from_numpy(
            np.concatenate([numbers.view(np.uint8), mask.view(np.uint8).ravel()])
        )
        if self._device.type == 'cuda':
            packed = packed.pin_memory()
            if not captured:
                packed = packed.to(self._device, non_blocking=True)
        read = self._step if captured else self._read_packed
        return read(packed, **sizes)

    def _read_packed(self, packed: Tensor, rows: int, wanted: int) -> Tensor:
        """What `_put_through` packed, on the device."""
        packed = packed.to(self._device, non_blocking=True)
        end = 8 * (3 * rows + wanted)
        tokens, positions, slots, asked = (
            packed[:end].view(torch.long).split([rows, rows, rows, wanted])
        )
        mask = packed[end:].view(torch.bool).view(rows, -1)
        return self._read_tokens(tokens, positions, slots, mask, asked)

    def _read_tokens(
        self, tokens: Tensor, positions: Tensor, slots: Tensor, mask: Tensor, wanted: Tensor
    ) -> Tensor:
        states = self._text.states(self._embed(tokens), positions, slots, mask, wanted)
        return self._predict(states)

    def _predict(self, states: Tensor) -> Tensor:
        hidden = self._text.norm(states)
        return choices(self._head(hidden), self._watched)

    def _mask(self, owners: Ints, last_seen: Ints) -> NDArray[np.bool_]:
        step = self._extent_step
        extent = -(-self._slots.extent // step) * step
        return self._slots.mask(owners, last_seen, extent)

    def _reserve(self) -> None:
        """Let the cache hold what the table of slots has given out."""
        needed = -(-self._slots.extent // SLOT_STEP) * SLOT_STEP
        if needed > self._text.slots:
            self._text.reserve(needed)
            self._step.forget()

    def _image_slots(self, frame: int) -> Tensor:
        return self._text.cache[:, :, :, self._images[frame]]

    def _tensor(self, array: NDArray[np.int64] | NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _shared(head: nn.Linear, embed: nn.Module) -> bool:
    """Whether tokens are also looked up in the head's weights."""
    where = head.weight.untyped_storage().data_ptr()
    return any(weight.untyped_storage().data_ptr() == where for weight in embed.parameters())


def _rows(lines: Sequence[Line]) -> tuple[Ints, Ints, Ints]:
    """Tokens, owners and positions of all that lines have to read."""
    tokens: list[int] = []
    owners: list[Ints] = []
    positions: list[Ints] = []
    for line in lines:
        trunk = line.pending + line.drafted
        ways = [trunk, *line.branches]
        tokens += chain.from_iterable(ways)
        end = line.position + len(trunk)
        for index, ids in enumerate(ways):
            owners.append(np.full(len(ids), line.owner + BRANCH * index))
            positions.append((end if index else line.position) + np.arange(len(ids)))
    return np.array(tokens, np.int64), np.concatenate(owners), np.concatenate(positions)


def choices(logits: Tensor, watched: Tensor) -> Tensor:
    """(rows, vocabulary) -> (rows, 2 + watched) float32: the likeliest id, its probability, those
    of the ids in `watched`."""
    best = logits.argmax(dim=-1, keepdim=True)
    below = (logits.float() - logits.gather(1, best).float()).clamp_min_(NEGLIGIBLE)
    of_watched = below[:, watched].exp()
    probability = 1 / below.exp_().sum(dim=-1, keepdim=True)
    return torch.cat([best.float(), probability, of_watched * probability], dim=1)


def told(output: NDArray[np.float32], numbers: int) -> list[Prediction]:
    """What `choices` says, row by row, of so many numbers and of openings behind them."""
    return [
        Prediction(int(row[0]), float(row[1]), row[2 : 2 + numbers], row[2 + numbers :])
        for row in output
    ]
