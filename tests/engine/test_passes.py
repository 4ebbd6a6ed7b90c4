# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer costs, counted: passes of the decoder, crops and tokens that went through."""

import threading

import numpy as np
import pytest

from benchmarks.engine_checks import scenes
from benchmarks.random_molmo import LIST
from molmo_ros.engine import Question, load_engine
from molmo_ros.engine.decoding import Decoder
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.options import LoadOptions
from molmo_ros.pointing import Mode

MUG = Question('mug')


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
def test_one_point_takes_at_most_eight_passes(checkpoint, images, family):
    answer = load_engine(checkpoint(family)).answer(images(0), MUG)
    assert answer.text == ' <point x="61.5" y="61.5" alt="mug">mug</point>'
    assert answer.passes <= 8
    assert answer.passes < len(answer.tokens) - 5


@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
def test_a_point_of_a_list_takes_a_pass_for_each_token_that_says_where(checkpoint, images, family):
    """Here four of six; what stands between them is drafted."""
    engine = load_engine(checkpoint(family, pieces=LIST))
    one, three = (engine.answer(images(0), Question('mugs', max_points=count)) for count in (1, 3))
    assert (len(one.points), len(three.points)) == (1, 3)
    assert three.passes - one.passes == 2 * 4
    assert len(three.tokens) - len(one.tokens) == 2 * 6


def test_a_second_question_on_a_frame_costs_no_vision_and_no_image_prefill(engine, images):
    first = engine.answer(images(0), MUG)
    second = engine.answer(images(0).copy(), Question('cup'))
    assert first.work['crops'] > 0
    assert first.work['image_tokens'] > 0
    assert second.work['crops'] == second.work['image_tokens'] == 0
    assert second.timings['vision'] == 0


def test_a_frame_is_known_again_after_others_and_forgotten_oldest_first(checkpoint, images):
    engine = LocalEngine(load_molmo(checkpoint()), max_frames=2)

    words = iter(('mug', 'cup', 'bowl', 'jar', 'pan', 'lid'))

    def crops(seed):
        return engine.answer(images(seed), Question(next(words))).work['crops']

    assert crops(0) and crops(1)
    assert crops(0) == 0
    assert crops(2)
    assert crops(0) == 0
    assert crops(1)


def test_a_changed_pixel_is_another_frame(engine, images):
    image = images(0)
    engine.answer(image, MUG)
    image[0, 0, 0] ^= 1
    assert engine.answer(image, MUG).work['crops'] > 0


def test_frames_larger_than_the_memory_granted_are_answered_and_not_kept(checkpoint, images):
    engine = LocalEngine(load_molmo(checkpoint()), max_bytes=1)
    assert engine.answer(images(0), MUG).points
    assert engine.answer(images(1), MUG).points
    assert engine.answer(images(0), Question('cup')).work['crops'] > 0


def test_concurrent_questions_share_the_frame(engine, images):
    answers = []
    threads = [
        threading.Thread(
            target=lambda query=query: answers.append(engine.answer(images(0), Question(query)))
        )
        for query in ('mug', 'cup', 'bowl')
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert sum(answer.work['crops'] > 0 for answer in answers) == 1


def test_eight_questions_on_a_frame_share_their_passes(checkpoint, images):
    """They leave no room to try digits, so they take those of one that does not."""
    engine = load_engine(checkpoint())
    questions = [Question('mug' + count * 's') for count in range(8)]
    alone = LocalEngine(load_molmo(checkpoint()), branch_rows=0).answer(images(1), MUG)
    together = engine.answer_many(images(0), questions)
    assert [answer.points[0].label for answer in together] == [q.query for q in questions]
    assert max(answer.passes for answer in together) <= alone.passes
    assert together[0].work['crops'] == alone.work['crops']


def test_the_last_answer_is_the_draft_on_the_next_frame(engine, images):
    before = engine.answer(images(0), MUG)
    after = engine.answer(images(1), MUG)
    assert before.passes > 1
    assert after.passes == 1
    assert after.text == before.text


def test_the_same_question_on_the_same_picture_costs_no_pass(engine, images):
    """Also where other pictures were asked about in between, and one of two questions is new."""
    before = engine.answer(images(3), MUG)
    engine.answer(images(4), MUG)
    again, cup = engine.answer_many(images(3).copy(), [MUG, Question('cup')])
    assert again.passes == 0 and not any(again.work.values())
    assert (again.text, again.points, again.tokens) == (before.text, before.points, before.tokens)
    assert cup.passes > 0
    for other in (Question('mug', Mode.COUNT), Question('mug', max_points=1)):
        assert engine.answer(images(3), other).passes > 0
    image = images(3)
    image[89, 119, 2] ^= 128
    assert engine.answer(image, MUG).passes > 0


def test_cameras_in_turn_each_have_their_last_answer_as_the_draft():
    """They look at a table from two sides and are asked the same: where it is differs."""
    engine, noise = load_engine(default_checkpoint()), np.random.default_rng(6)
    ((table, seen),) = scenes(1)
    thing = max(seen, key=lambda truth: truth.visible_pixels)
    told = []
    for _ in range(3):
        for view in (table, table[:, ::-1]):
            image = np.clip(view + noise.integers(-1, 2, view.shape), 0, 255).astype(np.uint8)
            told.append(engine.answer(image, Question(f'{thing.colour} {thing.kind}')))
    assert len({answer.tokens for answer in told}) == 2
    assert all(answer.passes > 1 for answer in told[:2])
    assert [answer.passes for answer in told[2:]] == [1, 1, 1, 1]


def test_filled_up_passes_change_nothing(checkpoint, images):
    filled = LocalEngine(load_molmo(checkpoint()), row_step=8)
    plain = LocalEngine(load_molmo(checkpoint()), row_step=1)
    for mode in (Mode.POINT, Mode.COUNT):
        question = Question('mug', mode)
        ours, theirs = filled.answer(images(0), question), plain.answer(images(0), question)
        assert (ours.text, ours.tokens, ours.passes) == (theirs.text, theirs.tokens, theirs.passes)


def test_a_device_that_waits_for_weights_tries_all_digits_at_once(checkpoint, images):
    """A GPU: four passes instead of six for a point, three where the picture is known."""
    engine = LocalEngine(load_molmo(checkpoint()), row_step=8, branch_rows=64)
    cold = engine.answer(images(0), MUG)
    known = engine.answer(images(0), Question('cup'))
    assert cold.text == ' <point x="61.5" y="61.5" alt="mug">mug</point>'
    assert (cold.passes, known.passes) == (4, 3)
    together = engine.answer_many(images(1), [Question('bowl'), Question('jar')])
    assert max(answer.passes for answer in together) <= 4
    plain = LocalEngine(load_molmo(checkpoint()), branch_rows=0).answer(images(0), MUG)
    assert plain.passes == 6
    assert cold.points[0].confidence == pytest.approx(plain.points[0].confidence, abs=1e-4)


def test_the_demo_checkpoint_tries_digits_as_far_as_rows_are_cheap(checkpoint, images):
    """On a CPU, too, a pass of so small a network takes longer than ten rows more."""
    ((table, seen),) = scenes(1)
    thing = max(seen, key=lambda truth: truth.visible_pixels)
    question = Question(f'{thing.colour} {thing.kind}', max_points=1)
    again = Question(f'the {thing.colour} {thing.kind}', max_points=1)
    loaded = load_molmo(default_checkpoint())
    engine, plain = LocalEngine(loaded), LocalEngine(loaded, branch_rows=0)
    assert [engine.answer(table, asked).passes for asked in (question, again)] == [4, 3]
    assert [plain.answer(table, asked).passes for asked in (question, again)] == [6, 6]
    small, two = load_engine(checkpoint()), [Question('bowl'), Question('jar')]
    assert max(answer.passes for answer in small.answer_many(images(0), two)) < 6


def test_four_bit_weights_are_put_through_with_few_rows(checkpoint, images, monkeypatch):
    """With more than four a GPU unpacks them first, and takes longer than with bfloat16."""
    sizes, put = [], Decoder._put_through

    def note(self, rows, *others, **more):
        sizes.append(len(rows.tokens))
        return put(self, rows, *others, **more)

    monkeypatch.setattr(Decoder, '_put_through', note)
    loaded = load_molmo(checkpoint(), LoadOptions('cpu', quantize='int4'))
    answer = LocalEngine(loaded, row_step=8).answer(images(0), MUG)
    assert len(sizes) == answer.passes - 1
    assert set(sizes) == {4}


def test_memory_stays_flat_over_changing_frames(checkpoint, images):
    engine = LocalEngine(load_molmo(checkpoint()), max_frames=4)
    sizes = set()
    for seed in range(16):
        engine.answer(images(seed), Question(f'mug {seed}', max_points=1))
        if seed >= 4:
            sizes.add(engine.held_bytes)
    assert len(sizes) == 1


@pytest.mark.parametrize(
    'kind', [{'dtype': 'bfloat16'}, {'quantize': 'int8'}, {'quantize': 'int4'}], ids=str
)
@pytest.mark.parametrize('family', ['qwen2', 'olmo2', 'olmoe'])
def test_other_number_formats_take_the_same_way(checkpoint, images, family, kind):
    engine = load_engine(checkpoint(family), device='cpu', **kind)
    answer = engine.answer(images(0), MUG)
    assert answer.text == ' <point x="61.5" y="61.5" alt="mug">mug</point>'
    assert answer.passes <= 8
    assert 0 < answer.points[0].confidence <= 1
