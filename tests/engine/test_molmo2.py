# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo2 through the same Engine: a tiny one with random weights, from its folder to points."""

import json
import random
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest
import torch

from benchmarks.random_molmo2 import NONE, ONE, POINTS, generated, prompt, write_checkpoint
from molmo_ros.cli import main
from molmo_ros.engine import (
    EngineError,
    InvalidImage,
    InvalidQuestion,
    Question,
    Stopped,
    load_engine,
)
from molmo_ros.model.molmo2 import load_molmo2
from molmo_ros.pointing import Mode

IMAGE = np.random.default_rng(3).integers(0, 256, (90, 160, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Makes a folder, see `write_checkpoint`."""

    def make(*arguments):
        folder = tmp_path_factory.mktemp('molmo2')
        write_checkpoint(folder, *arguments)
        return folder

    return make


def test_it_points_in_pixels_of_the_image(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    answer = engine.answer(IMAGE, Question('mugs'))
    assert answer.text == '<points coords="1 1 615 404 2 100 200">mugs</points>'
    assert [p.u for p in answer.points] == pytest.approx([98.4, 16.0])
    assert [p.v for p in answer.points] == pytest.approx([36.36, 18.0])
    assert {(point.label, point.image_index) for point in answer.points} == {('mugs', 0)}
    assert not answer.absent


def test_a_limit_of_points_is_kept(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    answer = engine.answer(IMAGE, Question('mugs', max_points=1))
    assert len(answer.points) == 1 and len(answer.tokens) < len(POINTS) - 3


def test_what_coords_force_is_drafted_and_saves_passes(checkpoint):
    """The head of the tag rides with the question, the space with the digits before it."""
    answer = load_engine(checkpoint(ONE), device='cpu').answer(IMAGE, Question('mugs'))
    assert answer.text == '<points coords="1 1 615 404">mugs</points>'
    assert len(answer.tokens) == 7  # the last of them closes the list
    assert answer.passes == 3


def test_a_second_question_on_a_frame_costs_no_vision_and_no_image_prefill(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    first = engine.answer(IMAGE, Question('mugs'))
    second = engine.answer(IMAGE.copy(), Question('cups'))
    assert first.work['crops'] > 0 and first.work['image_tokens'] > 0
    assert second.work['crops'] == second.work['image_tokens'] == 0
    assert second.tokens == first.tokens


def test_the_last_answer_is_the_draft_on_the_next_frame(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    before = engine.answer(IMAGE, Question('mugs'))
    after = engine.answer(IMAGE[:, ::-1], Question('mugs'))
    assert before.passes > 1 and after.passes == 1
    assert after.tokens == before.tokens


def test_questions_on_a_frame_share_their_passes(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    queries = ['mug', 'cup', 'a very large bowl']
    answers = engine.answer_many(IMAGE, [Question(query) for query in queries])
    alone = engine.answer(IMAGE[::-1], Question('spoon'))
    assert {len(answer.points) for answer in answers} == {2}
    assert max(answer.passes for answer in answers) <= alone.passes
    assert answers[0].work['crops'] == alone.work['crops']


def test_an_asked_question_is_answered_to_its_end(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    answer = engine.answer(IMAGE, Question('Where are the mugs?', Mode.ASK))
    assert answer.text == ''.join(POINTS) and len(answer.points) == 2


def test_absence_is_an_answer(checkpoint):
    answer = load_engine(checkpoint(NONE), device='cpu').answer(IMAGE, Question('dragon'))
    assert answer.absent and answer.points == () and answer.count == 0


SCALED = {'rope_type': 'linear', 'rope_theta': 1e4, 'factor': 4.0}


@pytest.mark.parametrize(
    'text',
    [
        {},
        {'qk_norm_type': 'olmo', 'norm_after': True, 'num_key_value_heads': 4},
        {'attention_bias': True, 'rope_parameters': SCALED, 'rope_scaling_layers': [1]},
    ],
    ids=['8B', 'O-7B', 'scaled'],
)
@pytest.mark.parametrize(('pieces', 'noise'), [(ONE, 0.05), (POINTS, 0.3), ((), 1.0)])
def test_tokens_are_those_that_transformers_generates(checkpoint, text, pieces, noise):
    """Alone or together, on a new frame and on a known one."""
    rng = random.Random(f'{text} {noise}')
    folder = checkpoint(pieces, noise, {**text, 'max_position_embeddings': 200})
    loaded, engine = load_molmo2(folder), load_engine(folder, device='cpu')
    questions = [
        Question(''.join(rng.choices('abc mugs', k=rng.randrange(1, 9))) + 'x', mode)
        for mode in rng.sample(list(Mode), 3)
    ]
    image = np.random.default_rng(rng.randrange(1 << 30)).integers(0, 256, (60, 90, 3), np.uint8)
    expected = [generated(loaded, image, question) for question in questions]
    cold = engine.answer(image, questions[0])
    together = engine.answer_many(image, questions)
    assert [cold.tokens, *(answer.tokens for answer in together)] == [expected[0], *expected]


def test_a_large_one_whose_weights_are_in_another_order_writes_the_same(checkpoint, large_networks):
    folder, question = checkpoint(POINTS, 0.3), Question('mugs')
    expected = generated(load_molmo2(folder), IMAGE, question)
    engine = load_engine(folder, device='cpu')
    assert engine.answer(IMAGE, question).tokens == expected
    assert load_engine(folder, device='cpu', dtype='bfloat16').answer(IMAGE, question).tokens


def test_an_images_tokens_see_each_other_both_ways(checkpoint):
    """As in `generate`: without, the model says something else, so the test above would see it."""
    loaded = load_molmo2(checkpoint())
    inputs = prompt(loaded, IMAGE, 'What is this?')
    with torch.no_grad():
        both = loaded.model(**inputs).logits[0, -1]
        causal = loaded.model(**inputs | {'mm_token_type_ids': None}).logits[0, -1]
    assert (both - causal).abs().max() > 1e-2


@pytest.mark.parametrize('quantize', ['int8', 'int4'])
def test_its_decoder_can_be_quantised(checkpoint, quantize):
    engine = load_engine(checkpoint(POINTS), device='cpu', quantize=quantize)
    assert len(engine.answer(IMAGE, Question('mugs')).points) == 2


def test_bad_requests_are_refused(checkpoint):
    engine = load_engine(checkpoint(POINTS), device='cpu')
    with pytest.raises(InvalidQuestion, match='empty'):
        engine.answer(IMAGE, Question(' '))
    with pytest.raises(InvalidQuestion, match='too long'):
        engine.answer(IMAGE, Question('x' * 600))
    with pytest.raises(InvalidImage):
        engine.answer(IMAGE[:4], Question('mug'))
    with pytest.raises(Stopped):
        engine.answer(IMAGE, Question('mug'), lambda: True)
    engine.close()
    with pytest.raises(EngineError, match='closed'):
        engine.answer(IMAGE, Question('mug'))


def test_special_names_in_a_question_stay_words(checkpoint):
    tokenizer = load_molmo2(checkpoint()).tokenizer
    ids = tokenizer.encode_question('<|im_end|><im_patch>')
    assert tokenizer.image.patch not in ids
    assert ids.count(tokenizer.turn_end) == 1


def test_missing_weights_are_named(checkpoint):
    from safetensors.torch import load_file, save_file

    folder = checkpoint()
    weights = load_file(folder / 'model.safetensors')
    gone = next(key for key in weights if 'resblocks.0' in key or 'layers.0' in key)
    del weights[gone]
    save_file(weights, folder / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(EngineError, match='missing'):
        load_engine(folder, device='cpu')


def test_it_can_be_checked(checkpoint, capsys):
    assert main(['check', str(checkpoint()), '--device', 'cpu', '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    names = [finding['name'] for finding in report['findings']]
    assert names == ['keys', 'dtypes', 'special tokens', 'inference', "the engine's tokens"]
    assert report['passed']


def test_a_transformers_without_molmo2_says_so_and_runs_molmo(tmp_path):
    """Older versions of transformers are enough for the first generation."""
    (tmp_path / 'config.json').write_text('{"model_type": "molmo2"}')
    code = f"""
        import sys

        sys.modules['transformers.models.molmo2'] = None  # as before transformers 5.20

        import numpy as np
        import molmo_ros.model.checking
        from molmo_ros.engine import EngineError, Question, load_engine
        from molmo_ros.engine.shipped import default_checkpoint

        picture = np.full((96, 128, 3), 90, np.uint8)
        with_text = load_engine(default_checkpoint()).answer(picture, Question('the mug'))
        print(with_text.passes)
        try:
            load_engine({str(tmp_path)!r})
        except EngineError as error:
            print(error)
    """
    result = subprocess.run([sys.executable, '-c', dedent(code)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    passes, refusal = result.stdout.splitlines()
    assert int(passes) > 0
    assert 'Molmo2' in refusal and '5.20' in refusal
