# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which kinds and colours that training never shows together a checkpoint finds.

    python -m benchmarks.pairs [--checkpoint models/tabletop] [--scenes 50] [--first-seed 7000]

On rich tables where everything is one of those pairs, every thing that is the only one of its kind
is asked for by its kind, by both names, and by its colour where it alone has that. A table for
each pair: how many the first point lay on, and for how many it was said that there is none.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

os.environ.setdefault('OMP_NUM_THREADS', '1')

from molmo_ros.engine import Answer, Engine, Question, load_engine
from molmo_ros.evaluation.metrics import lies_in
from molmo_ros.pointing import Mode
from molmo_ros.tabletop.samples.table_views import view_of
from molmo_ros.tabletop.world import HELD_OUT, RICH, TableSpec, Truth

WAYS = ('kind', 'both', 'colour')
FORMS = {'kind': 'the {kind}', 'both': 'the {colour} {kind}', 'colour': 'the {colour} object'}


@dataclass(frozen=True)
class PairQuestion:
    """A thing that was asked for in one of WAYS, and what came of it."""

    thing: Truth
    way: str
    answer: Answer

    @property
    def none(self) -> bool:
        return not self.answer.points

    @property
    def hit(self) -> bool:
        return not self.none and lies_in(self.answer.points[0], self.thing.mask)


def only_held_out() -> TableSpec:
    """Rich tables of nothing but what training never shows."""
    kinds = tuple(sorted({kind for kind, _ in HELD_OUT}))
    others = frozenset((kind, colour) for kind in kinds for colour in RICH.colours) - HELD_OUT
    return replace(RICH, kinds=kinds, never=others)


def ask(engine: Engine, seed: int) -> Iterator[PairQuestion]:
    view = view_of(seed, only_held_out())
    kinds, colours = (Counter(getattr(t, name) for t in view.truths) for name in ('kind', 'colour'))
    asked = [
        (thing, way)
        for thing in view.truths
        for way in WAYS
        if kinds[thing.kind] == 1 and (way != 'colour' or colours[thing.colour] == 1)
    ]
    questions = [
        Question(FORMS[way].format(kind=thing.kind, colour=thing.colour), Mode.POINT)
        for thing, way in asked
    ]
    answers = engine.answer_many(view.picture.color, questions) if questions else ()
    for (thing, way), answer in zip(asked, answers, strict=True):
        yield PairQuestion(thing, way, answer)


def row(name: str, results: list[PairQuestion]) -> str:
    cells = []
    for way in WAYS:
        of_way = [result for result in results if result.way == way]
        hits, none = (sum(getattr(r, what) for r in of_way) for what in ('hit', 'none'))
        cells += [f'{hits}/{len(of_way)}', str(none)]
    return f'| {name} | {" | ".join(cells)} |'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--checkpoint', default='models/tabletop')
    parser.add_argument('--scenes', type=int, default=50)
    parser.add_argument('--first-seed', type=int, default=7000)
    arguments = parser.parse_args()
    engine = load_engine(arguments.checkpoint)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.scenes)
    results = [result for seed in seeds for result in ask(engine, seed)]
    print('| | by kind | none | by both | none | by colour | none |')
    print('|---|---|---|---|---|---|---|')
    for kind, colour in sorted(HELD_OUT):
        print(row(f'{colour} {kind}', [r for r in results if r.thing.kind == kind]))
    print(row('all', results))


if __name__ == '__main__':
    main()
