# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is drafted, kept or shared, the tokens are those of plain greedy decoding."""

import random

import numpy as np
import pytest

from benchmarks.engine_checks import plain_tokens, random_question, scenes
from benchmarks.random_molmo import LIST, ONE_POINT, POINTS
from molmo_ros.engine import Question, load_engine
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.model.loading import load_molmo
from molmo_ros.pointing import Mode

LOOSE = (ONE_POINT, POINTS, ' There are none.')
NOISE = ('',)
DEMO = default_checkpoint()


def any_question(rng):
    query = ''.join(rng.choices('abcdefgh mug.?é', k=rng.randrange(1, 20))) + 'x'
    return Question(query, rng.choice(list(Mode)), rng.choice([0, 0, 1, 2]))


def random_image(rng):
    height, width = rng.randrange(16, 150), rng.randrange(16, 200)
    pixels = np.random.default_rng(rng.randrange(1 << 30))
    return pixels.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
@pytest.mark.parametrize(
    ('texts', 'noise', 'pieces'),
    [
        ((ONE_POINT,), 0.02, ()),
        ((), 0.02, LIST),
        ((), 0.2, LIST),
        (LOOSE, 0.1, ()),
        (LOOSE, 0.3, ()),
        (NOISE, 1.0, ()),
    ],
    ids=['point', 'list', 'loose list', 'loose', 'looser', 'noise'],
)
def test_tokens_are_those_of_plain_greedy_decoding(checkpoint, family, texts, noise, pieces):
    rng = random.Random(f'{family} {noise} {pieces}')
    folder = checkpoint(family, texts, noise, rng.randrange(1000), pieces)
    oracle, engine = load_molmo(folder), load_engine(folder)
    as_on_a_gpu = LocalEngine(oracle, row_step=8, branch_rows=64)
    image, questions = random_image(rng), [any_question(rng) for _ in range(2)]
    before = image ^ np.uint8(rng.choice([1, 128]))  # whose answer is the first draft
    expected = plain_tokens(oracle, image, questions)
    first = engine.answer(before, questions[0])
    together = engine.answer_many(image, questions)
    again = engine.answer(image, questions[0])
    branching = as_on_a_gpu.answer_many(image, questions)
    assert [answer.tokens for answer in branching] == expected
    assert [answer.tokens for answer in (*together, again)] == [*expected, expected[0]]
    assert [first.tokens] == plain_tokens(oracle, before, questions[:1])


def test_the_demo_checkpoint_writes_what_it_would_plainly():
    rng = random.Random(1)
    oracle, engine = load_molmo(DEMO), load_engine(DEMO)
    as_on_a_gpu = LocalEngine(oracle, row_step=8, branch_rows=64)
    for image, truths in scenes(2):
        questions = [random_question(rng, truths) for _ in range(4)]
        expected = plain_tokens(oracle, image, questions)
        answers = [
            *engine.answer_many(image, questions[:3]),
            engine.answer(image, questions[3]),
        ]
        assert [answer.tokens for answer in answers] == expected
        branching = [as_on_a_gpu.answer(image, question) for question in questions]
        assert [answer.tokens for answer in branching] == expected
        assert all(answer.passes <= 5 for answer in branching if len(answer.points) == 1)
        assert all(answer.passes <= 8 for answer in answers if len(answer.points) == 1)


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
def test_a_large_network_whose_weights_are_in_another_order_writes_the_same(
    checkpoint, family, large_networks
):
    rng = random.Random(family)
    folder = checkpoint(family, LOOSE, 0.1, rng.randrange(1000))
    image, questions = random_image(rng), [any_question(rng) for _ in range(3)]
    expected = plain_tokens(load_molmo(folder), image, questions)
    engine = load_engine(folder)
    assert [engine.answer(image, question).tokens for question in questions] == expected
    together = load_engine(folder).answer_many(image, questions)
    assert [answer.tokens for answer in together] == expected
    half = load_engine(folder, dtype='bfloat16')
    assert half.answer(image, questions[0]).tokens
