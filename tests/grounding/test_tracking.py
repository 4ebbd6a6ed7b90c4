# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points are carried from picture to picture, let go of when lost, and known again."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.tracking import Tally, film, follow, occluder, translation
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.picking import Pick
from molmo_ros.grounding.tracking import FollowedPicks, PointTracker, ViewHistory, view_of
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.spatial import CameraModel, LiftStatus, SurfacePoint
from molmo_ros.tabletop.world import RICH, make_scene

WIDTH, HEIGHT, DEPTH = 320, 240, 1.0
TICK = 50_000_000
CAMERA = CameraModel(WIDTH, HEIGHT, np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]]))


@pytest.fixture(scope='module')
def wall():
    """A large picture of blobs, of which a camera sees a part."""
    noise = np.random.default_rng(7).uniform(0, 255, (480, 640, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip((blurred - 127.5) * 6 + 127.5, 0, 255).astype(np.uint8)


@pytest.fixture
def view(wall):
    """view(tick, x, y): what a camera sees of the wall that has moved x, y pixels over it.

    hidden: (left, top, right, bottom) of something grey 0.3 m nearer. color_only: without depth.
    """

    def make(tick, x=0.0, y=0.0, hidden=None, color_only=False):
        window = np.array([[1, 0, x + 160], [0, 1, y + 120]], float)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        color = cv2.warpAffine(wall, window, (WIDTH, HEIGHT), flags=flags)
        depth = np.full((HEIGHT, WIDTH), DEPTH, np.float32)
        if hidden is not None:
            left, top, right, bottom = hidden
            color[top:bottom, left:right] = 90
            depth[top:bottom, left:right] = DEPTH - 0.3
        frame = Frame(color, None if color_only else depth, CAMERA, (tick + 1) * TICK, 'eye')
        return view_of(Capture(frame))

    return make


def answer(tracker, stamp, *points, key='q'):
    assert tracker.begin(stamp)
    named = [ImagePoint(u, v, label) for u, v, label in points]
    assert tracker.answered(key, stamp, named)
    tracker.end()


def follow_path(tracker, view, ticks, begin, **options):
    told = ()
    for tick in range(begin, begin + ticks):
        told = tracker.add_view(view(tick, 2.0 * tick, -0.7 * tick, **options)).get('q', ())
    return told


@pytest.mark.parametrize('color_only', [False, True])
def test_a_point_moves_with_what_it_is_on(view, color_only):
    tracker = PointTracker()
    tracker.add_view(view(0, color_only=color_only))
    answer(tracker, TICK, (150.5, 90.5, 'blob'), (240.5, 130.5, 'blob'))
    told = follow_path(tracker, view, 20, 1, color_only=color_only)
    assert [(one.point.u, one.point.v) for one in told] == [
        pytest.approx((150.5 - 40, 90.5 + 14), abs=1.0),
        pytest.approx((240.5 - 40, 130.5 + 14), abs=1.0),
    ]
    assert all(0 < one.drift < 6 and one.point.spread == one.drift for one in told)
    assert not any(one.answered for one in told)


def test_an_answer_that_comes_late_is_carried_to_the_newest_picture(view):
    tracker = PointTracker()
    tracker.add_view(view(0))
    assert tracker.begin(TICK)
    follow_path(tracker, view, 12, 1)
    assert tracker.answered('q', TICK, [ImagePoint(200.5, 100.5, 'blob')])
    (one,) = tracker.add_view(view(13, 26, -9.1))['q']
    assert (one.point.u, one.point.v) == pytest.approx((174.5, 109.6), abs=1.0)
    assert one.answered and one.id > 0
    (later,) = tracker.add_view(view(14, 28, -9.8))['q']
    assert not later.answered and later.drift > one.drift


@pytest.mark.parametrize('color_only', [False, True])
def test_a_hidden_point_is_dropped_at_once_and_the_next_answer_finds_it_again(view, color_only):
    tracker = PointTracker()
    tracker.add_view(view(0, color_only=color_only))
    answer(tracker, TICK, (100.5, 120.5, 'blob'), (250.5, 120.5, 'blob'))
    first, second = follow_path(tracker, view, 3, 1, color_only=color_only)
    hidden = {'hidden': (40, 60, 160, 190), 'color_only': color_only}
    (left,) = follow_path(tracker, view, 3, 4, **hidden)
    assert left.id == second.id
    # It comes in sight again, which only an answer can tell.
    (left,) = follow_path(tracker, view, 2, 7, color_only=color_only)
    assert left.id == second.id
    answer(tracker, 9 * TICK, (85.0, 126.0, 'blob'), (234.0, 126.0, 'blob'))
    assert [one.id for one in follow_path(tracker, view, 1, 9, color_only=color_only)] == [
        first.id,
        second.id,
    ]


def test_a_point_that_leaves_the_picture_is_dropped(view):
    tracker = PointTracker()
    tracker.add_view(view(0))
    answer(tracker, TICK, (20.5, 100.5, 'blob'), (200.5, 100.5, 'blob'))
    assert len(follow_path(tracker, view, 8, 1)) == 2
    (left,) = follow_path(tracker, view, 5, 9)
    assert left.point.u > 100


def test_ids_go_by_place_and_label_at_the_time_of_the_answer(view):
    tracker = PointTracker()
    tracker.add_view(view(0))
    answer(tracker, TICK, (150.5, 90.5, 'cup'), (180.5, 90.5, 'cup'), (150.5, 160.5, 'fork'))
    before = follow_path(tracker, view, 10, 1)
    # The order has changed, and the camera has moved 20 pixels; a plate is where the fork was.
    stamp = 11 * TICK
    answer(tracker, stamp, (162.0, 97.0, 'cup'), (131.0, 98.0, 'cup'), (130.5, 167.5, 'plate'))
    after = follow_path(tracker, view, 1, 11)
    by_place = sorted((one.point.u, one.id) for one in after if one.point.label == 'cup')
    assert [number for _, number in by_place] == [before[0].id, before[1].id]
    (plate,) = (one for one in after if one.point.label == 'plate')
    assert plate.id not in {one.id for one in before}
    assert 'fork' not in {one.point.label for one in after}


def test_questions_do_not_mix(view):
    tracker = PointTracker()
    tracker.add_view(view(0))
    answer(tracker, TICK, (150.5, 90.5, 'blob'), key='one')
    answer(tracker, TICK, (150.5, 90.5, 'blob'), key='other')
    told = tracker.add_view(view(1, 2, 1))
    assert told['one'][0].id != told['other'][0].id
    tracker.forget('one')
    assert set(tracker.add_view(view(2, 4, 2))) == {'other'}


def test_time_that_goes_back_forgets_points(view):
    tracker = PointTracker()
    tracker.add_view(view(5))
    answer(tracker, 6 * TICK, (150.5, 90.5, 'blob'))
    assert tracker.add_view(view(0)) == {'q': ()}
    assert not tracker.answered('q', 6 * TICK, [ImagePoint(150.5, 90.5, 'blob')])


def test_a_slow_answer_takes_no_more_memory_than_allowed(view):
    one = view(0)
    history = ViewHistory(memory=10 * one.size)
    for number in range(100):
        history.add(replace(one, stamp=number))
    kept = [kept.stamp for kept in history.since(0)]
    assert len(kept) <= 10 and kept[0] == 0 and kept[-1] == 99 and kept == sorted(kept)


def test_a_picture_of_another_size_loses_the_points(view):
    tracker = PointTracker()
    tracker.add_view(view(0))
    answer(tracker, TICK, (150.5, 90.5, 'blob'))
    small = view(1)
    assert tracker.add_view(replace(small, grey=small.grey[:200].copy())) == {'q': ()}


@pytest.mark.parametrize('seed', [311, 312])
def test_points_on_a_rendered_table_stay_on_their_things(seed):
    tally = Tally()
    moments = film(make_scene(seed, RICH), translation, (320, 240), seconds=1.2)
    follow(moments, tally, delay=0.2)
    assert len(tally.off) > 30 and tally.good > 0.95
    assert max(tally.late, default=0) <= 3


def test_what_passes_before_a_thing_does_not_take_its_point_along():
    tally = Tally()
    scene = make_scene(313, RICH)
    moments = film(scene, lambda s, t: occluder(s, t + 0.9), (320, 240), seconds=1.2)
    follow(moments, tally, delay=0.1)
    assert len(tally.off) > 30 and tally.good > 0.95
    assert max(tally.late, default=0) <= 3


class Meanwhile(list):
    """Points before which something else happens, when they are looked at first."""

    happens = staticmethod(lambda: None)

    def __iter__(self):
        happens, self.happens = self.happens, lambda: None
        happens()
        return super().__iter__()


def test_time_that_goes_back_while_an_answer_is_carried_takes_the_answer_along(view):
    """Its points would be shown where they were in a picture that is not there any more."""
    tracker = PointTracker()
    tracker.add_view(view(30))
    stamp = 31 * TICK
    assert tracker.begin(stamp)
    points = Meanwhile([ImagePoint(150.5, 90.5, 'blob')])
    points.happens = lambda: tracker.add_view(view(3, 60, 40))
    assert not tracker.answered('q', stamp, points)
    assert not tracker.add_view(view(4, 60, 40)).get('q')


def test_a_thing_is_measured_anew_after_an_answer_and_in_another_frame():
    """Else what was measured before is shown where the point is now, on another thing or turned."""
    picks, measured = FollowedPicks(), []

    def of(answered, status=LiftStatus.OK, frame='base'):
        surface = SurfacePoint(status, np.array([0.5, 0.1, 0.9]))
        known = len(measured)

        def measure():
            measured.append(frame)
            return Pick(reason='seen')

        pick = picks.of(7, answered, surface, frame, measure)
        return pick.reason if len(measured) == known else 'measured'

    assert of(answered=True) == 'measured'
    assert 'seen' in of(answered=False)
    # Another answer, in an image where the point has no depth; in the next it has.
    assert of(answered=True, status=LiftStatus.NO_DEPTH) == 'the point has no position'
    assert of(answered=False) == 'measured'
    assert of(answered=False, frame='map') == 'measured'
    assert 'seen' in of(answered=False, frame='map')
    assert measured == ['base', 'base', 'map']
