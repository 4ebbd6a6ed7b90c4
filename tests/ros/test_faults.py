# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera does wrong is told in the answer and on /diagnostics, and passes when it is mended.

docs/reliability.md lists the other faults, and the tests of each.
"""

import os
import signal
import subprocess
import sys
import time
from textwrap import dedent

import numpy as np
import pytest
from std_msgs.msg import Header

from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.ros.conversions import color_message

from .conftest import OPTICAL, Caller

SECOND = 1_000_000_000
ARGUMENTS = ['-r', '__ns:=/faults', '-p', 'diagnostics_period:=0.1', '-p', 'frame_wait:=0.2']
QUESTIONS = 'faults/molmo_point_query: questions'


@pytest.fixture(scope='module')
def faulty(node, wall_camera):
    """A client of a node, and its camera, which publishes when it is told to."""
    camera = wall_camera('faults', ['image'])
    with node(*ARGUMENTS), PointQueryClient('faults') as client:
        assert client.wait_until_ready(120)
        yield client, camera
    camera.close()


def ask(client, camera, offset_s=0.0):
    """Ask about a frame that is stamped so many seconds from now."""
    now = camera.node.get_clock().now().nanoseconds
    camera.publish(now + int(offset_s * SECOND))
    time.sleep(0.02)
    return client.ask('at 80 60')


def wait_until_well(client, camera, listener):
    Caller.wait_for(lambda: ask(client, camera).status is Status.SUCCESS)
    for _ in range(24):
        ask(client, camera)
    listener.wait_for(QUESTIONS, lambda status, _: status.level == status.OK)


def _picture(**fields):
    def spoil(image):
        for name, value in fields.items():
            setattr(image, name, value)

    return spoil


@pytest.mark.parametrize(
    ('spoil', 'offset_s', 'says'),
    [
        pytest.param(_picture(), 40.0, 'in the future', id='from the future'),
        pytest.param(_picture(), -40.0, 'old', id='late'),
        pytest.param(_picture(encoding='plaid7'), 0.0, "'plaid7'", id='unknown encoding'),
        pytest.param(_picture(encoding='rgb16'), 0.0, 'step is', id='lying encoding'),
        pytest.param(_picture(height=50_000), 0.0, 'truncated', id='lying size'),
        pytest.param(_picture(width=0), 0.0, 'no pixels', id='no pixels'),
    ],
)
def test_a_fault_of_the_camera_is_told_and_passes(faulty, frame, listening, spoil, offset_s, says):
    client, camera = faulty
    camera.messages['image'] = color_message(frame.color, Header(frame_id=OPTICAL))
    with listening() as listener:
        spoil(camera.messages['image'])
        Caller.wait_for(lambda: says in ask(client, camera, offset_s).message)
        for _ in range(20):
            answered = ask(client, camera, offset_s)
            assert answered.status is Status.NO_FRAME and says in answered.message
        listener.wait_for(
            QUESTIONS,
            lambda status, _: status.level == status.ERROR and 'NO_FRAME' in status.message,
        )
        camera.messages['image'] = color_message(frame.color, Header(frame_id=OPTICAL))
        wait_until_well(client, camera, listener)


def test_images_may_change_their_size_and_come_out_of_order(faulty, frame):
    client, camera = faulty
    answered = []

    def seen():
        """What was published last, for what is still on its way would come out of order, too."""
        now = camera.node.get_clock().now().nanoseconds
        camera.publish(now)
        time.sleep(0.02)
        answered.append(client.ask('at 80 60'))
        return answered[-1].stamp_ns == now

    for width in (40, 160, 90):
        small = np.ascontiguousarray(frame.color[:70, :width])
        camera.messages['image'] = color_message(small, Header(frame_id=OPTICAL))
        Caller.wait_for(seen)
        newest = answered[-1].stamp_ns
        camera.publish(newest - SECOND // 10)
        time.sleep(0.05)
        assert client.ask('at 8 6').stamp_ns == newest


def test_a_client_that_is_killed_while_it_waits_leaves_room_for_others(faulty):
    client, camera = faulty
    script = dedent("""
        import numpy as np
        from molmo_ros.grounding.frame import Frame
        from molmo_ros.ros.client import PointQueryClient
        client = PointQueryClient('faults').__enter__()
        client.wait_until_ready(60)
        client.start('slow 1.5', frame=Frame(np.zeros((60, 80, 3), np.uint8), None, None, 0, ''),
                     timeout=60, on_feedback=lambda stage, _: print(stage, flush=True))
        input()
    """)
    with subprocess.Popen(
        [sys.executable, '-c', script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as doomed:
        Caller.wait_for(lambda: doomed.stdout.readline().strip() == 'engine')
        doomed.send_signal(signal.SIGKILL)
    Caller.wait_for(lambda: ask(client, camera).status is Status.SUCCESS)
