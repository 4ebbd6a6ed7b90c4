# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Time that jumps back while messages are on their way: what comes too late harms nobody.

Topics are heard in no order among each other. All of it without DDS, so that the order is known.
"""

import itertools
import sys
import time
from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.clock import Clock, ClockType
from rclpy.time import Time
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from benchmarks.fuzz_requests import FedNode
from molmo_ros.engine import Answer, Question
from molmo_ros.grounding.capture import OPTICAL, Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros import parameters
from molmo_ros.ros.answering import Refused, Request, Status
from molmo_ros.ros.conversions import color_message, depth_message
from molmo_ros.ros.messages import stamp_message
from molmo_ros.ros.node_settings import read_settings
from molmo_ros.ros.standing import StandingBook
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.transforms import NoTransform, Tf2Transforms, TopicTransforms, TransformTree
from molmo_ros.ros.watching import Watching
from molmo_ros.viewing import robot

from .conftest import Caller

CACHE_S = 30.0


def ns(seconds):
    return round(seconds * 1e9)


def at(x):
    return Transform(translation=Vector3(x=float(x)), rotation=Quaternion(w=1.0))


class SimulatedNode(FedNode):
    """A node whose time is that of a /clock."""

    def __init__(self):
        super().__init__()
        self.clock = Clock(clock_type=ClockType.ROS_TIME)
        self.clock._set_ros_time_is_active(True)

    def get_clock(self):
        return self.clock

    def tell_time(self, seconds):
        self.clock.set_ros_time_override(
            Time(nanoseconds=ns(seconds), clock_type=ClockType.ROS_TIME)
        )


@pytest.fixture
def settings():
    defaults = {p.name: p.default for p in parameters.POINT_QUERY}
    return read_settings(defaults | {'max_frame_age': 0.0, 'frame_wait': 0.0})


class Robot:
    """A node's streams and transforms, fed by hand. x of 'base' in 'map' is the stamp's seconds."""

    def __init__(self, node, settings):
        self.node, self.settings, self.said = node, settings, []
        self.tree = TransformTree(CACHE_S, self.said.append)
        self.streams = CameraStreams(node, settings.streams, self.tree)

    def stand(self, *seconds):
        for second in seconds:
            self.tree.add('map', 'base', ns(second), at(second), static=False)

    def see(self, second, stream='image'):
        header = Header(stamp=stamp_message(ns(second)), frame_id='eye_optical')
        messages = {
            'image': color_message(np.zeros((6, 8, 3), np.uint8), header),
            'depth': depth_message(np.ones((6, 8), np.float32), '16UC1', header),
        }
        self.node.feed(stream, messages[stream])

    def where(self, second):
        return self.tree.look_up('map', 'base', ns(second))[0, 3]

    def seen(self):
        return self.streams.capture(self.settings.frames).frame.stamp * 1e-9


@pytest.fixture
def simulated(settings):
    """Time has come to 740 s and jumped back to 22 s."""
    node = SimulatedNode()
    simulated = Robot(node, settings)
    node.tell_time(740)
    simulated.stand(739.9, 740.1)
    simulated.see(740)
    node.tell_time(22)
    return simulated


@pytest.mark.parametrize(
    'heard', [(740.05, 21.9, 22.1), (21.9, 740.05, 22.1), (21.9, 22.1, 740.05)], ids=str
)
def test_a_transform_of_before_the_jump_does_not_shut_out_those_of_after(simulated, heard):
    """Every question was NO_TRANSFORM until time had come to 740 s again."""
    simulated.stand(*heard)
    assert simulated.where(22) == pytest.approx(22)


def test_nothing_is_made_up_between_before_and_after_a_short_jump(settings):
    """A loop of some seconds: both are kept, and a pose between them would be of no time at all."""
    node = SimulatedNode()
    looping = Robot(node, settings)
    node.tell_time(31)
    node.tell_time(22)
    looping.stand(21.9, 22.0, 30.9)
    with pytest.raises(NoTransform, match=r'newest sample on /tf is 0\.040 s before'):
        looping.where(22.04)


def test_poses_published_somewhat_ahead_of_time_are_used_after_a_jump(simulated):
    simulated.stand(22.5, 23.4)
    assert simulated.where(23) == pytest.approx(23)


def test_a_frame_of_which_only_such_samples_come_says_so_in_the_answer(simulated):
    simulated.stand(61, 62, 63)
    with pytest.raises(NoTransform, match=r'jumped back but a sample .* whose clock is wrong'):
        simulated.where(22)


def test_a_camera_of_which_only_such_images_come_says_so_in_the_answer(simulated):
    """A clock that is wrong was told in the answer, and no more once time had jumped;
    diagnostics said that nothing had arrived."""
    simulated.see(26, 'depth')
    simulated.see(26)
    with pytest.raises(Refused, match=r'no image has arrived .* not used: .* whose clock is wrong'):
        simulated.seen()
    assert 'what comes is not used' in simulated.streams.hint('depth')  # which diagnostics tell
    simulated.see(22, 'depth')
    simulated.see(22)
    assert simulated.streams.hint('image') == simulated.streams.hint('depth') == ''
    simulated.see(26)
    simulated.node.tell_time(21)
    with pytest.raises(Refused, match=r'jumped back$'):
        simulated.seen()


def stamped(second):
    pose = TransformStamped(child_frame_id='base', transform=at(second))
    pose.header.frame_id, pose.header.stamp = 'map', stamp_message(ns(second))
    return pose


def test_whose_clock_is_ahead_is_told_once_and_a_jump_heard_late_is_not():
    """Positions by it would be of another time, without a word."""
    node, said = SimulatedNode(), []
    node.get_logger = lambda: SimpleNamespace(warning=said.append)
    TopicTransforms(node, CACHE_S)

    def hear(times, second):
        for _ in range(times):
            node.callbacks['/tf'](TFMessage(transforms=[stamped(second)]))

    hear(200, 40)  # there is no time yet
    node.tell_time(3)
    hear(20, 40)  # it has skipped, which is about to be told
    hear(1, 3)
    hear(40, 40)
    assert said == []
    hear(100, 43.25)
    hear(1, 3)  # as where /clock is told seldom, and catches up each time
    hear(100, 46)
    (line,) = said
    assert "'base'" in line and '40.250 s ahead' in line and 'use_sim_time' in line


def test_what_is_left_over_from_before_several_jumps_is_known(simulated):
    simulated.node.tell_time(5)
    simulated.stand(740.05, 4.9, 5.1)
    assert simulated.where(5) == pytest.approx(5)


def test_who_stamps_by_another_clock_altogether_is_heard_after_a_jump_as_before(simulated):
    """A real camera and arm beside a simulator, with max_frame_age 0: stamps of today."""
    simulated.stand(1_700_000_000.0, 1_700_000_000.1)
    simulated.see(1_700_000_000.05)
    assert simulated.where(simulated.seen()) == pytest.approx(1_700_000_000.05)


def test_images_that_tell_the_time_wrong_do_no_lasting_harm(monkeypatch, settings):
    """A recording played so fast that /tf is always far ahead of the last image."""
    fast = Robot(FedNode(), settings)
    for second in (140, 60):
        fast.see(second)
    later = time.monotonic() + 11
    monkeypatch.setattr(time, 'monotonic', lambda: later)
    fast.stand(89.9, 90.1)
    assert fast.where(90) == pytest.approx(90)


@pytest.mark.parametrize('stream', ['image', 'depth'])
def test_without_a_clock_the_images_tell_what_is_of_before(settings, stream):
    looping = Robot(FedNode(), settings)
    looping.see(140, stream)
    looping.stand(140)
    looping.see(60, stream)
    looping.stand(140.1, 59.9, 60.1)
    assert looping.where(60) == pytest.approx(60)


def test_a_jump_that_nobody_notices_is_followed_and_nothing_of_after_it_is_lost():
    """Without images and without /clock, as where requests bring their pictures along."""
    said = []
    tree = TransformTree(CACHE_S, said.append)
    for second in (500.0, 500.1, 300.0, *np.arange(100, 101.5, 0.1)):
        tree.add('map', 'base', ns(second), at(second), static=False)
    assert tree.look_up('map', 'base', ns(100.05))[0, 3] == pytest.approx(100.05)
    (line,) = said
    assert "'base'" in line and 'earlier time' in line


@pytest.mark.parametrize('behind', [lambda tick: 0, lambda tick: 100 + tick / 50], ids=['0', 'on'])
def test_a_second_publisher_that_is_far_behind_does_not_take_over(behind):
    tree = TransformTree(CACHE_S)
    for tick in range(100):
        tree.add('map', 'base', ns(behind(tick)), at(-1), static=False)
        if tick % 5 == 0:
            tree.add('map', 'base', ns(500 + tick / 50), at(1), static=False)
    assert tree.look_up('map', 'base', ns(501))[0, 3] == 1


def test_a_second_publisher_that_is_behind_and_quick_does_not_take_over():
    """It comes fifty times between two of the other, whose transforms would be lost."""
    tree = TransformTree(1.5)
    for tick in range(600):
        tree.add('map', 'base', ns(90 + tick / 100), at(-1), static=False)
        if tick % 50 == 0:
            tree.add('map', 'base', ns(94 + tick / 100), at(1), static=False)
    assert tree.look_up('map', 'base', ns(99))[0, 3] == 1


@pytest.mark.parametrize('stream', ['image', 'depth'])
def test_an_image_of_before_the_jump_is_not_asked_about_and_forgets_nothing(simulated, stream):
    """It would pass for the newest, and the next one for another jump."""
    with pytest.raises(Refused, match='since time jumped back'):
        simulated.seen()
    simulated.see(22, 'depth')
    simulated.see(22)
    simulated.stand(21.9, 22.1)
    simulated.see(740.02, stream)
    simulated.see(22.1)
    assert simulated.seen() == pytest.approx(22)  # the newest with depth
    assert simulated.where(22) == pytest.approx(22)


def test_an_image_of_after_that_comes_before_the_jump_is_noticed_does_no_harm(settings):
    node = SimulatedNode()
    early = Robot(node, settings)
    node.tell_time(740)
    early.see(740)
    early.see(22)
    early.stand(21.95)
    node.tell_time(22)
    early.see(22.1)
    early.stand(22.05, 22.15)
    assert early.seen() == pytest.approx(22.1) and early.where(22.1) == pytest.approx(22.1)


class RefusingBuffer:
    """tf2's buffer: it refuses what is older than it keeps."""

    def __init__(self, cache_time):
        self.stamps, self.fixed = [], 0

    def set_transform(self, transform, authority):
        stamp = Time.from_msg(transform.header.stamp).nanoseconds
        if stamp >= max(self.stamps, default=0) - ns(CACHE_S):
            self.stamps.append(stamp)

    def set_transform_static(self, transform, authority):
        self.fixed += 1

    def clear(self):
        self.stamps = []


def test_tf2_is_not_given_what_is_of_before_the_jump(monkeypatch, settings):
    made = SimpleNamespace()

    def listen(buffer, node, spin_thread):
        made.listener = buffer

    def make(cache_time):
        made.buffer = RefusingBuffer(cache_time)
        return made.buffer

    module = SimpleNamespace(Buffer=make, TransformListener=listen, TransformException=RuntimeError)
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    node = SimulatedNode()
    node.get_logger = lambda: None
    transforms = Tf2Transforms(node, CACHE_S)
    streams = CameraStreams(node, settings.streams, transforms)

    def hear(*seconds):
        for second in seconds:
            made.listener.set_transform(stamped(second), 'somebody')

    made.listener.set_transform_static(TransformStamped(), 'somebody')
    node.tell_time(740)
    hear(739.9)
    node.tell_time(22)
    hear(740.05, 21.9, 22.1)
    assert made.buffer.stamps == [ns(21.9), ns(22.1)] and made.buffer.fixed == 1
    streams.close()


class PromptEngine:
    """Points at the same pixel of whatever picture, at once."""

    waiting, assumed = 0, ()

    def require_ready(self):
        pass

    def submit(self, image, question, should_stop):
        answered = Future()
        answered.set_result(Answer('', (ImagePoint(20.0, 15.0, 'it'),), None, False, 1, {}))
        return answered


def test_a_standing_question_is_asked_anew_after_the_jump_whatever_its_period(settings):
    """Its points are forgotten; it would be told as answered, with none, for a whole period."""
    node, told = FedNode(), []
    streams = CameraStreams(node, settings.streams, TransformTree(CACHE_S))
    book = StandingBook(1)
    book.set('it', Request('it'), 3600.0, 3600.0)
    noise = np.random.default_rng(4).integers(0, 255, (40, 60, 3), np.uint8)
    watching = Watching(
        book,
        PromptEngine(),
        streams,
        lambda request, frame: OPTICAL,
        lambda: settings,
        lambda sightings: told.extend(sightings),
        pytest.fail,
    )

    def told_since(second):
        """What is told of images from then on, until there are points in one."""
        del told[:]
        stamps = itertools.count(ns(second), ns(0.05))

        def seen():
            header = Header(stamp=stamp_message(next(stamps)), frame_id='eye_optical')
            node.feed('image', color_message(noise, header))
            time.sleep(0.02)
            return any(
                one.points and ns(second) <= one.last.stamp < ns(second + 300) for one in told
            )

        Caller.wait_for(seen)
        return [one for one in told if one.capture and one.capture.frame.stamp >= ns(second)]

    told_since(800)
    first, *_ = (one for one in told_since(70) if one.capture.frame.stamp < ns(800))
    assert first.last.status is Status.NOT_READY and not first.points
    assert watching.close(10)


def test_the_view_shown_is_not_of_before_the_jump_where_stamps_come_round(monkeypatch, settings):
    """A simulator that is reset: points of now would be drawn on a picture of the last run."""
    shown = SimpleNamespace(stamp=0, grey=0)

    def capture(frames):
        color = np.full((6, 8, 3), shown.grey, np.uint8)
        return Capture(Frame(color, None, None, shown.stamp, 'eye_optical'))

    about = SimpleNamespace(
        status=Status.NO_POINTS, message='', answer='', stamp_ns=ns(11.21), points=(), count=-1,
        waypoints=SimpleNamespace(poses=()), assumed=(), presence=0.1, stage_times={},
    )  # fmt: skip
    answered = SimpleNamespace(done=lambda: True, result=lambda: about)
    client = SimpleNamespace(wait_until_ready=lambda _: True, start=lambda *_, **__: answered)
    heard = SimpleNamespace(
        streams=SimpleNamespace(capture=capture, topic=lambda stream: f'/{stream}'),
        transforms=TransformTree(CACHE_S),
        settings=settings,
    )
    monkeypatch.setattr(robot, 'listening', lambda *_: nullcontext(heard))
    monkeypatch.setattr(robot, 'PointQueryClient', lambda *_: nullcontext(client))
    feed = robot.RobotFeed()
    for grey, second in ((10, 11.0), (10, 11.2), (10, 11.4), (90, 8.0), (90, 11.1), (90, 11.3)):
        shown.grey, shown.stamp = grey, ns(second)
        feed.take(0.0, '')
    view = feed.ask(Question('it'), '', lambda: False).view
    assert view.capture.frame.color.max() == 90
    feed.close()
