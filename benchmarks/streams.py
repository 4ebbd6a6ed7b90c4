# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera's topics cost the node, beside subscriptions that do nothing, in the same run.

    nice -n 5 python -m benchmarks.streams --width 640 --height 480 --seconds 20

A camera publishes color, depth and camera_info at 30 Hz. Bare subscriptions hear them at the same
time as the node: raw ones on a single-threaded executor, and typed ones on a single-threaded and on
a multi-threaded one. Prints the processor time of each process for an image with its depth and
camera_info, and the node's as a ratio to the raw ones'. Then questions are asked about the newest
frame, of an engine that takes no time: what one takes the node, and by stages.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import rclpy.signals
from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from molmo_ros.engine import Answer
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.client import Answered, PointQueryClient
from molmo_ros.ros.conversions import camera_info_message, color_message, depth_message
from molmo_ros.ros.messages import stamp_message
from molmo_ros.ros.point_query_node import PointQueryNode, make_executor
from molmo_ros.ros.spinning import run_node
from molmo_ros.spatial import CameraModel

RATE = 30.0
KINDS = {'image': Image, 'depth': Image, 'camera_info': CameraInfo}
WARM_UP_S = 3.0
HEARERS = ('raw', 'single', 'multi')


class Instant:
    """An engine that points at the middle at once."""

    def answer(self, image: Any, question: Any, should_stop: Any) -> Answer:
        height, width = image.shape[:2]
        return Answer('', (ImagePoint(width / 2, height / 2, 'it'),), None, False, 1, {})

    def close(self) -> None:
        """See Engine."""


class Timed(PointQueryNode):
    """Says at its end how long it took from a request to its response, and how much it keeps."""

    def __init__(self) -> None:
        self.took: list[float] = []
        super().__init__(lambda on_progress: Instant())
        service = next(s for s in self.services if s.srv_name.endswith('point_query'))
        answer = service.callback

        def timed(*arguments: Any) -> Any:
            begun = time.monotonic()
            response = answer(*arguments)
            self.took.append(time.monotonic() - begun)
            return response

        service.callback = timed

    def close(self, timeout: float = 5.0, leaving: bool = False) -> bool:
        """See PointQueryNode."""
        heard = sum(self._streams.state(stream).received for stream in KINDS)
        print(f'{heard} messages', flush=True)
        if self.took:
            ms = 1000 * np.percentile(self.took, (50, 95))
            print(f'request to response, p50 and p95: {ms[0]:.2f} {ms[1]:.2f} ms', flush=True)
        return super().close(timeout, leaving)


class Hearing(Node):
    """Hears the camera and counts."""

    def __init__(self, raw: bool) -> None:
        super().__init__('hearing')
        self.heard = 0
        for topic, kind in KINDS.items():
            self.create_subscription(kind, topic, self._hear, qos_profile_sensor_data, raw=raw)

    def _hear(self, message: Any) -> None:
        self.heard += 1

    def close(self) -> bool:
        """Say how many messages came."""
        print(f'{self.heard} messages', flush=True)
        return True


def _executor_of(what: str, node: Node) -> Executor:
    """One for bare subscriptions."""
    if what == 'multi':
        return MultiThreadedExecutor(num_threads=4, context=node.context)
    return SingleThreadedExecutor(context=node.context)


def publish(width: int, height: int) -> int:
    """A camera, until its input ends."""
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    node = Node('camera')
    rng = np.random.default_rng(0)
    header = Header(frame_id='camera_optical_frame')
    K = np.array([[width * 0.8, 0, width / 2], [0, width * 0.8, height / 2], [0, 0, 1.0]])
    color = rng.integers(0, 255, (height, width, 3), np.uint8)
    depth = np.full((height, width), 1.2, np.float32)
    messages: dict[str, Any] = {
        'image': color_message(color, header),
        'depth': depth_message(depth, '16UC1', header),
        'camera_info': camera_info_message(CameraModel(width, height, K), header),
    }
    publishers = {
        name: node.create_publisher(kind, name, qos_profile_sensor_data)
        for name, kind in KINDS.items()
    }
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    due = time.monotonic()
    while not ended.wait(max(due - time.monotonic(), 0)):
        due += 1 / RATE
        stamp = stamp_message(time.time_ns())
        for name, publisher in publishers.items():
            messages[name].header.stamp = stamp
            publisher.publish(messages[name])
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def run_part(what: str) -> int:
    """The node, or bare subscriptions, until interrupted."""
    if what == 'node':
        return run_node(Timed, make_executor, Timed.close)
    return run_node(
        lambda: Hearing(what == 'raw'), lambda node: _executor_of(what, node), Hearing.close
    )


@contextmanager
def _running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, '-m', 'benchmarks.streams', *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()  # the end of the camera
            process.terminate()
            process.wait(20)


def _cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _rss_mb(pid: int) -> float:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def measure(width: int, height: int, seconds: float, questions: int) -> None:
    """Print what it costs."""
    with ExitStack() as stack:
        stack.enter_context(_running('--part', 'camera', f'--width={width}', f'--height={height}'))
        parts = {name: stack.enter_context(_running('--part', name)) for name in ('node', *HEARERS)}
        client = stack.enter_context(PointQueryClient())
        if not client.wait_until_ready(60):
            raise SystemExit('the node did not come up')
        time.sleep(WARM_UP_S)
        before = {name: _cpu_s(part.pid) for name, part in parts.items()}
        time.sleep(seconds)
        used = {name: _cpu_s(part.pid) - before[name] for name, part in parts.items()}
        print(f'{width}x{height} at {RATE:g} Hz, {seconds:g} s; one frame is three messages')
        for name, cpu in used.items():
            each = 1000 * cpu / (seconds * RATE)
            print(
                f'  {name:7}{each:7.2f} ms a frame, {100 * cpu / seconds:5.1f} % of a core, '
                f'{cpu / used["raw"]:5.2f} times raw'
            )
        before_asking = _cpu_s(parts['node'].pid)
        begun = time.monotonic()
        answers = [client.ask('it', timeout=10) for _ in range(questions)]
        spent = time.monotonic() - begun
        idle = used['node'] / seconds * spent
        cpu = _cpu_s(parts['node'].pid) - before_asking - idle
        print(f'{questions} questions: {1000 * cpu / questions:.2f} ms of a core each')
        _print_stages(answers)
        print(f'memory of the node: {_rss_mb(parts["node"].pid):.0f} MB', flush=True)


def _print_stages(answers: list[Answered]) -> None:
    stages: dict[str, list[float]] = {}
    for answer in answers:
        for stage, took in answer.stage_times.items():
            stages.setdefault(stage, []).append(1000 * took)
    told = '  '.join(f'{name} {np.median(took):.2f}' for name, took in stages.items())
    print(f'stages, p50 in ms: {told}')
    print(f'ended: {dict(Counter(answer.status.name for answer in answers))}')


def main() -> int:
    """Measure, or be one of the processes of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--width', type=int, default=640)
    parser.add_argument('--height', type=int, default=480)
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--questions', type=int, default=100)
    parser.add_argument('--part', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == 'camera':
        return publish(arguments.width, arguments.height)
    if arguments.part:
        return run_part(arguments.part)
    measure(arguments.width, arguments.height, arguments.seconds, arguments.questions)
    return 0


if __name__ == '__main__':
    sys.exit(main())
