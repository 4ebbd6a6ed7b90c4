# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about several pictures share passes, and each is answered as if it were alone.

Two cameras whose questions come at once would otherwise wait for all passes of each other.
"""

import pytest

from benchmarks import random_molmo2, random_molmo_point
from benchmarks.engine_checks import scenes
from benchmarks.random_molmo import LIST, ONE_POINT
from molmo_ros.engine import AskedImage, InvalidImage, Question, QueuedQuestion, Stopped, never
from molmo_ros.engine.decoding import Decoder
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.point_decoding import PointDecoder
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.molmo2 import load_molmo2
from molmo_ros.model.molmo_point_loading import load_molmo_point
from molmo_ros.pointing import Mode

FILLED = {'row_step': 8, 'branch_rows': 64}  # as on a GPU


@pytest.fixture
def passes(monkeypatch):
    """How many images each pass of the decoder had questions about."""
    seen = []

    def noting(method):
        def noted(self, *arguments):
            seen.append(len({line.frame for line in arguments[-1]}))
            return method(self, *arguments)

        return noted

    for kind in (Decoder, PointDecoder):
        for name in ('read', 'read_image'):
            monkeypatch.setattr(kind, name, noting(getattr(kind, name)))
    return seen


class Asked:
    """Questions about pictures that wait at the same time, and what they were told."""

    def __init__(self, *images, stop=None):
        """stop: of the second picture's."""
        self.told, self.order = {}, []
        self._waiting = [
            AskedImage(
                image, [self._queued(index, one, stop if index == 1 else None) for one in questions]
            )
            for index, (image, questions) in enumerate(images)
        ]

    def _queued(self, index, question, should_stop):
        def tell(outcome):
            assert (index, question) not in self.told
            self.told[index, question] = outcome
            self.order.append(index)

        return QueuedQuestion(question, tell, should_stop or never)

    def next(self):
        return self._waiting.pop(0) if self._waiting else None

    def of(self, engine):
        while (first := self.next()) is not None:
            engine.answer_frames(first, self.next)
        return self.told


def alone(loaded, images):
    """The same questions, one after the other."""
    engine = LocalEngine(loaded)
    return {
        (index, question): engine.answer(image, question)
        for index, (image, questions) in enumerate(images)
        for question in questions
    }


def same(together, expected):
    assert together.keys() == expected.keys()
    for key, answer in expected.items():
        assert together[key].tokens == answer.tokens, key
        ours, theirs = together[key].points, answer.points
        assert [(p.u, p.v) for p in ours] == [(p.u, p.v) for p in theirs]


def three(images, *sizes):
    """Pictures of several sizes, and questions about each."""
    questions = (
        [Question('mugs'), Question('a cup', max_points=1)],
        [Question('spoons', Mode.COUNT)],
        [Question('the red mug', max_points=2), Question('What is it?', Mode.ASK)],
    )
    return [
        (images(seed, *size), some)
        for seed, (size, some) in enumerate(zip(sizes, questions, strict=True))
    ]


def molmo2(tmp_path_factory):
    folder = tmp_path_factory.mktemp('molmo2')
    random_molmo2.write_checkpoint(folder, random_molmo2.POINTS, 0.3)
    return folder


def molmo_point(tmp_path_factory):
    folder = tmp_path_factory.mktemp('molmo_point')
    random_molmo_point.write_checkpoint(folder, random_molmo_point.ONE_POINT, 0.3, 5, 0.0)
    return folder


@pytest.fixture(scope='module')
def loads(checkpoint, tmp_path_factory):
    """Loads a checkpoint of each kind."""
    pointing, two = molmo_point(tmp_path_factory), molmo2(tmp_path_factory)
    families = {
        family: checkpoint(family, (ONE_POINT,), 0.3, 4) for family in ('qwen2', 'olmo2', 'olmoe')
    }
    return {
        **{family: lambda folder=folder: load_molmo(folder) for family, folder in families.items()},
        'molmo2': lambda: load_molmo2(two),
        'molmo_point': lambda: load_molmo_point(pointing),
    }


@pytest.mark.parametrize(
    ('kind', 'ways'),
    [
        ('qwen2', [{}, FILLED]),
        ('olmo2', [{}]),
        ('olmoe', [{}]),
        ('molmo2', [FILLED]),
        ('molmo_point', [FILLED]),
    ],
)
def test_every_answer_is_the_one_it_would_be_alone(loads, images, passes, kind, ways):
    """New pictures and known ones, of several sizes."""
    loaded, asked = loads[kind](), three(images, (90, 120), (40, 64), (120, 90))
    again = [(image, [Question('lids'), Question('a jar')]) for image, _ in asked]
    expected, expected_again = alone(loaded, asked), alone(loaded, again)
    for way in ways:
        engine = LocalEngine(loaded, patience=0, **way)
        passes.clear()
        same(Asked(*asked).of(engine), expected)
        same(Asked(*again).of(engine), expected_again)
        assert max(passes) == 3


def test_two_cameras_take_the_passes_of_the_longer_answer(checkpoint, images, passes):
    """And one for each further picture; the short answer does not wait for the long one."""
    loaded = load_molmo(checkpoint(pieces=LIST))
    pairs = [
        (images(0), [Question('mugs', max_points=3)]),
        (images(1), [Question('a cup', max_points=1)]),
    ]
    long, short = alone(loaded, pairs).values()
    engine = LocalEngine(loaded, patience=0)
    passes.clear()
    asked = Asked(*pairs)
    told = asked.of(engine)
    assert asked.order == [1, 0]
    assert len(passes) == long.passes + 1
    assert {answer.passes for answer in told.values()} == {long.passes, short.passes}
    # Known by now, and asked anew: as many as the longer one.
    passes.clear()
    known = [
        (image, [Question(f'the {one.query}', max_points=one.max_points)])
        for image, (one,) in reversed(pairs)
    ]
    told = Asked(*known).of(engine)
    assert len(passes) == max(answer.passes for answer in told.values())


def test_a_new_picture_waits_for_short_answers_only(checkpoint, images, passes):
    """Where its encoder takes longer than their passes, it would keep them for nothing."""
    loaded = load_molmo(checkpoint(pieces=LIST))
    engine = LocalEngine(loaded, patience=6)
    new = Asked(*((images(seed), [Question('a cup', max_points=1)]) for seed in range(2)))
    for answer in new.of(engine).values():
        assert answer.passes <= 6
    assert set(passes) == {1}
    passes.clear()
    new = Asked(*((images(seed), [Question('all mugs', max_points=3)]) for seed in (7, 8)))
    new.of(engine)
    assert passes[:7] == [1] * 7 and passes.count(2) >= 4


def test_as_many_share_passes_as_there_is_room_for(checkpoint, images, passes, monkeypatch):
    """A GPU's memory for the cache is taken once; the others take turns."""
    monkeypatch.setattr('molmo_ros.engine.decoding.MOST_RESERVED', 1)
    monkeypatch.setattr('molmo_ros.engine.decoding.SLOT_STEP', 128)
    loaded = load_molmo(checkpoint(pieces=LIST))
    pairs = [(images(seed), [Question('mugs', max_points=2)]) for seed in range(9)]
    engine = LocalEngine(loaded, patience=0, frames_at_once=9)
    told = Asked(*pairs).of(engine)
    assert 2 <= max(passes) < 9
    in_turn = LocalEngine(loaded)
    same(told, {(at, one): in_turn.answer(image, one) for at, (image, (one,)) in enumerate(pairs)})
    assert engine.held_bytes == in_turn.held_bytes


def test_one_that_is_stopped_or_refused_leaves_the_other_pictures_alone(checkpoint, images, passes):
    loaded = load_molmo(checkpoint(pieces=LIST))
    pairs = [(images(seed), [Question('mugs', max_points=3)]) for seed in range(3)]
    expected = alone(loaded, pairs)
    checks = iter(range(1000))
    refused = images(9)[:5], [Question('lids')]
    asked = Asked(*pairs, refused, stop=lambda: next(checks) > 4)
    told = asked.of(LocalEngine(loaded, patience=0))
    outcomes = list(told.values())
    assert sum(isinstance(outcome, Stopped) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, InvalidImage) for outcome in outcomes) == 1
    for index in (0, 2):
        key = index, pairs[index][1][0]
        assert told[key].tokens == expected[key].tokens


def test_the_demo_checkpoint_points_the_same_in_both_pictures(passes):
    pictures = [
        (color, [Question(f'the {seen.colour} {seen.kind}') for seen in truths[:2]])
        for color, truths in scenes(2)
    ]

    loaded = load_molmo(default_checkpoint())
    same(Asked(*pictures).of(LocalEngine(loaded, patience=0)), alone(loaded, pictures))
    assert 2 in passes
