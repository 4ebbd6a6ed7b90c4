# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Passes of a MolmoPoint's decoder: what its head points at is read and written as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molmo_ros.engine.decoding import (
    MAX_REPLAYED_ROWS,
    Decoder,
    Ints,
    Line,
    Rows,
    choices,
)
from molmo_ros.engine.networks import MolmoPointNetwork, Network, SeenPoints
from molmo_ros.engine.point_belief import PointLayout
from molmo_ros.engine.point_order import Choices, Order
from molmo_ros.engine.writer import Prediction
from molmo_ros.model.molmo_point import ABSENT, PointImage, PointMemory
from molmo_ros.model.point_ids import LOCATIONS, Kind
from molmo_ros.model.replay import Replay


@dataclass
class PointLine(Line):
    """order: what may follow what the line has read. question: its question's last position."""

    order: Order = field(kw_only=True)
    question: int = field(kw_only=True)


@dataclass(frozen=True)
class PointPrediction(Prediction):
    """belief: in all that a token of a point could have been; empty for text."""

    belief: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class PointFrame:
    """An image as the decoder remembers it: keys and values, and what pointing at it takes."""

    cache: Tensor
    memory: PointMemory
    layout: PointLayout

    @property
    def nbytes(self) -> int:
        return int(self.cache.nbytes) + self.memory.nbytes + self.layout.cells.nbytes


@dataclass(frozen=True)
class _Reading:
    """What the rows of a pass are, (rows,) each.

    plain: ids of the embedding. patch, subpatch: which a row is, -1 for none. last: the patch read
    before it, -1 for none. wanted: after which to predict. orders: what may follow each of those;
    may_point: and whether a patch may.
    """

    plain: Ints
    patch: Ints
    subpatch: Ints
    last: Ints
    wanted: list[int]
    orders: list[Order]
    may_point: list[bool]


class PointDecoder(Decoder):
    """See `Decoder`. Ids are those of `PointIds`, which mean the same in every image."""

    def __init__(
        self,
        network: MolmoPointNetwork,
        numbers: Sequence[int],
        openings: Sequence[int] = (),
        row_step: int = 1,
        sole: bool = False,
    ) -> None:
        super().__init__(network, numbers, openings, row_step, sole)
        self._model, self._ids = network.model, network.point_tokenizer.points
        # What is read and found depends on the image; what is replayed must not.
        captures = self._device.type == 'cuda' and self._text.capturable
        self._step = Replay(self._text.states, captures)
        self._seen: dict[int, tuple[PointMemory, PointLayout]] = {}

    @property
    def nbytes(self) -> int:
        """Of the cache of keys and values, and of what pointing takes."""
        return super().nbytes + sum(memory.nbytes for memory, _ in self._seen.values())

    def layout(self, frame: int) -> PointLayout:
        """Where the patches of an image lie that has been read."""
        return self._seen[frame][1]

    def image(self, frame: int) -> PointFrame:
        """A copy of all that is remembered of an image."""
        return PointFrame(super().image(frame), *self._seen[frame])

    def tokens_in(self, kept: PointFrame) -> int:
        """See `Decoder.tokens_in`."""
        return super().tokens_in(kept.cache)

    def put_image(self, kept: PointFrame) -> int:
        """Bring back what `image` gave; returns the number of its frame."""
        frame = super().put_image(kept.cache)
        self._seen[frame] = kept.memory, kept.layout
        return frame

    def drop(self, frame: int) -> None:
        """See `Decoder.drop`."""
        super().drop(frame)
        self._seen.pop(frame, None)

    def begin(self, questions: Sequence[Sequence[int]], frame: int) -> list[Line]:
        """See `Decoder.begin`."""
        after, rules = self.tokens_of(frame), self._model.config.rules
        return [
            PointLine(
                self._owner(frame),
                after,
                list(ids),
                order=Order(self._ids, rules),
                question=after + len(ids) - 1,
            )
            for ids in questions
        ]

    def read(self, lines: Sequence[Line]) -> list[list[Prediction]]:
        """See `Decoder.read`."""
        frames = sorted({line.frame for line in lines})
        groups = [[line for line in lines if line.frame == frame] for frame in frames]
        memories = [self._seen[frame][0] for frame in frames]
        for frame, group in zip(frames, groups, strict=True):
            self._trim(group, self.layout(frame).patches)
        rows = self._take([line for group in groups for line in group])
        readings = [self._reading(group) for group in groups]
        embeds = [
            self._embedded(reading, memory)
            for reading, memory in zip(readings, memories, strict=True)
        ]
        states = self._step_states(rows, torch.cat(embeds))
        found = self._found(groups, readings, states[self._tensor(rows.wanted)], memories)
        return [found[line.owner] for line in lines]

    def read_image(self, seen: SeenPoints, lines: Sequence[Line]) -> list[list[Prediction]]:
        """See `Decoder.read_image`."""
        image, frame = seen.image, lines[0].frame
        self._trim(lines, seen.layout.patches)
        rows, reading = self._take(lines), self._reading(lines)
        whole, last_seen = self._with_image(frame, rows)
        mask = self._mask(whole.owners, last_seen)
        self._reserve()
        inputs = (self._tensor(x) for x in (whole.positions, whole.slots, mask))
        embeds = torch.cat([image.embeds, self._embedded(reading, image)])
        states = self._text.states(embeds, *inputs)
        memory = self._model.points.remember(states[image.patches], image)
        self._seen[frame] = memory, seen.layout
        wanted = states[self._tensor(whole.wanted)]
        found = self._found([lines], [reading], wanted, [memory])
        return [found[line.owner] for line in lines]

    def settle(self, line: Line, stood: int, next_token: int) -> None:
        """See `Decoder.settle`."""
        assert isinstance(line, PointLine)
        for token in [*line.pending, *line.drafted[:stood]]:
            line.order.read(token)
        assert not line.branches
        super().settle(line, stood, next_token)

    def _trim(self, lines: Sequence[Line], patches: int) -> None:
        """Drop what is drafted from the first token on that the image has no input for."""
        for line in lines:
            assert isinstance(line, PointLine)
            order = line.order.copy()
            for token in line.pending:
                order.read(token)
            for at, token in enumerate(line.drafted):
                kind, index = self._ids.read(token)
                if not order.can_read(token) or (kind is Kind.PATCH and index >= patches):
                    line.drafted = line.drafted[:at]
                    break
                order.read(token)

    def _reading(self, lines: Sequence[Line]) -> _Reading:
        rows: list[tuple[int, int, int, int]] = []
        wanted: list[int] = []
        orders: list[Order] = []
        may_point: list[bool] = []
        for line in lines:
            assert isinstance(line, PointLine)
            order = line.order.copy()
            for at, token in enumerate([*line.pending, *line.drafted]):
                kind, index = self._ids.read(token)
                patch = index if kind is Kind.PATCH else -1
                part = index if kind is Kind.SUBPATCH else -1
                rows.append((self._plain(kind, index), patch, part, order.last_patch))
                order.read(token)
                if at >= len(line.pending) - 1:
                    wanted.append(len(rows) - 1)
                    orders.append(order.copy())
                    may_point.append(line.position + at > line.question)
        plain, patch_of, part_of, last = np.array(rows, np.int64).T
        return _Reading(plain, patch_of, part_of, last, wanted, orders, may_point)

    def _plain(self, kind: Kind, index: int) -> int:
        """The id in the embedding that stands for a token."""
        config = self._model.config
        if kind is Kind.TEXT:
            return index
        if kind is Kind.LOCATION:
            return config.location_token
        return config.subpatch_token if kind is Kind.SUBPATCH else config.patch_token

    def _embedded(self, reading: _Reading, image: PointImage | PointMemory) -> Tensor:
        embeds = self._model.embed(self._tensor(reading.plain))
        (patches,) = np.nonzero(reading.patch >= 0)
        if len(patches):
            of = self._tensor(reading.patch[patches])
            embeds[self._tensor(patches)] = self._model.embed_patch(of, image)
        (parts,) = np.nonzero(reading.subpatch >= 0)
        if len(parts):
            of, which = self._tensor(reading.last[parts]), self._tensor(reading.subpatch[parts])
            embeds[self._tensor(parts)] = self._model.embed_subpatch(of, which, image)
        return embeds

    def _step_states(self, rows: Rows, embeds: Tensor) -> Tensor:
        count = len(rows.tokens)
        captured = self._row_step > 1 and count <= MAX_REPLAYED_ROWS
        fill = next(size for size in self._sizes if count <= size) - count if captured else 0
        filled = rows.filled(fill, 0)
        mask = self._mask(filled.owners, filled.positions)
        self._reserve()
        read = self._step if captured else self._text.states
        embeds = functional.pad(embeds, (0, 0, 0, fill))
        inputs = (self._tensor(x) for x in (filled.positions, filled.slots, mask))
        states: Tensor = read(embeds, *inputs)
        return states[:count]

    def _found(
        self,
        groups: Sequence[Sequence[Line]],
        readings: Sequence[_Reading],
        states: Tensor,
        memories: Sequence[PointMemory],
    ) -> dict[int, list[Prediction]]:
        """By owner, what follows the rows that are predicted from, which have these states.

        groups: lines about one frame each, whose readings and memories these are.
        """
        found: dict[int, list[Prediction]] = {}
        texts = self._find_text(states)
        for lines, reading, memory, text, some in zip(
            groups, readings, memories, *_parted(readings, texts, states), strict=True
        ):
            last, here = reading.last[reading.wanted], reading.patch[reading.wanted].clip(min=0)
            points = self._model.points(some, memory, self._tensor(last), self._tensor(here))
            of_points = torch.cat([points.patches, points.subpatches, points.locations], dim=1)
            output = torch.cat([text, of_points.float()], dim=1).cpu().numpy()
            parts = memory.subpatch_keys.shape[1]
            predictions: list[Prediction] = [
                self._predicted(row, order, may_point, parts)
                for row, order, may_point in zip(
                    output, reading.orders, reading.may_point, strict=True
                )
            ]
            ends = np.cumsum([0] + [line.guesses + 1 for line in lines])
            for line, (begin, end) in zip(lines, pairwise(ends), strict=True):
                found[line.owner] = predictions[begin:end]
                self._correct(line, found[line.owner])
        return found

    def _find_text(self, states: Tensor) -> Tensor:
        """(rows, ...) float32: what `choices` gives, the logits of the best id of the vocabulary
        and of a patch."""
        hidden, config = self._text.norm(states), self._model.config
        logits = self._head(hidden).contiguous()
        of_patch = logits[:, config.patch_token, None].clone()
        logits[:, [config.patch_token, config.subpatch_token, config.location_token]] = ABSENT
        best = logits.max(dim=-1, keepdim=True).values
        return torch.cat([choices(logits, self._watched), best.float(), of_patch.float()], dim=1)

    def _predicted(
        self, row: NDArray[np.float32], order: Order, may_point: bool, parts: int
    ) -> PointPrediction:
        begin = 2 + len(self._watched)
        end = len(row) - LOCATIONS
        found = Choices(
            int(row[0]),
            float(row[begin]),
            float(row[begin + 1]),
            row[begin + 2 : end - parts],
            row[end - parts : end],
            row[end:],
        )
        token, belief = order.next_token(found, may_point)
        watched = row[2:begin]
        return PointPrediction(
            token, float(row[1]), watched[: self._numbers], watched[self._numbers :], belief
        )

    def _correct(self, line: Line, predicted: Sequence[Prediction]) -> None:
        """Every place within a part is read alike: one that was drafted becomes the one found."""
        for at, (token, before) in enumerate(zip(line.drafted, predicted, strict=False)):
            kinds = {self._ids.read(token)[0], self._ids.read(before.token)[0]}
            if kinds == {Kind.LOCATION}:
                line.drafted[at] = before.token


def _parted(readings: Sequence[_Reading], *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Tensors of the rows that are predicted from, each parted by what was read."""
    sizes = [len(reading.wanted) for reading in readings]
    return [tensor.split(sizes) for tensor in tensors]


def decoder_of(
    network: Network,
    numbers: Sequence[int],
    openings: Sequence[int] = (),
    row_step: int = 1,
    sole: bool = False,
) -> Decoder:
    """The decoder of a network, of whatever generation; arguments are those of `Decoder`."""
    kind = PointDecoder if isinstance(network, MolmoPointNetwork) else Decoder
    return kind(network, numbers, openings, row_step, sole)  # type: ignore[arg-type]
