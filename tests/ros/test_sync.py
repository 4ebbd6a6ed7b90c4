# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages make a frame: the newest that belong together, and no stale ones."""

import threading
import time

import pytest
from std_msgs.msg import Header

from molmo_ros.ros.deadline import Deadline
from molmo_ros.ros.messages import stamp_message
from molmo_ros.ros.sync import CAMERA_INFO, DEPTH, IMAGE, FrameStore, NoFrame, stamp_ns

T0 = 1_700_000_000_000_000_000


class Message:
    def __init__(self, seconds, size=0):
        self.data = bytes(size)
        self.header = Header(stamp=stamp_message(T0 + round(seconds * 1e9)))


def store_of(**streams):
    store = FrameStore()
    for name, stamps in streams.items():
        for seconds in stamps:
            store.add(name, Message(seconds))
    return store


def newest(store, *, now=0.5, slop=0.02, max_age=1.0, expected=(), wait=0.0):
    return store.newest(
        lambda: T0 + round(now * 1e9), slop=slop, max_age=max_age, expected=expected, wait=wait
    )


def seconds(message):
    return (stamp_ns(message) - T0) * 1e-9


def test_the_newest_image_whose_depth_has_come_is_taken():
    store = store_of(image=[0.0, 0.1, 0.2], depth=[0.0, 0.105], camera_info=[0.0, 0.1, 0.2])
    match = newest(store)
    assert seconds(match.image) == pytest.approx(0.1)
    assert seconds(match.depth) == pytest.approx(0.105)
    assert seconds(match.camera_info[0]) == pytest.approx(0.1)


def test_streams_in_any_order_give_the_same_frame():
    store = store_of(camera_info=[0.2, 0.1], depth=[0.1, 0.2], image=[0.2, 0.1])
    assert seconds(newest(store).image) == pytest.approx(0.2)


def test_depth_of_another_time_is_left_out_and_its_offset_told():
    match = newest(store_of(image=[0.1], depth=[0.4], camera_info=[0.1]))
    assert match.depth is None and '+0.300 s' in match.missing[DEPTH]
    assert match.camera_info and CAMERA_INFO not in match.missing
    wider = newest(store_of(image=[0.1], depth=[0.4], camera_info=[0.1]), slop=0.5)
    assert seconds(wider.depth) == pytest.approx(0.4)


def test_without_an_image_there_is_no_frame():
    with pytest.raises(NoFrame, match='no image has arrived'):
        newest(store_of(depth=[0.0], camera_info=[0.0]))


def test_an_image_may_be_as_old_as_is_said_and_no_older():
    store = store_of(image=[0.0])
    assert newest(store, now=0.9).image
    with pytest.raises(NoFrame, match=r'2\.000 s old'):
        newest(store, now=2.0)
    assert newest(store, now=2000.0, max_age=0).image


def test_an_image_of_the_future_speaks_of_the_clocks():
    with pytest.raises(NoFrame, match='use_sim_time'):
        newest(store_of(image=[100.0]), now=0.0)


def test_time_that_starts_again_forgets_what_was():
    store = store_of(image=[100.0], depth=[100.0], camera_info=[100.0])
    store.add(IMAGE, Message(0.0))
    match = newest(store, now=0.1)
    assert seconds(match.image) == 0 and match.depth is None


def test_a_late_message_forgets_nothing():
    store = store_of(image=[0.5], depth=[0.5], camera_info=[0.5, 0.2])
    assert not {DEPTH, CAMERA_INFO} & set(newest(store).missing)


def test_depth_that_comes_late_finds_its_image_however_many_came_since():
    """As over a network: 90 images a second, depth two thirds of a second behind them."""
    store = FrameStore(keep=1.5)
    for number in range(100):
        store.add(IMAGE, Message(number / 90))
        if number >= 60:
            store.add(DEPTH, Message((number - 60) / 90))
    match = newest(store, now=1.1)
    assert seconds(match.depth) == pytest.approx(39 / 90)
    assert seconds(match.image) == pytest.approx(seconds(match.depth), abs=0.02)


def test_what_is_too_old_to_be_asked_about_is_dropped():
    store = FrameStore(keep=0.25)
    for number in range(5):
        store.add(IMAGE, Message(number * 0.1))
    store.add(DEPTH, Message(0.1))
    assert newest(store).depth is None
    assert store.state(IMAGE).received == 5


def test_large_images_do_not_fill_the_memory():
    """The newest stays, even if it alone is more than there is room for."""
    store = FrameStore(keep=60, memory=3500)
    for number in range(6):
        store.add(IMAGE, Message(number * 0.1, size=1000))
    for stamp, found in ((0.3, True), (0.2, False)):
        store.add(DEPTH, Message(stamp))
        assert (newest(store, max_age=60).depth is not None) is found
        store.clear()
        for number in range(6):
            store.add(IMAGE, Message(number * 0.1, size=1000))
    store.add(IMAGE, Message(0.6, size=10_000))
    assert seconds(newest(store).image) == pytest.approx(0.6)


def test_of_images_without_stamps_the_last_is_kept():
    store = FrameStore(memory=1000)
    for size in (10, 20, 30):
        store.add(IMAGE, Message(0.0, size))
    assert len(newest(store).image.data) == 30


def test_a_longer_max_frame_age_keeps_more_from_then_on():
    store = FrameStore(keep=0.1)
    store.add(IMAGE, Message(0.0))
    newest(store, max_age=3.0)
    for number in range(1, 5):
        store.add(IMAGE, Message(number * 0.5))
    store.add(DEPTH, Message(0.5))
    match = newest(store, now=2.1, max_age=3.0)
    assert seconds(match.image) == pytest.approx(0.5)


def test_whoever_asks_too_early_waits_for_a_whole_frame():
    store = store_of(image=[0.0])

    def bring_the_rest():
        time.sleep(0.1)
        store.add(DEPTH, Message(0.0))
        store.add(CAMERA_INFO, Message(0.0))

    bringing = threading.Thread(target=bring_the_rest)
    bringing.start()
    match = newest(store, expected=[IMAGE, DEPTH, CAMERA_INFO], wait=20)
    assert match.depth is not None and match.camera_info
    bringing.join()


def test_nobody_waits_for_streams_that_do_not_exist():
    begun = time.monotonic()
    assert newest(store_of(image=[0.0]), expected=[IMAGE], wait=20).depth is None
    assert time.monotonic() - begun < 10


def test_what_never_completes_does_with_what_there_is():
    match = newest(store_of(image=[0.0]), expected=[IMAGE, DEPTH], wait=0.05)
    assert match.depth is None and 'no depth has arrived' in match.missing[DEPTH]


def test_a_calibration_of_any_time_is_one_and_the_likeliest_comes_first():
    match = newest(
        store_of(image=[5.0], depth=[5.0], camera_info=[4.9, 5.018, 5.3, 5.004]), now=5.1
    )
    assert CAMERA_INFO not in match.missing
    assert [round(seconds(m), 3) for m in match.camera_info] == [5.004, 5.018, 5.3, 4.9]


def test_nobody_waits_for_a_calibration_when_there_is_one():
    """A camera that publishes it once, or stamps it with 0: every answer would be late."""
    store = store_of(image=[7.0], depth=[7.0], camera_info=[-T0 * 1e-9])
    begun = time.monotonic()
    match = newest(store, now=7.1, expected=[IMAGE, DEPTH, CAMERA_INFO], wait=30)
    assert time.monotonic() - begun < 10 and stamp_ns(match.camera_info[0]) == 0


def test_the_newest_image_is_taken_though_its_calibration_is_still_to_come():
    match = newest(store_of(image=[0.1, 0.2], depth=[0.1, 0.2], camera_info=[0.1]), now=0.3)
    assert seconds(match.image) == pytest.approx(0.2)


def test_a_calibration_that_came_once_outlives_a_jump_of_time():
    """A driver publishes it at its start, and a recording does not publish it again."""
    store = store_of(camera_info=[100.0], image=[101.0], depth=[101.0])
    store.add(IMAGE, Message(3.0))
    match = newest(store, now=3.1)
    assert seconds(match.image) == pytest.approx(3.0) and match.depth is None
    assert seconds(match.camera_info[0]) == pytest.approx(100)
    store.clear()
    with pytest.raises(NoFrame, match='no image'):
        newest(store)


def test_calibrations_of_many_times_are_no_jump_of_time():
    store = store_of(image=[50.0], depth=[50.0], camera_info=[50.0, -T0 * 1e-9, 50.1, 0.0])
    assert newest(store, now=50.2).depth is not None


def test_nobody_waits_on_who_has_been_told_to_stop():
    begun = time.monotonic()
    store_of(image=[0.0]).newest(
        lambda: T0,
        slop=0.02,
        max_age=1.0,
        expected=[DEPTH],
        wait=30,
        deadline=Deadline(should_stop=lambda: True),
    )
    assert time.monotonic() - begun < 10


def test_a_stream_that_came_back_has_the_rate_that_it_has_now(monkeypatch):
    """By a rate that counts the pause, a camera that stops again is told of minutes later."""
    clock = [50.0]
    monkeypatch.setattr('molmo_ros.ros.sync.time.monotonic', lambda: clock[0])
    store = FrameStore()
    for pause in (0.0, 90.0):
        clock[0] += pause
        for number in range(4):
            clock[0] += 0.25
            store.add(IMAGE, Message(clock[0]))
            if number:
                assert store.state(IMAGE).rate == pytest.approx(4.0)
    slow = FrameStore()
    for _ in range(5):
        clock[0] += 6.0
        slow.add(IMAGE, Message(clock[0]))
    assert slow.state(IMAGE).rate == pytest.approx(1 / 6)
