# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a model's words, by mode: points, a number with a point on each, prose, nothing.

The models are random but for the words they are made to write: each piece calls for the next.
"""

import numpy as np
import pytest

from benchmarks.random_molmo import (
    END_OF_TEXT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    word_tokenizer,
)
from molmo_ros.engine import Question, load_engine
from molmo_ros.pointing import Mode

IMAGE = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
COUNTED = (
    ' Counting the ',
    '<points',
    ' x1="25.0"',
    ' y1="50.0"',
    ' x2="75.0"',
    ' y2="40.0"',
    ' alt="',
    'mugs',
    '">',
    'mugs</points>',
    ' shows a total of ',
    '2',
    '.',
)
PROSE = (
    ' The handle',
    ' is here:',
    ' <point x="10.5" y="20.5" alt="handle">',
    'it</point>',
    ', left.',
)
NONE = (' There', ' are', ' none.')
MISSING = (" This isn't", ' in the', ' image.')


@pytest.fixture
def writes(tmp_path):
    """Makes an engine whose model writes these pieces, whatever it is asked."""

    def make(pieces):
        tokenizer = word_tokenizer(pieces)
        model = random_molmo(tiny_config('qwen2'), seed=2)
        tilt(model, tokenizer, [''.join(pieces) + END_OF_TEXT])
        save_checkpoint(model, tokenizer, tmp_path)
        return load_engine(tmp_path, device='cpu')

    return make


def test_a_count_is_its_number_and_a_point_on_each(writes):
    answer = writes(COUNTED).answer(IMAGE, Question('mugs', Mode.COUNT))
    assert answer.text == ''.join(COUNTED)
    assert answer.count == 2 and not answer.absent
    assert [(p.u, p.v, p.label) for p in answer.points] == [(50, 50, 'mugs'), (150, 40, 'mugs')]


def test_an_asked_question_gives_the_words_and_the_points_in_them(writes):
    answer = writes(PROSE).answer(IMAGE, Question('Where do I hold it?', Mode.ASK))
    assert answer.text == ''.join(PROSE)
    assert [(p.u, p.v, p.label) for p in answer.points] == [(21, 20.5, 'handle')]
    assert answer.count is None and not answer.absent


@pytest.mark.parametrize('mode', Mode)
@pytest.mark.parametrize('pieces', [NONE, MISSING])
def test_absence_is_an_answer_and_no_error(writes, pieces, mode):
    answer = writes(pieces).answer(IMAGE, Question('dragon', mode))
    assert answer.absent and answer.points == () and answer.count == 0
    assert answer.text == ''.join(pieces)


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
def test_the_same_question_has_the_same_answer(checkpoint, images, family):
    """From engine to engine, and from the first time to the third."""
    folder, question = checkpoint(family, noise=0.3), Question('mug', Mode.ASK)
    engines = [load_engine(folder, device='cpu') for _ in range(2)]
    answers = [e.answer(images(1), question) for e in (engines[0], engines[1], *engines)]
    assert len({answer.tokens for answer in answers}) == 1
    assert len({answer.text for answer in answers}) == 1


def test_a_quantised_engine_points(checkpoint, images):
    for quantize in ('int8', 'int4'):
        engine = load_engine(checkpoint(), device='cpu', quantize=quantize)
        answer = engine.answer(images(1), Question('mug', max_points=1))
        assert len(answer.points) == 1
