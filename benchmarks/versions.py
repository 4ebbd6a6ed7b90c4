# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether answers have become faster: `benchmarks.engine` of two checkouts, in turn.

    git worktree add ../before 6ee5cea
    python -m benchmarks.versions ../before . [--model demo] [--rounds 3] [--repeats 5]

Both run with this interpreter and on one core, each in a process of its own. Times are of the
processor, medians of the rounds in milliseconds; in brackets the least. What counts is the ratio:
machines differ, and other programs are in every figure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

COLUMNS = 10  # of the table of cases, the last of which is the time


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    options.add_argument('before', type=Path, help='a checkout')
    options.add_argument('after', type=Path, nargs='?', default=Path(), help='another')
    options.add_argument('--model', default='demo', help='see benchmarks.engine')
    options.add_argument('--rounds', type=int, default=3)
    options.add_argument('--repeats', type=int, default=5, help='of each case, in each round')
    options.add_argument('--width', type=int, default=640)
    options.add_argument('--height', type=int, default=480)
    return options


def main() -> None:
    options = parser().parse_args()
    arguments = [
        word
        for name in ('model', 'repeats', 'width', 'height')
        for word in (f'--{name}', str(getattr(options, name)))
    ]
    folders = (options.before.resolve(), options.after.resolve())
    times: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for number in range(options.rounds):
        print(f'round {number + 1} of {options.rounds}', file=sys.stderr)
        for index, folder in enumerate(folders):
            for case, milliseconds in cases(run(folder, arguments)):
                times[case][index].append(milliseconds)
    print('| case | before | after | ratio |\n|---|---|---|---|')
    for case, (before, after) in times.items():
        if before and after:
            ratio = statistics.median(after) / statistics.median(before)
            print(f'| {case} | {_told(before)} | {_told(after)} | {ratio:.2f} |')


def run(folder: Path, arguments: list[str]) -> str:
    """What a checkout's benchmark prints."""
    one = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1')
    environment = os.environ | one | {'PYTHONPATH': str(folder)}
    command = [sys.executable, '-m', 'benchmarks.engine', *arguments]
    process = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE)
    if process.returncode:
        raise SystemExit(f'benchmarks.engine failed in {folder}, see above')
    return process.stdout.decode()


def cases(page: str) -> Iterator[tuple[str, float]]:
    """The names and times of a page's table of cases."""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split('|')[1:-1]]
        if len(cells) == COLUMNS and cells[-1].isdigit():
            yield cells[0], float(cells[-1])


def _told(times: list[float]) -> str:
    return f'{statistics.median(times):.0f} ({min(times):.0f})'


if __name__ == '__main__':
    main()
