# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pictures that the demo checkpoint is tested with wherever it is loaded.

    python -m training.self_test [--checkpoint models/tabletop] [--seeds 9100:9112]

Of plain tables of those seeds the two are written to `self_test/` in the checkpoint's folder whose
things, those that are alone in kind and colour, lie widest apart: with three questions each, and
the places that the renderer knows.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from molmo_ros.cameras.files import write_color
from molmo_ros.tabletop.samples.table_views import TableView, view_of
from molmo_ros.tabletop.world import Truth

SIZE = (480, 360)
_QUESTIONS = 3


def alone(view: TableView) -> list[Truth]:
    """The things that a kind and a colour name, seen nearly whole."""
    counts = Counter((truth.kind, truth.colour) for truth in view.truths)
    return [
        truth
        for truth in view.truths
        if counts[truth.kind, truth.colour] == 1 and truth.visible_fraction > 0.9
    ]


def spread(view: TableView) -> float:
    """How far its things lie apart, in the direction in which that is less: pixels."""
    targets = np.array([truth.target for truth in alone(view)])
    return float(targets.std(axis=0).min()) if len(targets) >= _QUESTIONS else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--checkpoint', type=Path, default=Path('models/tabletop'))
    parser.add_argument('--seeds', default='9100:9112')
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split(':'))
    folder = arguments.checkpoint / 'self_test'
    folder.mkdir(exist_ok=True)
    views = {seed: view_of(seed, size=SIZE) for seed in range(first, last)}
    cases = []
    for seed in sorted(views, key=lambda seed: spread(views[seed]))[-2:]:
        name = f'table_{seed}.jpg'
        write_color(folder / name, views[seed].picture.color)
        for truth in alone(views[seed])[:_QUESTIONS]:
            # The renderer counts from the middle of the first pixel.
            u, v = (round(float(place) + 0.5, 1) for place in truth.target)
            query = f'the {truth.colour} {truth.kind}'
            cases.append({'image': name, 'query': query, 'points': [[u, v]]})
    lines = ',\n'.join(f'  {json.dumps(case)}' for case in cases)
    (folder / 'cases.json').write_text(f'[\n{lines}\n]\n')


if __name__ == '__main__':
    main()
