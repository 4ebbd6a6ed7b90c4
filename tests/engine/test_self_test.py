# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine that answers in the right form and points elsewhere is found out before it is used."""

import json
import shutil

import cv2
import numpy as np
import pytest

from benchmarks.stub_server import Stub, discs, serving
from molmo_ros.engine import Answer, EngineError, OneByOne, load_engine
from molmo_ros.engine.self_test import (
    RELEASE_PARAMETERS,
    drawn_pictures,
    findings,
    pictures_for,
    self_test,
)
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.pointing import ImagePoint

WRONG = {
    'shifted': lambda x, y: (x, y - 3),
    'swapped': lambda x, y: (y, x),
    'scaled': lambda x, y: (x * 0.92, y * 0.92),
    'scaled about the middle': lambda x, y: (x, 50 + (y - 50) * 1.12),
    'mirrored': lambda x, y: (100 - x, y),
    'tenfold': lambda x, y: (x / 10, y / 10),
    'the middle': lambda x, y: (50, 50),
}


@pytest.mark.parametrize('moved', WRONG.values(), ids=WRONG)
def test_a_server_that_points_elsewhere_is_refused_with_the_numbers(moved):
    with (
        serving(Stub(moved=moved)) as stub,
        pytest.raises(EngineError, match=r'the self-test failed.*off by [0-9.]+ % of the'),
    ):
        load_engine(stub.url)


def test_a_server_whose_template_words_the_question_otherwise_is_refused():
    """One blank less, and a Molmo answers rubbish with status 200."""
    with (
        serving(Stub(template=' User: {prompt}Assistant:')) as stub,
        pytest.raises(EngineError, match=r'words the question as .* mend its chat template'),
    ):
        load_engine(stub.url)


class Sees:
    """An engine of the least kind, that sees discs, and moves or drops what it sees."""

    def __init__(self, change):
        self._change = change

    def answer(self, image, question, should_stop):
        height, width = image.shape[:2]
        places = self._change(discs(np.ascontiguousarray(image[..., ::-1])))
        points = tuple(ImagePoint(x / 100 * width, y / 100 * height, '') for x, y in places)
        return Answer('', points, None, not points)

    def close(self):
        pass


def of(change):
    return {one.name: one for one in findings(OneByOne(Sees(change)), drawn_pictures())}


def test_a_model_that_points_as_well_as_models_do_passes():
    """A percent beside the middle, one disc of two overlooked, one seen where there is none."""
    random = np.random.default_rng(4)

    def seen(places):
        moved = [(x + random.normal(0, 0.7), y + random.normal(0, 0.7)) for x, y in places]
        return moved[:1] or [(30.0, 30.0)]

    found = of(seen)
    assert all(one.passed is not False for one in found.values())
    # Neither is hidden from who looks.
    assert [one.passed for one in found.values()].count(None) == 2


def test_a_model_that_finds_nothing_is_refused():
    assert of(lambda places: [])['all together'].passed is False


def test_which_pictures_say_something_of_which_checkpoint(tmp_path):
    """A release is asked about discs; what was taught less brings its own, or is not asked."""
    assert len(pictures_for(tmp_path, RELEASE_PARAMETERS, adapted=False)) == 5
    assert len(pictures_for(tmp_path, RELEASE_PARAMETERS, adapted=True)) == 5
    assert pictures_for(tmp_path, 6_000_000, adapted=False) == ()
    demo = default_checkpoint()
    assert pictures_for(demo, 6_000_000, adapted=False) != ()
    assert pictures_for(demo, 6_000_000, adapted=True) == ()
    (tmp_path / 'self_test').mkdir()
    (tmp_path / 'self_test/cases.json').write_text('[{"image": "gone.png", "query": "a"}]')
    with pytest.raises(EngineError, match=r'cases\.json cannot be read'):
        pictures_for(tmp_path, 6_000_000, adapted=False)


def test_the_checkpoint_that_comes_along_passes_on_its_own_pictures():
    load_engine(default_checkpoint(), self_test='on').close()


def test_a_local_checkpoint_that_points_elsewhere_is_found_out(tmp_path):
    folder = tmp_path / 'mirrored'
    shutil.copytree(default_checkpoint(), folder)
    path = folder / 'self_test/cases.json'
    cases = json.loads(path.read_text())
    for case in cases:
        picture = cv2.imread(str(folder / 'self_test' / case['image']))
        case['points'] = [[picture.shape[1] - u, v] for u, v in case['points']]
    path.write_text(json.dumps(cases))
    engine = load_engine(folder, self_test='warn')
    assert 'mirrored' in engine.assumed[0]
    engine.close()


def test_whoever_switches_it_off_is_told_with_each_answer():
    engine = OneByOne(Sees(lambda places: [(1.0, 1.0)]))
    self_test('off', drawn_pictures())(engine)
    assert 'self_test is off' in engine.assumed[0]
