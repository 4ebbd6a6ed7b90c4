# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers that are kept: judged again, gone on from, compared."""

import json
from dataclasses import replace
from functools import partial
from math import nan

import numpy as np
import pytest
from scipy.stats import binomtest

from molmo_ros.engine import Answer
from molmo_ros.evaluation.comparing import comparison, difference, mcnemar, paired
from molmo_ros.evaluation.evaluate import evaluate
from molmo_ros.evaluation.predictions import PredictionsFile, read_predictions
from molmo_ros.evaluation.records import mask_of, runs_of
from molmo_ros.evaluation.report.comparison import comparison_page
from molmo_ros.evaluation.samples import InvalidData, Rule, Sample
from molmo_ros.evaluation.summary import summary
from molmo_ros.pointing import ImagePoint, Mode

WIDTH, HEIGHT = 50, 30
SETTINGS = {
    'data': 'boxes',
    'about': {'layout': 'boxes'},
    'model': {'name': 'tiny', 'checkpoint': 'tiny', 'digest': 'd1', 'dtype': 'float32'},
    'photometric': 'none',
}


def box(left, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:20, left:right] = True
    return mask


def picture(name):
    return np.full((HEIGHT, WIDTH, 3), len(name), np.uint8)


def sample(number, **fields):
    """A box at the left of one of two pictures; its middle is at 10, 12."""
    name = f'picture {number % 2}'
    usual = {
        'id': f'{number}',
        'image_id': name,
        'image': partial(picture, name),
        'query': f'box {number}',
        'mode': Mode.POINT,
        'topic': 'odd' if number % 2 else 'even',
        'rule': Rule.FIRST,
        'targets': ((20.0, 40.0),),
        'count': 1,
        'masks': lambda: (box(5, 15),),
        'source': name,
    }
    return Sample(**{**usual, **fields})


SAMPLES = [*map(sample, (0, 2, 4, 1, 3)), sample(5, rule=Rule.EVERY, masks=None)]


class Scripted:
    """Points at the box, but for the queries named."""

    def __init__(self, *misses):
        self.misses, self.asked = misses, []

    def answer(self, image, question, should_stop):
        self.asked.append(question.query)
        u = 40.0 if question.query in self.misses else 10.0
        point = ImagePoint(u, 12.0, question.query, nan if 'box 1' in question.query else 0.5)
        return Answer('<point>', (point,), None, False, 3, {'decode': 0.1}, presence=0.9)

    def close(self):
        pass


def kept(path, engine, samples=SAMPLES, settings=SETTINGS):
    file = PredictionsFile(path, settings)
    results = []
    for result in evaluate(engine, samples, known=file.known):
        file.append(result)
        results.append(result)
    file.close()
    return results


def told(results):
    """What does not depend on the time that it took."""
    figures = summary(results)
    del figures['cost']
    return json.dumps(figures)


@pytest.mark.parametrize('mask', [box(5, 15), box(0, WIDTH), np.ones((HEIGHT, WIDTH), bool)])
def test_masks_come_back_as_they_were(mask):
    assert (mask_of(runs_of(mask), WIDTH, HEIGHT) == mask).all()
    assert (mask_of(runs_of(~mask), WIDTH, HEIGHT) == ~mask).all()


def test_what_is_kept_is_judged_again_without_the_data(tmp_path):
    results = kept(tmp_path / 'a.jsonl', Scripted('box 4', 'box 5'))
    read = read_predictions(tmp_path / 'a.jsonl')
    again = read.results(picture)
    assert told(again) == told(results) and summary(again)['hits']['right'] == 4
    assert [one.answer.text for one in again] == [one.answer.text for one in results]
    assert np.isnan(again[3].answer.points[0].confidence)
    # 30 pixels off is within half of the diagonal; what has a mask is judged by that.
    wider = summary(read.results(picture, radius=0.6))
    assert wider['hits']['right'] == 5
    assert (again[0].sample.image() == picture('picture 0')).all()


@pytest.mark.parametrize('cut', [0, 1, 9])
def test_an_interrupted_run_asks_only_what_it_has_not_asked(tmp_path, cut):
    path = tmp_path / 'a.jsonl'
    whole = kept(path, Scripted('box 2'))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b''.join(lines[:4]) + lines[4][:cut])
    engine = Scripted('box 2')
    assert told(kept(path, engine)) == told(whole)
    assert engine.asked == ['box 1', 'box 3', 'box 5']
    assert len(read_predictions(path).records) == len(SAMPLES)


def test_other_settings_and_other_data_are_refused(tmp_path):
    path = tmp_path / 'a.jsonl'
    kept(path, Scripted())
    moved = {**SETTINGS, 'model': {**SETTINGS['model'], 'checkpoint': '/elsewhere/tiny'}}
    assert PredictionsFile(path, moved).done
    other = {**SETTINGS, 'model': {**SETTINGS['model'], 'dtype': 'bfloat16'}}
    with pytest.raises(InvalidData, match=r"model\.dtype \(then 'float32', now 'bfloat16'\)"):
        PredictionsFile(path, other)
    changed = replace(SAMPLES[3], targets=((21.0, 40.0),))
    with pytest.raises(InvalidData, match='other data: 1 was another question'):
        kept(path, Scripted(), [*SAMPLES[:3], changed])
    (tmp_path / 'notes.txt').write_text('mine\n')
    with pytest.raises(InvalidData, match=r'does not begin as'):
        PredictionsFile(tmp_path / 'notes.txt', SETTINGS)
    assert (tmp_path / 'notes.txt').read_text() == 'mine\n'


def test_two_runs_at_once_do_not_write_into_one_file(tmp_path):
    first = PredictionsFile(tmp_path / 'a.jsonl', SETTINGS)
    with pytest.raises(InvalidData, match='being written by another run'):
        PredictionsFile(tmp_path / 'a.jsonl', SETTINGS)
    first.close()
    PredictionsFile(tmp_path / 'a.jsonl', SETTINGS).close()


def test_two_runs_are_compared_question_by_question(tmp_path):
    a, b = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
    kept(a, Scripted('box 0', 'box 1', 'box 2', 'box 3'))
    other = {**SETTINGS, 'model': {**SETTINGS['model'], 'name': '<b>taught</b>'}}
    kept(b, Scripted('box 3'), SAMPLES[:-1], other)
    one, two = read_predictions(a), read_predictions(b)
    found = paired(one, two, picture)
    figures = comparison(one, two, found)
    assert (figures['questions'], figures['a_alone'], figures['b_alone']) == (5, 1, 0)
    every = figures['all']
    assert (every['only_a_right'], every['only_b_right']) == (0, 3)
    assert every['difference'] == pytest.approx(3 / 5) and every['p'] == pytest.approx(0.25)
    assert figures['only_b_right'] == ['0', '2', '1']
    assert figures['topics']['odd']['b']['right'] == 1
    page = comparison_page(figures, found.pairs)
    # Three pictures of each run, the names as they are, no tag of what the model wrote.
    assert page.count('<img ') == 6 and '<b>taught' not in page
    assert '&lt;b&gt;taught&lt;/b&gt; on boxes' in page and '&lt;point' not in page


def test_runs_over_other_truths_are_not_compared(tmp_path):
    a, b = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
    kept(a, Scripted())
    kept(b, Scripted(), [replace(one, masks=lambda: (box(5, 16),)) for one in SAMPLES[:2]])
    with pytest.raises(InvalidData, match='2 of 2 questions, or their truths'):
        paired(read_predictions(a), read_predictions(b), picture)


def test_the_figures_of_a_comparison_are_those_of_the_tables():
    for one, other in ((3, 12), (12, 3), (1500, 1700)):
        assert mcnemar(one, other) == pytest.approx(binomtest(one, one + other).pvalue)
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1
    better, (low, high) = difference(3, 12, 60)
    assert better == pytest.approx(0.15)
    # Bonett and Price's formula by hand: 4 and 13 of 62.
    assert (low, high) == (pytest.approx(0.0199, abs=1e-4), pytest.approx(0.2704, abs=1e-4))
