# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An answered question as plain data, with all that is needed to judge it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from math import nan
from typing import Any

import numpy as np

from molmo_ros.engine import Answer
from molmo_ros.evaluation.evaluate import Evaluated
from molmo_ros.evaluation.judging import RADIUS, Verdict, judge
from molmo_ros.evaluation.samples import Image, Mask, PositionError, Rule, Sample
from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.spatial import LiftStatus

Record = dict[str, Any]
PictureOf = Callable[[str], Image]
"""Loads the picture that a `Sample.source` names."""


def record_of(result: Evaluated) -> Record:
    """The question, the truth, the answer and its verdict; masks as runs (see `runs_of`)."""
    sample, answer, position = result.sample, result.answer, result.position
    return {
        'id': sample.id,
        'image_id': sample.image_id,
        'source': sample.source,
        'size': [*result.size],
        'query': sample.query,
        'mode': sample.mode.name,
        'topic': sample.topic,
        'rule': sample.rule.value,
        'targets': [[*target] for target in sample.targets],
        'count': sample.count,
        'masks': None if sample.masks is None else [runs_of(mask) for mask in sample.masks()],
        'facts': dict(sample.facts),
        'answer': {
            'text': answer.text,
            'points': [asdict(point) for point in answer.points],
            'count': answer.count,
            'absent': answer.absent,
            'presence': answer.presence,
            'passes': answer.passes,
            'timings': dict(answer.timings),
        },
        'verdict': result.judgement.verdict.value,
        'score': result.judgement.score,
        'seconds': result.seconds,
        'first': result.first,
        'position': None
        if position is None
        else {**asdict(position), 'status': position.status.name},
    }


def sample_of(record: Mapping[str, Any], picture_of: PictureOf) -> Sample:
    """The question again. Raises KeyError, TypeError and ValueError where it is no record."""
    masks, (width, height) = record['masks'], record['size']
    return Sample(
        id=record['id'],
        image_id=record['image_id'],
        image=partial(picture_of, record['source']),
        query=record['query'],
        mode=Mode[record['mode']],
        topic=record['topic'],
        rule=Rule(record['rule']),
        targets=tuple((float(x), float(y)) for x, y in record['targets']),
        count=record['count'],
        masks=None if masks is None else partial(_masks, masks, width, height),
        facts=record['facts'],
        source=record['source'],
    )


def evaluated_of(record: Mapping[str, Any], sample: Sample, radius: float = RADIUS) -> Evaluated:
    """The answer, judged anew. Raises KeyError, TypeError and ValueError where it is no record.

    radius: see `judge`. A position is that of the first time, where its point still hits.
    """
    width, height = record['size']
    answer = _answer(record['answer'])
    judgement = judge(sample, answer, width, height, radius)
    position = record['position']
    return Evaluated(
        sample,
        answer,
        judgement,
        _number(record['seconds']),
        bool(record['first']),
        (width, height),
        _position(position) if position and judgement.verdict is Verdict.HIT else None,
    )


def asks_the_same(record: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records are of one question with one truth about one picture."""
    same = ('image_id', 'size', 'query', 'mode', 'rule', 'targets', 'count', 'masks')
    return all(record[name] == other[name] for name in same)


def runs_of(mask: Mask) -> list[int]:
    """How many pixels, row by row, are out, then in, then out of an (H, W) mask, and so on."""
    flat = np.concatenate([[False], mask.ravel()])
    bounds = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], bounds, [mask.size]]))]


def mask_of(runs: Sequence[int], width: int, height: int) -> Mask:
    """The inverse of `runs_of`. Raises ValueError where it is of another size."""
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(height, width)


def _masks(runs: Sequence[Sequence[int]], width: int, height: int) -> tuple[Mask, ...]:
    return tuple(mask_of(one, width, height) for one in runs)


def _answer(fields: Mapping[str, Any]) -> Answer:
    return Answer(
        text=fields['text'],
        points=tuple(map(_point, fields['points'])),
        count=fields['count'],
        absent=fields['absent'],
        passes=fields['passes'],
        timings={name: _number(value) for name, value in fields['timings'].items()},
        presence=_number(fields['presence']),
    )


def _point(fields: Mapping[str, Any]) -> ImagePoint:
    return ImagePoint(
        u=float(fields['u']),
        v=float(fields['v']),
        label=fields['label'],
        confidence=_number(fields['confidence']),
        image_index=fields['image_index'],
        spread=_number(fields['spread']),
    )


def _position(fields: Mapping[str, Any]) -> PositionError:
    at_pixel, to_object = _number(fields['at_pixel']), _number(fields['to_object'])
    return PositionError(LiftStatus[fields['status']], at_pixel, to_object)


def _number(value: float | None) -> float:
    """What is no number was written as null."""
    return nan if value is None else float(value)
