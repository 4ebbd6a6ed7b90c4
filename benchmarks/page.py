# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long after the engine's answer a browser shows it, while a 640x480 cloud comes at 10 Hz.

    python benchmarks/page.py
    python benchmarks/page.py --cloud-points 307200 --questions 20

The browser is one that reads what it is sent and draws nothing. Beside the time that passes, in
which a busy machine does other things, stands the processor time of one view and of one answer:
what the page itself adds to an answer is at most the sum of the two.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from molmo_ros.engine import Answer, Engine, OneByOne, Question
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.pointing import ImagePoint, Mode
from molmo_ros.spatial import CameraModel
from molmo_ros.viewing.asking import answered
from molmo_ros.viewing.page import Page, PageSettings, served
from molmo_ros.viewing.views import View

WIDTH, HEIGHT, FOCAL = 640, 480, 600.0


@dataclass
class WavyFeed:
    """A surface that moves: every depth and every colour is another in every view."""

    lasts: float = inf
    counts: bool = False
    frame: str = ''
    taken: int = 0

    def __post_init__(self) -> None:
        K = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
        self._camera = CameraModel(WIDTH, HEIGHT, K)
        self._across = np.linspace(0, 12, WIDTH, dtype=np.float32)
        self._noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)

    def take(self, at: float, frame: str) -> View:
        self.taken += 1
        wave = 1.0 + 0.05 * np.sin(self._across + self.taken)
        depth = np.broadcast_to(wave.astype(np.float32), (HEIGHT, WIDTH)).copy()
        color = np.roll(self._noise, self.taken, 1)
        return View(Capture(Frame(color, depth, self._camera, self.taken, 'optical')))

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class TimedEngine:
    """Points at ten places, and notes when it did. answered: seconds of the system's clock."""

    answered: list[float] = field(default_factory=list)

    def answer(
        self, image: NDArray[np.uint8], question: Question, should_stop: Callable[[], bool]
    ) -> Answer:
        points = tuple(ImagePoint(60.0 * n + 40, 240.0, 'wave') for n in range(10))
        self.answered.append(time.time())
        return Answer(f'answer {len(self.answered)}', points, None, False)

    def close(self) -> None:
        """Nothing is held."""


def main() -> None:
    """Ask, and print the milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cloud-points', type=int, default=80_000)
    parser.add_argument('--questions', type=int, default=20)
    arguments = parser.parse_args()
    feed, engine = WavyFeed(), TimedEngine()
    settings = PageSettings(port=0, cloud_points=arguments.cloud_points)

    def load(told: Callable[[str, float], None]) -> Engine:
        return OneByOne(engine)

    with served({'waves': lambda: feed}, load, settings) as (page, address):
        reader = _Reader(address)
        begun, before = time.monotonic(), feed.taken
        for number in range(1, arguments.questions + 1):
            while f'answer {number}' not in reader.seen:
                if len(engine.answered) < number:  # it is refused while the last is measured
                    page.session.ask('wave', Mode.POINT)
                time.sleep(0.02)
            time.sleep(0.2)
        rate = (feed.taken - before) / (time.monotonic() - begun)
        costs = _processor_ms(page, feed, engine)
    late = [1000 * (reader.seen[f'answer {n}'] - at) for n, at in enumerate(engine.answered, 1)]
    print(
        f'{arguments.cloud_points} points at most, {rate:.1f} views a second: {len(late)} answers '
        f'shown {np.median(late):.0f} ms (median), {max(late):.0f} ms (most) after the engine; '
        f'processor: {costs[0]:.0f} ms a view, {costs[1]:.0f} ms an answer'
    )


def _processor_ms(page: Page, feed: WavyFeed, engine: TimedEngine) -> tuple[float, float]:
    """Of a view and of an answer, each the median of ten, in this thread."""
    costs: tuple[list[float], list[float]] = ([], [])
    page.session.close()
    pointer = OneByOne(engine)
    for number in range(1000, 1010):
        view = feed.take(0.0, '')
        begun = time.thread_time()
        page.on_view(view)
        drawn = time.thread_time()
        shown = answered(pointer, Question('wave'), view, lambda shown: None, lambda: False)
        page.on_answer(shown, number, [number])
        costs[0].append(1000 * (drawn - begun))
        costs[1].append(1000 * (time.thread_time() - drawn))
        engine.answered.pop()
    return float(np.median(costs[0])), float(np.median(costs[1]))


class _Reader:
    """seen: when each answer was first there, by the system's clock."""

    def __init__(self, address: str) -> None:
        self.seen: dict[str, float] = {}
        threading.Thread(target=self._read, args=[address], daemon=True).start()

    def _read(self, address: str) -> None:
        import viser
        import zstandard
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.client import connect

        protocols: Any = [f'viser-v{viser.__version__}']
        with suppress(ConnectionClosed):
            for data in connect(
                address.replace('http', 'ws'), subprotocols=protocols, max_size=None
            ):
                assert isinstance(data, bytes)
                size, packed = (int.from_bytes(data[i : i + 8], 'little') for i in (0, 8))
                inner = zstandard.decompress(data[16 : 16 + packed], max_output_size=size)
                for found in re.findall(rb'answer [0-9]+', inner):
                    self.seen.setdefault(found.decode(), time.time())


if __name__ == '__main__':
    main()
