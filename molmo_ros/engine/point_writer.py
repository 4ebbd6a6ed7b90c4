# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoint's answers: as they are written, and read when they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.answers import Question
from molmo_ros.engine.point_belief import PointBelief, PointLayout, measure
from molmo_ros.engine.point_decoding import PointPrediction
from molmo_ros.engine.writer import Digits, Writer
from molmo_ros.engine.written import Written
from molmo_ros.model.molmo_point_loading import MolmoPointTokenizer
from molmo_ros.model.point_ids import Kind
from molmo_ros.pointing import ImagePoint, Style, read_points
from molmo_ros.pointing.grounded import GroundedFollower, complete, label_at, without_points


class PointWriter(Writer):
    """See `Writer`."""

    def __init__(
        self,
        tokenizer: MolmoPointTokenizer,
        question: Question,
        limit: int,
        stops: Collection[int],
        remembered: Sequence[int] = (),
    ) -> None:
        super().__init__(tokenizer, question, limit, stops, remembered, Style.MOLMO2)
        self.points = tokenizer.points
        self._follower = GroundedFollower(self._label)
        self._follower.read('')

    @property
    def answer(self) -> str:
        """See `Writer.answer`."""
        return complete(self.text, self._label) if self._cut_short else self.text

    def branches(self, drafted: Sequence[int], digits: Digits) -> list[list[int]]:
        """See `Writer.branches`: places are no digits here."""
        return []


def read_point_answer(
    writer: PointWriter, layout: PointLayout, width: int, height: int, max_points: int = 0
) -> Written:
    """Read an answer about an image of width x height pixels. max_points: 0 for all of them.

    Its text and tokens are numbered as in the reference.
    """
    text = writer.answer
    points: list[ImagePoint] = []
    heat = np.zeros((layout.rows, layout.columns))
    for at, belief in _written(writer):
        place = layout.place(belief.patch, belief.subpatch, belief.location)
        measured = measure(belief, layout, width, height)
        if place is None or measured is None or 0 < max_points <= len(points):
            continue
        heat += belief.heat(layout)
        uu, _, vv = measured.covariance
        points.append(
            ImagePoint(
                place[0] * width,
                place[1] * height,
                label_at(text, at),
                measured.confidence,
                spread=sqrt(uu + vv),
                covariance=measured.covariance,
            )
        )
    words = read_points(without_points(text), width, height)
    return Written(
        writer.points.told_text(text, layout.patches),
        tuple(writer.points.told(token, layout.patches) for token in writer.ids),
        tuple(points),
        words.count,
        words.absent and not points,
        heat.astype(np.float32) if points else None,
    )


def _written(writer: PointWriter) -> Iterator[tuple[int, PointBelief]]:
    """Each point, and where in the text it begins."""
    three = [Kind.PATCH, Kind.SUBPATCH, Kind.LOCATION]
    read = [writer.points.read(token) for token in writer.ids]
    for at in range(len(read) - 2):
        if [kind for kind, _ in read[at : at + 3]] != three:
            continue
        patch, subpatch, location = (index for _, index in read[at : at + 3])
        patches, subpatches, locations = (_belief(writer, at + step) for step in range(3))
        belief = PointBelief(patch, subpatch, location, patches, subpatches, locations)
        yield writer.starts[at], belief


def _belief(writer: PointWriter, at: int) -> NDArray[np.float32]:
    prediction = writer.predictions[at]
    assert isinstance(prediction, PointPrediction)
    return prediction.belief
