# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several questions about one image as one training sequence that pays for the image once.

Each question attends to the image and to itself, at the positions it would have alone, so that what
is learnt is exactly what inference computes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molmo_ros.model.tokenizer import Tokenizer
from training.questions import Example, Thing, make_example

IGNORED = -100
_NUMBER = re.compile(r'[xy]="(\d+)\.(\d)"')
_WEIGHTS = {'forced': 0.2, 'first': 1.0, 'tens': 1.5, 'units': 1.0, 'tenths': 0.3}


@dataclass(frozen=True)
class Questions:
    """(B, S) tensors over the questions of B images, after their image prefix.

    ids; group (which question, -1 = padding); position (from the end of the image prefix);
    label: the next id, IGNORED in the prompt; weight of that label; thing: the object whose
    coordinate the next id writes, else -1; tens: whether the next id is a tens digit.
    """

    ids: Tensor
    group: Tensor
    position: Tensor
    label: Tensor
    weight: Tensor
    thing: Tensor
    tens: Tensor


def ask(
    scenes: Sequence[Sequence[Thing]], per_scene: int, tokenizer: Tokenizer, rng: random.Random
) -> Questions:
    """`per_scene` random questions about each scene."""
    rows = [
        [
            column
            for group in range(per_scene)
            for column in _columns(make_example(things, rng), group, tokenizer)
        ]
        for things in scenes
    ]
    length = max(map(len, rows))
    padding = (0, -1, 0, IGNORED, 0.0, -1, False)
    padded = [row + [padding] * (length - len(row)) for row in rows]
    columns = list(zip(*(zip(*row, strict=True) for row in padded), strict=True))
    return Questions(*(torch.tensor(column) for column in columns))


def _columns(example: Example, group: int, tokenizer: Tokenizer) -> list[tuple]:
    prompt = tokenizer.encode_question(example.prompt)
    encoded = tokenizer.backend(
        example.answer, add_special_tokens=False, return_offsets_mapping=True
    )
    answer = [*encoded['input_ids'], tokenizer.eos]
    roles = _roles(example.answer, encoded['offset_mapping'])
    ids = prompt + answer[:-1]
    columns = []
    for place, token in enumerate(ids):
        step = place - len(prompt) + 1  # which answer token is predicted here
        if step < 0:
            columns.append((token, group, place, IGNORED, 0.0, -1, False))
            continue
        role = roles[step]
        digit = role in ('tens', 'units', 'tenths')
        thing = example.thing if digit and example.thing is not None else -1
        columns.append((token, group, place, answer[step], _WEIGHTS[role], thing, role == 'tens'))
    return columns


def _roles(answer: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """What each answer token is, the closing end-of-text included."""
    by_place: dict[int, str] = {}
    for match in _NUMBER.finditer(answer):
        whole = range(match.start(1), match.end(1))
        by_place |= {place: 'tens' for place in whole}
        by_place[whole[-1]] = 'units' if len(whole) > 1 else 'tens'
        by_place[match.start(2)] = 'tenths'
    roles = [by_place.get(start, 'forced') for start, _ in offsets]
    return ['first', *roles[1:], 'forced']


def attention_mask(questions: Questions, prefix: int) -> Tensor:
    """(B, 1, T, T) additive float mask over prefix + questions."""
    batch, length = questions.group.shape
    total = prefix + length
    group = torch.cat([torch.full((batch, prefix), -2), questions.group], dim=1)
    causal = torch.ones(total, total, dtype=torch.bool).tril()
    same = group[:, :, None] == group[:, None, :]
    image = (group == -2)[:, None, :]
    allowed = (same | image) & causal
    return torch.zeros(batch, 1, total, total).masked_fill(~allowed[:, None], -1e9)


def positions(questions: Questions, prefix: int) -> Tensor:
    """(B, T) position ids over prefix + questions."""
    batch = len(questions.ids)
    first = torch.arange(prefix).expand(batch, prefix)
    return torch.cat([first, questions.position + prefix], dim=1)
