# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who is let in while others are asking, and what the others' pictures may take."""

import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Duration
from molmo_ros.srv import PointQuery

from molmo_ros.grounding.frame import Frame
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.room import NoRoom, Room

PLENTY = 10**9


def enter(stack, room, door='service', size=0, most=PLENTY):
    stack.enter_context(room.place(door, size, most))


def test_who_comes_too_late_is_told_how_many_wait():
    room = Room(max_waiting=2)
    with ExitStack() as stack:
        for _ in range(3):
            enter(stack, room)
        with pytest.raises(NoRoom, match=r'running and 2 more wait already \(max_waiting\)'):
            enter(stack, room)
    with ExitStack() as stack:
        enter(stack, room)


def test_a_full_door_does_not_keep_the_other_one_outside():
    room = Room(max_waiting=1)
    with ExitStack() as stack:
        enter(stack, room, 'service')
        enter(stack, room, 'service')
        enter(stack, room, 'action')
        for door in ('service', 'action'):
            with pytest.raises(NoRoom, match='2 more wait'):
                enter(stack, room, door)


def test_pictures_take_no_more_than_they_may_and_are_counted_until_the_end():
    room = Room(max_waiting=5)
    with ExitStack() as stack:
        enter(stack, room, size=600, most=1000)
        enter(stack, room, size=0, most=1000)
        with pytest.raises(NoRoom, match='request_memory'):
            enter(stack, room, size=401, most=1000)
        enter(stack, room, size=400, most=1000)
        assert room.size == 1000
    assert room.size == 0


@pytest.fixture(scope='module')
def full(node):
    """A client of a node that may hold 8 MiB of pictures, and the node's process."""
    arguments = ('-r', '__ns:=/full', '-p', 'max_waiting:=1', '-p', 'request_memory:=8')
    with node(*arguments) as process, PointQueryClient('full') as client:
        assert client.wait_until_ready(120)
        yield client, process


@pytest.fixture
def large():
    """A picture of 6.2 MB."""
    color = np.random.default_rng(8).integers(0, 256, (1080, 1920, 3), np.uint8)
    return Frame(color, None, None, 1, 'eye_optical')


def running(client, **kwargs):
    begun = threading.Event()
    asked = client.start(
        'slow 30', on_feedback=lambda stage, _: begun.set() if stage == 'engine' else None, **kwargs
    )
    assert begun.wait(60)
    return asked


def test_more_pictures_than_there_is_memory_for_are_refused_in_a_sentence(full, large):
    client, _ = full
    wide = Frame(np.tile(large.color, (1, 2, 1)), None, None, 1, 'eye_optical')
    answered = client.ask('at 3 4', frame=wide)
    assert answered.status is Status.INVALID_REQUEST and '12.4 MB' in answered.message
    asked = running(client, frame=large)
    answered = client.ask('at 3 4', frame=large)
    assert answered.status is Status.BUSY and 'request_memory' in answered.message
    asked.cancel()
    assert asked.result(60).status is Status.CANCELED
    assert client.ask('at 3 4', frame=large).status is Status.SUCCESS


def test_whoever_asks_by_the_action_is_heard_while_services_fill_the_room(
    full, caller, request_about, frame
):
    client, _ = full
    service = caller.node.create_client(PointQuery, '/full/point_query')
    assert service.wait_for_service(30)

    def send(query):
        request = request_about(query)
        request.timeout = Duration(sec=60)
        return service.call_async(request)

    # Whichever of them comes last finds the room full.
    services = [send('slow 1.5') for _ in range(3)]
    caller.wait_for(lambda: any(future.done() for future in services))
    (refused,) = (future.result().status for future in services if future.done())
    assert refused == Status.BUSY
    assert client.start('at 3 4', frame=frame).result(60).status is Status.SUCCESS
    caller.wait_for(lambda: all(future.done() for future in services))
    told = sorted(future.result().status for future in services)
    assert told == [Status.NO_POINTS, Status.NO_POINTS, Status.BUSY]


def test_goals_that_ended_keep_no_pictures(full, large):
    """They are kept for a while, for who comes late for the result."""
    client, process = full
    pages = Path(f'/proc/{process.pid}/statm')
    asked = running(client, frame=large)

    def memory():
        return int(pages.read_text().split()[1]) * 4096

    for _ in range(5):
        client.start('at 3 4', frame=large).result(60)
    before = memory()
    ended = [client.start('at 3 4', frame=large).result(60).status for _ in range(40)]
    assert set(ended) == {Status.BUSY}
    assert memory() - before < 20 * large.color.nbytes
    asked.cancel()
    assert asked.result(60).status is Status.CANCELED
