# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demo checkpoint takes beside programs that are busy, by how torch's threads wait.

    python -m benchmarks.busy_threads [--busy 1] [--rounds 3] [--repeats 15]

Each way of waiting is an environment of a process of its own; the ways are tried in turn, alone
and beside `--busy` processes that never pause. Times are by the clock, medians in milliseconds of
all rounds; other programs of the machine are in every figure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

WAYS = {
    'as it is': {},
    'OMP_WAIT_POLICY=PASSIVE': {'OMP_WAIT_POLICY': 'PASSIVE'},
    'GOMP_SPINCOUNT=10000': {'GOMP_SPINCOUNT': '10000'},
    'OMP_NUM_THREADS=1': {'OMP_NUM_THREADS': '1'},
}
CASES = ('new picture', 'known picture')
WARMING = 3  # pictures that do not count
FIRST_SEED = 5000  # of tables that the demo checkpoint was not trained on


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    options.add_argument('--busy', type=int, default=1, help='programs that never pause')
    options.add_argument('--rounds', type=int, default=3)
    options.add_argument('--repeats', type=int, default=15, help='questions of a kind in each')
    options.add_argument('--measure', action='store_true', help=argparse.SUPPRESS)
    return options


def main() -> None:
    options = parser().parse_args()
    if options.measure:
        print(json.dumps(measured(options.repeats)))
        return
    times: dict[str, dict[str, list[float]]] = {way: defaultdict(list) for way in WAYS}
    for number in range(options.rounds):
        print(f'round {number + 1} of {options.rounds}', file=sys.stderr)
        for way, environment in WAYS.items():
            for beside in (0, options.busy):
                with busy(beside):
                    for case, seconds in run(environment, options.repeats).items():
                        times[way][f'{case}, {"beside" if beside else "alone"}'] += seconds
    columns = [f'{case}, {where}' for case in CASES for where in ('alone', 'beside')]
    print(f'| | {" | ".join(columns)} |\n{"|---" * (len(columns) + 1)}|')
    for way, cells in times.items():
        told = ' | '.join(f'{1e3 * statistics.median(cells[column]):.0f}' for column in columns)
        print(f'| {way} | {told} |')


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that never pause."""
    running = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def run(environment: dict[str, str], repeats: int) -> dict[str, list[float]]:
    """Seconds of each question, by its kind, of a process in that environment."""
    command = [sys.executable, '-m', 'benchmarks.busy_threads', '--measure']
    process = subprocess.run(
        [*command, '--repeats', str(repeats)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(process.stdout))


def measured(repeats: int) -> dict[str, list[float]]:
    """The same, of this process."""
    from molmo_ros.engine import Question, load_engine
    from molmo_ros.share import share_folder
    from molmo_ros.tabletop.world import make_scene, render, truth_of

    engine = load_engine(share_folder() / 'models/tabletop')
    times: dict[str, list[float]] = {case: [] for case in CASES}
    for number in range(-WARMING, repeats):
        scene = make_scene(FIRST_SEED + WARMING + number)
        rendering = render(scene)
        things = sorted(truth_of(scene, rendering), key=lambda truth: -truth.visible_pixels)
        for case, thing in zip(CASES, things, strict=False):
            question = Question(f'the {thing.colour} {thing.kind}')
            begun = time.perf_counter()
            engine.answer(rendering.color, question)
            if number >= 0:
                times[case].append(time.perf_counter() - begun)
    engine.close()
    return times


if __name__ == '__main__':
    main()
