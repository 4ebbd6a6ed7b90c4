# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation on rendered tables, with engines whose score is known beforehand."""

import itertools

import numpy as np
import pytest

from molmo_ros.engine import Answer
from molmo_ros.evaluation.evaluate import evaluate
from molmo_ros.evaluation.judging import Verdict, judge
from molmo_ros.evaluation.metrics import lies_in
from molmo_ros.evaluation.samples import Rule
from molmo_ros.evaluation.summary import summary
from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.tabletop.samples.data_set import easy_samples, rich_samples, understood_sample
from molmo_ros.tabletop.samples.table_views import distance_to_object, true_position, view_of
from molmo_ros.tabletop.world import HELD_OUT, RICH, TABLES, TabletopCamera

SEEDS = range(5000, 5003)


class Knowing:
    """Points at the targets of the samples that it was shown, or always at one pixel."""

    def __init__(self, samples, pixel=None):
        self.targets = {(s.image().tobytes(), s.query, s.mode): s.targets for s in samples}
        self.pixel = pixel

    def answer(self, image, question, should_stop=None):
        height, width = image.shape[:2]
        targets = self.targets[image.tobytes(), question.query, question.mode]
        pixels = [(x / 100 * width, y / 100 * height) for x, y in targets]
        pixels = pixels if self.pixel is None else [self.pixel]
        points = tuple(ImagePoint(*pixel, question.query, confidence=0.9) for pixel in pixels)
        count = len(points) if question.mode is Mode.COUNT else None
        return Answer('', points, count, not points, passes=3, timings={'decode': 0.5})

    def close(self):
        pass


@pytest.fixture(scope='module')
def easy():
    return list(easy_samples(SEEDS))


@pytest.fixture(scope='module')
def rich():
    return list(rich_samples(SEEDS))


@pytest.fixture(scope='module')
def view():
    return view_of(SEEDS[0])


def test_one_that_knows_scores_full_marks(easy):
    report = summary(list(evaluate(Knowing(easy), easy)))
    objects = sum(len(view_of(seed).truths) for seed in SEEDS)
    assert report['pictures'] == len(SEEDS)
    assert (report['hits']['right'], report['hits']['n']) == (objects, objects)
    assert (report['absence']['right'], report['absence']['n']) == (len(SEEDS), len(SEEDS))
    assert sum(rate['n'] for rate in report['by']['kind'].values()) == objects
    assert report['position_of_hits']['n'] == objects
    assert report['position_of_hits']['median_error_m'] < 0.001
    assert report['position_of_hits']['median_distance_to_object_m'] < 0.001
    assert report['calibration']['error'] == pytest.approx(0.1)
    assert report['cost']['median_passes'] == 3
    assert report['cost']['median_s_new_picture_by_stage'] == {'decode': 0.5}
    assert report['wrong'] == []


def test_one_that_always_points_at_the_corner_scores_nothing(easy):
    report = summary(list(evaluate(Knowing(easy, (2.0, 2.0)), easy)))
    assert report['hits']['right'] == report['absence']['right'] == 0
    assert report['position_of_hits']['n'] == 0
    assert len(report['wrong']) == report['hits']['n'] + report['absence']['n']
    assert {wrong['verdict'] for wrong in report['wrong']} == {
        Verdict.MISSED.value,
        Verdict.INVENTED.value,
    }


def test_the_right_answer_to_every_question_of_a_rich_table_scores_full_marks(rich):
    report = summary(list(evaluate(Knowing(rich), rich)))
    assert set(report['topics']) >= {'one', 'all', 'count', 'relation', 'extreme', 'absent'}
    assert all(topic['rate'] == 1 for topic in report['topics'].values())
    assert report['topics']['all']['f1'] == 1
    assert report['counts']['up_to_6']['rate'] == 1
    assert report['position_of_hits']['median_error_m'] < 0.001


def test_pointing_at_the_corner_of_a_rich_table_is_right_nowhere(rich):
    report = summary(list(evaluate(Knowing(rich, (2.0, 2.0)), rich)))
    pointed = {name: topic for name, topic in report['topics'].items() if name != 'count'}
    assert all(topic['right'] == 0 for topic in pointed.values())


def test_each_table_is_asked_the_same_every_time_and_topics_do_not_share_chance(rich):
    again = list(rich_samples(SEEDS))
    assert [(s.id, s.query) for s in again] == [(s.id, s.query) for s in rich]
    more = list(rich_samples(SEEDS, per_topic=2))
    assert {s.query for s in rich} <= {s.query for s in more}
    assert len({s.id for s in more}) == len(more)


def test_a_view_of_another_shape_asks_about_what_it_shows():
    samples = list(rich_samples([SEEDS[0]], size=(320, 120)))
    for sample in samples:
        assert sample.image().shape == (120, 320, 3)
        for target, mask in zip(
            sample.targets, sample.masks() if sample.masks else (), strict=True
        ):
            point = ImagePoint(target[0] / 100 * 320, target[1] / 100 * 120, '')
            assert mask.shape == (120, 320)
            assert lies_in(point, mask)


def test_kinds_and_colours_that_training_never_shows_together_are_counted_apart():
    found = {}
    for sample in rich_samples(range(5000, 5012)):
        if sample.topic == 'one':
            pair = sample.facts['kind'], sample.facts['colour']
            found[sample.facts['kind and colour']] = pair in HELD_OUT
    assert found == {'together in training': False, 'never together in training': True}


def test_free_table_is_near_the_middle_and_on_nothing():
    samples = [s for s in rich_samples(range(5000, 5004)) if s.topic == 'space']
    assert samples
    for sample in samples:
        (free,) = sample.masks()
        view = view_of(int(sample.image_id), RICH)
        assert free.any() and not (free & (view.picture.instances != 0)).any()
        assert sample.rule is Rule.FIRST and sample.position is None


def test_nothing_to_measure_is_no_error():
    assert np.isnan(summary([])['hits']['rate'])


def test_the_truth_belongs_to_the_picture_that_the_camera_shows(view):
    frame = TabletopCamera(SEEDS[0]).read()
    assert np.array_equal(frame.color, view.picture.color)
    assert np.array_equal(frame.depth, view.picture.depth, equal_nan=True)


def test_what_is_asked_for_is_there_once_or_not_at_all():
    for seed in SEEDS:
        names = [f'the {item.colour} {item.kind}' for item in view_of(seed).scene.objects]
        *there, absent = easy_samples([seed])
        assert sorted(sample.query for sample in there) == sorted(set(names))
        assert absent.absent and absent.query not in names


@pytest.mark.parametrize('spec', TABLES.values(), ids=TABLES)
def test_somebodys_own_words_are_judged_where_they_are_plain(spec):
    for seed in SEEDS:
        truths = view_of(seed, spec).truths
        for colour, kind in itertools.product(spec.colours, spec.kinds):
            sample = understood_sample(f'a {colour} {kind}', seed, spec)
            masks = [truth.mask for truth in truths if (truth.colour, truth.kind) == (colour, kind)]
            if len(masks) > 1:
                assert sample is None
            elif masks:
                np.testing.assert_array_equal(sample.masks(), masks)
            else:
                assert sample.absent
        for text in ('something to drink from', 'all red mugs', 'plain', ''):
            assert understood_sample(text, seed, spec) is None


def test_an_answer_is_judged_by_its_first_point(view, easy):
    there, absent = easy[0], next(sample for sample in easy if sample.absent)
    u, v = view.truths[0].target
    on_it, beside = ImagePoint(u + 0.5, v + 0.5, ''), ImagePoint(1, 1, '')

    def verdict(sample, *points):
        return judge(sample, Answer('', points, None, not points), 640, 480).verdict

    assert verdict(there, on_it, beside) is Verdict.HIT
    assert verdict(there, beside, on_it) is Verdict.MISSED
    assert verdict(there) is Verdict.NOT_FOUND
    assert verdict(absent) is Verdict.RIGHTLY_ABSENT
    assert verdict(absent, beside) is Verdict.INVENTED


def test_the_true_position_is_the_depth_at_a_pixels_middle_and_goes_on_between(view):
    truth = view.truths[0]
    u, v = truth.target
    here = true_position(view, ImagePoint(u + 0.5, v + 0.5, ''))
    next_to_it = true_position(view, ImagePoint(u + 1.0, v + 0.5, ''))
    assert here == pytest.approx(truth.position, abs=1e-5)
    assert 1e-4 < np.linalg.norm(next_to_it - here) < 2e-3
    assert distance_to_object(view, 0, here) < 1e-5


def test_at_a_silhouette_the_truth_stays_on_what_the_pixel_shows(view):
    mask = view.truths[0].mask
    edges = np.argwhere(mask & ~np.roll(mask, 1, axis=1))
    behind = 0
    for row, column in edges:
        for u in (column + 0.01, column + 0.99):
            position = true_position(view, ImagePoint(u, row + 0.5, ''))
            behind += distance_to_object(view, 0, position) > 1e-3
    assert len(edges) > 20 and behind == 0


def test_the_distance_to_an_object_is_from_its_nearest_side(view):
    truth = view.truths[0]
    towards_camera = -truth.position / np.linalg.norm(truth.position)
    before_it = truth.position + 0.01 * towards_camera
    assert 0 < distance_to_object(view, 0, before_it) <= 0.01 + 1e-6
