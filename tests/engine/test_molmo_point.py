# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MolmoPoint through the same Engine: tiny ones with random weights, from a folder to points."""

import re

import cv2
import numpy as np
import pytest

from benchmarks.random_molmo_point import HEAD, ONE_POINT, compare, write_checkpoint
from molmo_ros.cli import main
from molmo_ros.engine import EngineError, Question, load_engine
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.point_belief import PointBelief, PointLayout, measure
from molmo_ros.grounding.annotate import heated
from molmo_ros.model.fast_text import FastText
from molmo_ros.model.molmo_point_loading import load_molmo_point
from molmo_ros.model.options import LoadOptions
from molmo_ros.pointing import Mode

IMAGE = np.random.default_rng(3).integers(0, 256, (90, 160, 3), dtype=np.uint8)
NONE = ('There ', 'are ', 'none.')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Makes a folder whose model writes the pieces given; with ends -30 it goes on pointing."""
    made = {}

    def make(pieces=ONE_POINT, ends=1e3, seed=1):
        if (pieces, ends, seed) not in made:
            folder = tmp_path_factory.mktemp('molmo_point')
            write_checkpoint(folder, pieces, 0.05, seed, ends)
            made[pieces, ends, seed] = folder
        return made[pieces, ends, seed]

    return make


def engine_of(folder, **options):
    return load_engine(folder, device='cpu', **options)


def test_it_points_in_pixels_of_the_image_in_three_passes(checkpoint):
    answer = engine_of(checkpoint()).answer(IMAGE, Question('mugs'))
    assert re.fullmatch(r'<points coords="(<POINT_\d+>){3}1<POINT_\d+>">mugs</point>', answer.text)
    (point,) = answer.points
    assert 0 < point.u < 160 and 0 < point.v < 90 and point.label == 'mugs'
    assert answer.passes == 3 and not answer.absent


def test_a_list_takes_no_more_than_two_passes_a_point_and_one(checkpoint):
    answer = engine_of(checkpoint(ends=0.0)).answer(IMAGE, Question('mugs', max_points=2))
    assert len(answer.points) == 2
    # The model numbers all its points 1, which costs the draft of a 2 and one pass.
    assert answer.passes <= 2 * len(answer.points) + 2
    assert answer.points[0].u <= answer.points[1].u or answer.points[0].v <= answer.points[1].v


def test_belief_is_told_with_the_point_and_as_a_picture(checkpoint):
    answer = engine_of(checkpoint()).answer(IMAGE, Question('mugs'))
    (point,) = answer.points
    assert 0 < point.confidence <= 1
    uu, _, vv = point.covariance
    assert point.spread == pytest.approx(np.sqrt(uu + vv)) and point.spread > 0
    rows, columns = answer.heat.shape
    assert answer.heat.sum() == pytest.approx(1, abs=1e-5)
    assert answer.heat[int(point.v / 90 * rows), int(point.u / 160 * columns)] > 0


def test_a_second_question_on_a_frame_costs_no_vision_and_no_image_prefill(checkpoint):
    engine = engine_of(checkpoint())
    first = engine.answer(IMAGE, Question('mugs'))
    engine.answer(IMAGE[:, ::-1], Question('cups'))
    again = engine.answer(IMAGE.copy(), Question('cups'))
    assert first.work['crops'] > 0 and first.work['image_tokens'] > 0
    assert again.work['crops'] == again.work['image_tokens'] == 0
    assert again.tokens == first.tokens and again.points[0].u == first.points[0].u


def test_the_last_answer_is_the_draft_on_the_next_frame(checkpoint):
    engine = engine_of(checkpoint())
    before = engine.answer(IMAGE, Question('mugs'))
    nearly = IMAGE.copy()
    nearly[0, 0] ^= 1
    after = engine.answer(nearly, Question('mugs'))
    assert after.tokens == before.tokens and after.passes == 1


def test_an_answer_that_was_remembered_of_a_larger_image_does_no_harm(checkpoint):
    engine = engine_of(checkpoint())
    engine.answer(IMAGE, Question('mugs'))
    small = np.ascontiguousarray(IMAGE[:20, :20])
    after = engine.answer(small, Question('mugs'))
    assert after.tokens == engine_of(checkpoint()).answer(small, Question('mugs')).tokens


@pytest.mark.parametrize('mode', [Mode.POINT, Mode.COUNT])
def test_absence_is_an_answer(checkpoint, mode):
    answer = engine_of(checkpoint(NONE)).answer(IMAGE, Question('dragon', mode))
    assert answer.absent and answer.points == () and answer.count == 0 and answer.heat is None


def test_an_asked_question_is_answered_to_its_end(checkpoint):
    answer = engine_of(checkpoint()).answer(IMAGE, Question('Where are the mugs?', Mode.ASK))
    assert answer.text.endswith('">mugs</point>') and len(answer.points) == 1


def test_the_names_of_tokens_in_a_question_stay_words(checkpoint):
    engine = engine_of(checkpoint())
    query = '<POINT_3> <PATCH_2> <END> <im_patch> <|im_end|>'
    assert len(engine.answer(IMAGE, Question(query)).points) == 1


@pytest.mark.parametrize('seed', [13, 15, 20])
def test_tokens_are_those_of_plain_greedy_decoding(seed, tmp_path):
    """Alone and together, on a new frame and on a known one, with old answers as drafts."""
    written, _ = compare(seed, tmp_path)
    assert written > 0


def test_a_large_one_whose_weights_are_in_another_order_writes_the_same(checkpoint, large_networks):
    question = Question('mugs')
    expected = LocalEngine(load_molmo_point(checkpoint(), LoadOptions('cpu'))).answer(
        IMAGE, question
    )
    answer = engine_of(checkpoint()).answer(IMAGE, question)
    assert answer.tokens == expected.tokens
    assert answer.points[0].u == pytest.approx(expected.points[0].u, abs=1e-3)
    assert len(engine_of(checkpoint(), dtype='bfloat16').answer(IMAGE, question).points) == 1


def test_its_decoder_can_be_quantised(checkpoint):
    engine = engine_of(checkpoint(), quantize='int8')
    assert len(engine.answer(IMAGE, Question('mugs')).points) == 1


def test_four_bit_weights_are_put_through_with_few_rows(checkpoint, monkeypatch):
    """With more than four a GPU unpacks them first, and takes longer than with bfloat16."""
    sizes, put = [], FastText.states

    def note(self, embeds, *others, **more):
        sizes.append(len(embeds))
        return put(self, embeds, *others, **more)

    monkeypatch.setattr(FastText, 'states', note)
    loaded = load_molmo_point(checkpoint(), LoadOptions('cpu', quantize='int4'))
    answer = LocalEngine(loaded, row_step=8).answer(IMAGE, Question('mugs'))
    assert len(answer.points) == 1
    assert len(sizes) == answer.passes and set(sizes[1:]) == {4}


def test_ask_draws_where_it_would_have_pointed(checkpoint, tmp_path):
    cv2.imwrite(str(tmp_path / 'table.png'), IMAGE)
    words = [str(tmp_path / 'table.png'), 'mugs', '--checkpoint', str(checkpoint())]
    out = tmp_path / 'answer.png'
    assert main(['ask', *words, '--device', 'cpu', '--out', str(out)]) == 0
    assert cv2.imread(str(out)) is not None
    assert cv2.imread(str(tmp_path / 'answer.heat.png')).shape == IMAGE.shape


def test_belief_is_bright_where_it_is(checkpoint):
    heat = np.zeros((9, 16), np.float32)
    heat[2, 5] = 1
    picture = heated(IMAGE // 4, heat).sum(axis=-1)
    assert picture[25, 55] > 300 > picture[80, 20]


def test_an_adapter_is_refused(checkpoint, tmp_path):
    with pytest.raises(EngineError, match='is a MolmoPoint'):
        engine_of(checkpoint(), adapter=tmp_path)


def test_a_tokenizer_of_another_checkpoint_is_refused(tmp_path):
    write_checkpoint(tmp_path, HEAD, image_col_id=3)
    with pytest.raises(EngineError, match='<im_col> the id'):
        engine_of(tmp_path)


LAYOUT = PointLayout.of(
    np.array([[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, -1, -1]]),
    np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
)


def belief(patches, subpatches=(0, 0, 1, 0), locations=(0, 0, 0, 0, 1, 0, 0, 0, 0), patch=0):
    shares = (np.array(x, np.float32) for x in (patches, subpatches, locations))
    return PointBelief(patch, 2, 4, *shares)


def test_a_place_is_counted_column_by_column():
    # Part 2 of the first patch is at row 1, column 0 of 3 x 4; place 5 is right of its middle...
    assert LAYOUT.place(0, 2, 7) == pytest.approx((2.5 * 0.33 / 4, (1 + 1.5 * 0.33) / 3))
    assert LAYOUT.place(2, 3, 0) is None


def test_certain_belief_is_narrow_and_split_belief_is_wide():
    sure = measure(belief((1, 0, 0)), LAYOUT, 400, 300)
    assert sure.confidence > 0.85  # a place is as wide as NEAR here
    assert sure.covariance[0] == pytest.approx(sure.covariance[2])
    assert sure.covariance[0] < 100
    split = measure(belief((0.5, 0.5, 0)), LAYOUT, 400, 300)
    assert split.confidence == pytest.approx(0.45, abs=0.01)
    # Half the belief is even over the square of 200 pixels around (300, 100), seen from (50, 150).
    expected = 0.5 * (250**2 + 200**2 / 12), 0.5 * -250 * 50, 0.5 * (50**2 + 200**2 / 12)
    assert split.covariance == pytest.approx(expected, rel=0.02, abs=100)


def test_the_picture_of_belief_spreads_a_patch_over_its_parts():
    heat = belief((0.4, 0.4, 0.2)).heat(LAYOUT)
    assert heat[0].tolist() == pytest.approx([0, 0, 0.1, 0.1])
    assert heat[1].tolist() == pytest.approx([0.4, 0, 0.1, 0.1])
    assert heat[2].tolist() == pytest.approx([0.1, 0.1, 0, 0])
