# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the demo checkpoint's card, from `molmo-ros eval` on rendered tables.

    python -m benchmarks.card FOLDER [--checkpoint models/tabletop] [--at-once 2]

Each evaluation is left in FOLDER as JSON and not made again where it is there; the first with its
report. All of them take a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RICH = 'rich'
EASY = 'easy'
OTHERS: dict[str, Sequence[str]] = {
    'as rendered': (),
    **{
        change: ('--photometric', change)
        for change in ('noise', 'blur', 'white-balance', 'exposure', 'all')
    },
    'the second renderer': ('--renderer', 'bullet'),
    **{size: ('--view', size) for size in ('1280x720', '320x240', '480x640', '1000x400')},
}
TOPICS = ('one', 'part', 'all', 'count', 'relation', 'extreme', 'space', 'absent')
Figures = Mapping[str, Any]


def evaluations(folder: Path) -> dict[str, Sequence[str]]:
    """By name, what `molmo-ros eval tabletop` is told besides the checkpoint."""
    report = str(folder / 'report.html')
    return {
        RICH: ('--seeds', '5000:6000', '--report', report),
        EASY: ('--seeds', '5000:5200', '--table', 'easy'),
        **{name: ('--seeds', '5000:5100', *options) for name, options in OTHERS.items()},
    }


def evaluate(name: str, options: Sequence[str], checkpoint: str, folder: Path) -> None:
    path = folder / f'{name}.json'
    if path.exists():
        return
    program = [str(Path(sys.executable).parent / 'molmo-ros'), 'eval', 'tabletop', '--json']
    run = subprocess.run(
        [*program, '--checkpoint', checkpoint, *options],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE,
        check=True,
    )
    path.write_bytes(run.stdout)


def share(rate: Figures) -> str:
    low, high = (100 * bound for bound in rate['interval_95'])
    return f'{rate["right"]} | {rate["n"]} | {100 * rate["rate"]:.1f} % ({low:.1f} to {high:.1f})'


def show(folder: Path) -> None:
    figures = {path.stem: json.loads(path.read_text()) for path in folder.glob('*.json')}
    rich, easy = figures[RICH], figures[EASY]
    print('| asked for | right | of | share (95 % interval) |\n|---|---|---|---|')
    for topic in TOPICS:
        print(f'| {topic} | {share(rich["topics"][topic])} |')
    print(f'| how many, up to 6 | {share(rich["counts"]["up_to_6"])} |')
    for topic, rate in easy['topics'].items():
        print(f'| {topic}, easy table | {share(rate)} |')
    every = rich['topics']['all']
    print(', '.join(f'{name} {every[name]:.3f}' for name in ('f1', 'precision', 'recall')))
    print(f'right: {rich["questions"] - len(rich["wrong"])} of {rich["questions"]}')
    print(f'within one: {100 * rich["counts"]["within_one"]:.1f} %')
    for fact, groups in rich['by'].items():
        best_first = sorted(groups.items(), key=lambda group: -group[1]['rate'])
        told = ', '.join(f'{value} {rate["right"]}/{rate["n"]}' for value, rate in best_first)
        print(f'{fact}: {told}')
    print({**rich['position_of_hits'], 'calibration error': rich['calibration']['error']})
    print(f'\n| | {" | ".join(TOPICS)} |\n|---|{"---|" * len(TOPICS)}')
    for name in OTHERS:
        rates = (figures[name]['topics'][topic]['rate'] for topic in TOPICS)
        print(f'| {name} | {" | ".join(f"{100 * rate:.0f}" for rate in rates)} |')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path)
    parser.add_argument('--checkpoint', default='models/tabletop')
    parser.add_argument('--at-once', type=int, default=2, help='evaluations, one core each')
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(arguments.at_once) as pool:
        made = [
            pool.submit(evaluate, name, options, arguments.checkpoint, arguments.folder)
            for name, options in evaluations(arguments.folder).items()
        ]
        for one in made:
            one.result()
    show(arguments.folder)


if __name__ == '__main__':
    main()
