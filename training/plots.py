# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The logs of a run as pictures: what was right, and the loss, over the minutes it took."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use('Agg')
from matplotlib import pyplot

_SMOOTH = 5  # rows


def plot(run: Path, picture: Path) -> None:
    """Draw the `log.csv` of a stage's folder: the loss, and each share of right answers."""
    values = read_log(run)
    minutes = values.pop('seconds') / 60
    steps = values.pop('step')
    losses = {name: values.pop(name) for name in ('loss', 'language') if name in values}
    shares = {
        name: value
        for name, value in values.items()
        if name.startswith('unseen_') and 'off' not in name and 'language' not in name
    }
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout='constrained')
    for label, value in losses.items():
        left.plot(minutes, _smooth(value), label=label)
    for name, value in shares.items():
        right.plot(minutes, 100 * _smooth(value), label=name.removeprefix('unseen_'))
    left.set(title=f'{run.name}: {int(steps[-1])} steps', xlabel='minutes', ylabel='loss')
    right.set(title='right, of unseen scenes (%)', xlabel='minutes', ylim=(0, 100))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small')
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def read_log(run: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a stage's log."""
    with (run / 'log.csv').open() as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the last few that are numbers."""
    windows = [values[max(0, i - _SMOOTH + 1) : i + 1] for i in range(len(values))]
    return np.array([np.nanmean(w) if np.isfinite(w).any() else np.nan for w in windows])


def main() -> None:
    parser = argparse.ArgumentParser(description='Draw the logs of training stages.')
    parser.add_argument('runs', type=Path, nargs='+', help='folders with a log.csv')
    parser.add_argument('--out', type=Path, default=Path('.'), help='folder for the pictures')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for run in arguments.runs:
        plot(run, arguments.out / f'training_{run.name}.png')


if __name__ == '__main__':
    main()
