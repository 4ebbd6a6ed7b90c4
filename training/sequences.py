# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions and answers as one row of tokens, and what each token teaches."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_ros.model.tokenizer import MolmoTokenizer
from molmo_ros.tabletop.questions import Topic
from training.questions import Example
from training.scenes import MAX_PARTS
from training.seeing import IGNORED

DIGITS = '0123456789'
TOPICS = tuple(Topic)
_NUMBER = re.compile(r'[xy](\d*)="(\d+)\.(\d)')
_WEIGHTS = {'forced': 0.2, 'choice': 4.0, 'tens': 1.5, 'units': 1.5, 'tenths': 0.3}
_NEAR = 0.4  # percent of the image
_NO_DIGIT = (math.nan, math.nan, math.nan)
# Of the examples that are no counts: what follows their last coordinate only copies the prompt.
_WHOLE_ANSWERS = 0.3


@dataclass(frozen=True)
class Questions:
    """(T,) tensors over the tokens of all questions, one after the other, and (Q,) over those.

    ids; label: the next id, IGNORED in the prompt; weight of that label; seen: what the coordinate
    that the next id writes, or that begins with it, belongs to, object * (1 + MAX_PARTS) + part; in
    the prompt the object that has just been named; else -1; tens, choice: whether the next id is a
    tens digit, or decides whether there is a point or another one; value, written, unit: where it
    is a digit, the number that it is of, what of it has been written so far, and what one more is
    worth (24.7: 0 and 10, 20 and 1, 24 and 0.1), else NaN; topic; image (Q,): which image each
    question is about; lengths (Q,).
    """

    ids: Tensor
    label: Tensor
    weight: Tensor
    seen: Tensor
    tens: Tensor
    choice: Tensor
    value: Tensor
    written: Tensor
    unit: Tensor
    topic: Tensor
    image: Tensor
    lengths: Tensor


def pack(
    examples: Sequence[Sequence[Example]], tokenizer: MolmoTokenizer, rng: random.Random
) -> Questions:
    """The examples of each image."""
    asked = [
        (image, _columns(example, tokenizer, rng))
        for image, of_image in enumerate(examples)
        for example in of_image
    ]
    columns = zip(*(column for _, columns in asked for column in columns), strict=True)
    of_questions = [image for image, _ in asked], [len(columns) for _, columns in asked]
    return Questions(*(torch.tensor(column) for column in (*columns, *of_questions)))


def digits_near(questions: Questions) -> Tensor:
    """(T, 10): where the next id is a digit, how much of what is near the number meant begins with
    each, after what is written: at 24.1 a 3 is nearly as right as a 4, and at 29.9 a 3 as a 2.
    NaN elsewhere."""
    value, written, unit = (
        x[:, None] for x in (questions.value, questions.written, questions.unit)
    )
    edges = written + unit * torch.arange(11) - 0.05  # 3.95 is written 4.0
    mass = torch.special.ndtr((edges - value) / _NEAR).diff(dim=-1)
    mass[:, 0] *= (unit < 10)[:, 0]  # 5.0 is not written 05.0
    return mass / mass.sum(-1, keepdim=True)


def _columns(example: Example, tokenizer: MolmoTokenizer, rng: random.Random) -> list[tuple]:
    prompt, mentioned = _prompt(example, tokenizer)
    encoded = tokenizer.backend(
        example.answer, add_special_tokens=False, return_offsets_mapping=True
    )
    answer = [*encoded['input_ids'], tokenizer.eos]
    roles, points = _roles(example.answer, encoded['offset_mapping'])
    digits = _digits(example.answer)
    of_digits = [digits.get(start, _NO_DIGIT) for start, _ in encoded['offset_mapping']]
    of_digits.append(_NO_DIGIT)
    if example.topic is not Topic.COUNT and rng.random() > _WHOLE_ANSWERS:
        last = max((i for i, role in enumerate(roles) if role == 'tenths'), default=len(answer))
        # One more: whether another point follows.
        answer, roles, points = answer[: last + 2], roles[: last + 2], points[: last + 2]
    topic = TOPICS.index(example.topic)
    ids = prompt + answer[:-1]
    columns: list[tuple] = []
    for place, token in enumerate(ids):
        step = place - len(prompt) + 1  # which answer token is predicted here
        if step < 0:
            named = mentioned.get(place, -1)
            columns.append((token, IGNORED, 0.0, named, False, False, *_NO_DIGIT, topic))
            continue
        role = roles[step]
        begun = 0 <= points[step] < len(example.pointed_at)
        target = example.pointed_at[points[step]] if begun else None
        seen = -1 if target is None else target[0] * (1 + MAX_PARTS) + target[1]
        columns.append(
            (
                token,
                answer[step],
                _WEIGHTS[role],
                seen,
                role == 'tens',
                role == 'choice',
                *of_digits[step],
                topic,
            )
        )
    return columns


def _digits(answer: str) -> dict[int, tuple[float, float, float]]:
    """By where a digit stands, its `value`, `written` and `unit`; not of 100.0, the only one."""
    found = {}
    for match in _NUMBER.finditer(answer):
        whole, value = match[2], float(f'{match[2]}.{match[3]}')
        if len(whole) > 2:
            continue
        for place in range(len(whole)):
            unit = 10.0 ** (len(whole) - 1 - place)
            found[match.start(2) + place] = value, float(whole[:place] or 0) * 10 * unit, unit
        found[match.start(3)] = value, float(whole), 0.1
    return found


def _prompt(example: Example, tokenizer: MolmoTokenizer) -> tuple[list[int], dict[int, int]]:
    """The prompt's ids, and by place what has just been named there, as in `Questions.seen`."""
    before, after = ' User: ', ' Assistant:'
    encoded = tokenizer.backend(
        before + example.prompt + after, add_special_tokens=False, return_offsets_mapping=True
    )
    ends = [end - len(before) for _, end in encoded['offset_mapping']]
    places = {
        next(place for place, end in enumerate(ends) if end >= wanted): thing * (1 + MAX_PARTS)
        for thing, wanted in example.mentions
    }
    return encoded['input_ids'], places


def _roles(answer: str, offsets: Sequence[tuple[int, int]]) -> tuple[list[str], list[int]]:
    """What each answer token is, the closing end-of-text included, and which point it begins or
    writes: after the last there is none."""
    by_place = {max(0, answer.find(' <point')): ('choice', 0), 0: ('choice', 0)}
    for number, match in enumerate(_NUMBER.finditer(answer)):
        whole = range(match.start(2), match.end(2))
        by_place |= {place: ('tens', number // 2) for place in whole}
        by_place[whole[-1]] = ('units' if len(whole) > 1 else 'tens', number // 2)
        by_place[match.start(3)] = ('tenths', number // 2)
        if number % 2 and match[1]:
            by_place[match.end(3)] = ('choice', number // 2 + 1)
    found = [by_place.get(start, ('forced', -1)) for start, _ in offsets]
    return [*(role for role, _ in found), 'forced'], [*(point for _, point in found), -1]
