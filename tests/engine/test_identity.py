# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is drafted, kept or shared, the tokens are those of plain greedy decoding."""

import random
from itertools import islice

import numpy as np
import pytest

from benchmarks.random_molmo import ONE_POINT, POINTS
from molmo_ros.engine import Question, answer_many, load_engine
from molmo_ros.model.greedy import greedy_tokens
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.preprocessing import preprocess
from molmo_ros.pointing import Mode, finished, prompt_for

LOOSE = (ONE_POINT, POINTS, ' There are none.')
NOISE = ('',)


def plain(loaded, image, question):
    """The tokens of greedy decoding, up to where the answer is finished."""
    tokenizer = loaded.tokenizer
    inputs = preprocess(image, loaded.preprocessor, tokenizer.image)
    suffix = tokenizer.encode_question(prompt_for(question.query, question.mode))
    room = loaded.model.config.text.max_positions - 1 - len(inputs.token_ids) - len(suffix)
    ids = []
    for token in islice(greedy_tokens(loaded.model, inputs, suffix, tokenizer.eos), room):
        ids.append(token)
        text = tokenizer.decode(ids)
        if question.mode is not Mode.ASK and finished(text, question.max_points):
            break
    return tuple(ids)


def random_question(rng):
    query = ''.join(rng.choices('abcdefgh mug.?é', k=rng.randrange(1, 20))) + 'x'
    return Question(query, rng.choice(list(Mode)), rng.choice([0, 0, 1, 2]))


def random_image(rng):
    height, width = rng.randrange(16, 150), rng.randrange(16, 200)
    pixels = np.random.default_rng(rng.randrange(1 << 30))
    return pixels.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
@pytest.mark.parametrize(
    ('texts', 'noise'),
    [((ONE_POINT,), 0.02), ((POINTS,), 0.02), (LOOSE, 0.1), (LOOSE, 0.3), (NOISE, 1.0)],
    ids=['point', 'list', 'loose', 'looser', 'noise'],
)
def test_tokens_are_those_of_plain_greedy_decoding(checkpoint, family, texts, noise):
    rng = random.Random(f'{family} {noise}')
    folder = checkpoint(family, texts, noise, seed=rng.randrange(1000))
    oracle, engine = load_molmo(folder), load_engine(folder)
    image, questions = random_image(rng), [random_question(rng) for _ in range(2)]
    expected = [plain(oracle, image, question) for question in questions]
    cold = engine.answer(image, questions[0])
    together = answer_many(engine, image, questions)  # one of them a second time
    assert [cold.tokens, *(answer.tokens for answer in together)] == [expected[0], *expected]
