# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long robots wait that share one model: a simulation of arrival times, no measurement.

    python -m benchmarks.shared_server [--answer 1.0] [--encode 0.6] [--hours 2]

Each robot asks about a new picture, waits for the answer, and asks again after a pause whose length
is exponential. `one by one` looks at one picture after the other, as a node with a checkpoint does.
`server` encodes one picture after the other, which is what fills the device, and writes all
answers at the same time, as vLLM does.
"""

from __future__ import annotations

import argparse
import heapq

import numpy as np


def waits(
    robots: int, every: float, encode: float, write: float, together: bool, seconds: float
) -> list[float]:
    """How long each answer took. every: mean seconds from an answer to the robot's next question;
    encode, write: seconds of device time. together: answers are written at the same time."""
    random = np.random.default_rng(robots)
    asks = [(float(random.exponential(every)), robot) for robot in range(robots)]
    heapq.heapify(asks)
    free, took = 0.0, []
    while asks[0][0] < seconds:
        asked, robot = heapq.heappop(asks)
        begun = max(asked, free)
        done = begun + encode + write
        free = begun + encode if together else done
        took.append(done - asked)
        heapq.heappush(asks, (done + float(random.exponential(every)), robot))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--answer', type=float, default=1.0, help='seconds of one alone')
    parser.add_argument('--encode', type=float, default=0.6, help='share of it until a token')
    parser.add_argument('--hours', type=float, default=2.0)
    arguments = parser.parse_args()
    encode = arguments.answer * arguments.encode
    print('| robots | a question every | one by one: half, 95 of 100 | server: half, 95 of 100 |')
    print('|---|---|---|---|')
    for every in (10.0, 3.0, 1.0):
        for robots in (1, 2, 5, 10):
            cells = []
            for together in (False, True):
                took = waits(
                    robots,
                    every,
                    encode,
                    arguments.answer - encode,
                    together,
                    arguments.hours * 3600,
                )
                half, most = np.percentile(took, [50, 95])
                cells.append(f'{half:.1f} s, {most:.1f} s')
            print(f'| {robots} | {every:g} s | {" | ".join(cells)} |')


if __name__ == '__main__':
    main()
