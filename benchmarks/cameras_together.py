# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What it saves to answer about several cameras' pictures in common passes.

    python -m benchmarks.cameras_together [--model demo] [--repeats 5]

Each camera shows a table of its own and is asked one question: in turn, beside each other as the
engine does it by default, and at once, where a new picture waits for no passes. passes are those of
the decoder. Times are those of `benchmarks.engine`, medians in milliseconds: until the first camera
has its answer, and until all have.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.engine import FIRST_SEED, SHAPES, clock_of, load
from molmo_ros.engine import Answer, AskedImage, Question, QueuedQuestion
from molmo_ros.engine.decoding import Decoder
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.point_decoding import PointDecoder
from molmo_ros.model.loading import LoadedMolmo
from molmo_ros.pointing import Mode
from molmo_ros.tabletop.world import make_scene, render, truth_of

SIZE = (640, 480)
Asked = tuple[NDArray[np.uint8], Question]
WAYS = ('in turn', 'by default', 'at once')


class Bench:
    """A loaded model, asked about several pictures."""

    def __init__(self, loaded: LoadedMolmo) -> None:
        self._loaded, self._clock = loaded, clock_of(loaded.model)
        self._seed = 0

    def run(self, cameras: int, known: bool, mode: Mode) -> dict[str, tuple[float, float, int]]:
        """Seconds until the first is told and until all are, and passes; by the way it is asked."""
        asked = [self._asked(mode) for _ in range(cameras)]
        told = {}
        for way in WAYS:
            engine = LocalEngine(self._loaded, patience=0 if way == 'at once' else None)
            if known:
                for image, _ in asked:
                    engine.answer(image, Question('something else', max_points=1))
            told[way] = measured(engine, asked, way != 'in turn', self._clock)
        return told

    def _asked(self, mode: Mode) -> Asked:
        self._seed += 1
        scene = make_scene(FIRST_SEED + self._seed)
        rendering = render(scene, *SIZE)
        thing = max(truth_of(scene, rendering), key=lambda truth: truth.visible_pixels)
        points = 1 if mode is Mode.POINT else 0
        words = f'{thing.colour} {thing.kind}' if mode is Mode.POINT else 'object'
        return rendering.color.copy(), Question(words, mode, points)


def measured(
    engine: LocalEngine, asked: Sequence[Asked], together: bool, clock: Callable[[], float]
) -> tuple[float, float, int]:
    """Seconds until the first is told and until all are, and passes.

    together: whether the others wait beside the first, and are not asked when it is told.
    """
    ends: list[float] = []

    def tell(outcome: Answer | Exception) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        ends.append(clock())

    waiting = [AskedImage(image, [QueuedQuestion(one, tell)]) for image, one in asked]

    def more() -> AskedImage | None:
        return waiting.pop(0) if waiting and together else None

    begin = clock()
    with counting() as passes:
        while waiting:
            engine.answer_frames(waiting.pop(0), more)
    return ends[0] - begin, ends[-1] - begin, len(passes)


@contextmanager
def counting() -> Iterator[list[int]]:
    """Notes about how many images the lines of each pass of a decoder are."""
    passes: list[int] = []

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(decoder: Decoder, *arguments: Any) -> Any:
            passes.append(len({line.frame for line in arguments[-1]}))
            return method(decoder, *arguments)

        return noted

    names = [(kind, name) for kind in (Decoder, PointDecoder) for name in ('read', 'read_image')]
    plain = [(kind, name, getattr(kind, name)) for kind, name in names]
    for kind, name, method in plain:
        setattr(kind, name, noting(method))
    try:
        yield passes
    finally:
        for kind, name, method in plain:
            setattr(kind, name, method)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='demo', help=f'demo, {", ".join(SHAPES)}, or a folder')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--dtype', default='auto')
    parser.add_argument('--repeats', type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(load(arguments.model, arguments.device, arguments.dtype, 'none'))
    bench.run(1, False, Mode.POINT)  # whatever is done once
    cases = [
        (cameras, known, mode)
        for mode in (Mode.POINT, Mode.COUNT)
        for known in (True, False)
        for cameras in (2, 4)
    ]
    told = defaultdict(list)
    for _ in range(arguments.repeats):
        for case in cases:
            told[case].append(bench.run(*case))
    columns = [f'{what}, {way}' for what in ('passes', 'first', 'all') for way in WAYS]
    print(f'| asked | pictures | cameras | {" | ".join(columns)} | all at once / in turn |')
    print('|---' * (len(columns) + 4) + '|')
    for (cameras, known, mode), runs in told.items():
        medians = [
            statistics.median(run[way][index] for run in runs) * (1 if index == 2 else 1e3)
            for index in (2, 0, 1)
            for way in WAYS
        ]
        ratio = statistics.median(run['at once'][1] / run['in turn'][1] for run in runs)
        cells = ' | '.join(f'{value:.0f}' for value in medians)
        pictures = 'known' if known else 'new'
        print(f'| {mode.name.lower()} | {pictures} | {cameras} | {cells} | {ratio:.2f} |')


if __name__ == '__main__':
    main()
