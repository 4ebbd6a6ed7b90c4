# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint learns a kind it has never seen from rendered pictures. Does it keep the others?

    python -m benchmarks.finetuning --kind can

Renders pictures with one thing of the new kind among known ones, writes them as the folder that
`molmo-ros finetune` reads, learns, and asks before and after about scenes of other seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import torch

from molmo_ros.camera.tabletop import (
    EASY,
    Rendering,
    TableSpec,
    Truth,
    make_scene,
    render,
    truth_of,
)
from molmo_ros.engine import Engine, Question, load_engine
from molmo_ros.evaluation.metrics import Rate, lies_in
from molmo_ros.finetuning.settings import Settings
from molmo_ros.finetuning.training import Progress, finetune

SIZE = (640, 480)
FIRST_TRAINING_SEED = 600_000
FIRST_HELD_OUT_SEED = 700_000


@dataclass(frozen=True)
class Table:
    """A scene's picture, what is on it, and the index of the thing of the new kind."""

    picture: Rendering
    truths: tuple[Truth, ...]
    new: int


def tables(spec: TableSpec, kind: str, first_seed: int) -> Iterator[Table]:
    """Scenes of `spec` with exactly one thing of `kind` beside others."""
    more = replace(spec, kinds=tuple(dict.fromkeys((*spec.kinds, kind))))
    seed = first_seed
    while True:
        scene = make_scene(seed, more)
        seed += 1
        places = [i for i, item in enumerate(scene.objects) if item.kind == kind]
        if len(places) == 1:
            picture = render(scene, *SIZE, smooth=True)
            yield Table(picture, truth_of(scene, picture), places[0])


def write_folder(folder: Path, scenes: Sequence[Table]) -> None:
    """As a user would: the thing's name, and its colour with it; where to point, in pixels."""
    (folder / 'images').mkdir(parents=True)
    lines = []
    for number, table in enumerate(scenes):
        name = f'{number:03d}.png'
        color = cv2.cvtColor(table.picture.color, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / 'images' / name), color)
        new = table.truths[table.new]
        u, v = (pixel + 0.5 for pixel in new.target)
        for label in (new.kind, f'{new.colour} {new.kind}'):
            lines.append(json.dumps({'image': name, 'label': label, 'points': [[u, v]]}))
    (folder / 'points.jsonl').write_text('\n'.join(lines) + '\n')


@dataclass(frozen=True)
class Score:
    """Hits on the new kind, and on everything else, asked for by colour and kind."""

    new: Rate
    new_by_kind: Rate
    old: Rate


def score(engine: Engine, scenes: Sequence[Table]) -> Score:
    new, by_kind, old = [], [], []
    for table in scenes:
        names = [(truth.colour, truth.kind) for truth in table.truths]
        for index, (truth, name) in enumerate(zip(table.truths, names, strict=True)):
            if names.count(name) > 1:
                continue
            hit = hits(engine, table, truth, ' '.join(name))
            (new if index == table.new else old).append(hit)
        truth = table.truths[table.new]
        by_kind.append(hits(engine, table, truth, truth.kind))
    return Score(*(Rate(sum(each), len(each)) for each in (new, by_kind, old)))


def hits(engine: Engine, table: Table, truth: Truth, name: str) -> bool:
    points = engine.answer(table.picture.color, Question(f'the {name}')).points
    return bool(points) and lies_in(points[0], truth.mask)


def known_labels(spec: TableSpec, kind: str) -> tuple[str, ...]:
    kinds = [each for each in spec.kinds if each != kind]
    return (*kinds, *(f'{colour} {each}' for colour in spec.colours for each in kinds))


def show(name: str, result: Score) -> None:
    parts = []
    for what, rate in vars(result).items():
        low, high = rate.interval
        parts.append(f'{what} {rate.hits}/{rate.n} = {rate.value:.1%} ({low:.0%} to {high:.0%})')
    print(f'{name:8}{"   ".join(parts)}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--kind', default='can', help='a key of shapes.KINDS')
    parser.add_argument('--checkpoint', default='models/tabletop')
    parser.add_argument('--pictures', type=int, default=50)
    parser.add_argument('--scenes', type=int, default=100, help='held out, to ask about')
    parser.add_argument('--out', type=Path, help='keep pictures and adapter here')
    defaults = Settings()
    parser.add_argument('--steps', type=int, default=defaults.steps)
    parser.add_argument('--rank', type=int, default=defaults.rank)
    parser.add_argument('--rehearsal', type=float, default=defaults.rehearsal)
    parser.add_argument('--learning-rate', type=float, default=defaults.learning_rate)
    parser.add_argument('--targets', nargs='+', default=defaults.targets)
    parser.add_argument('--no-mirror', action='store_true')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        settings = replace(
            defaults,
            steps=arguments.steps,
            rank=arguments.rank,
            rehearsal=arguments.rehearsal,
            learning_rate=arguments.learning_rate,
            targets=tuple(arguments.targets),
            mirror=not arguments.no_mirror,
            keep=known_labels(EASY, arguments.kind),
        )
        run(arguments, settings, out)


def run(arguments: argparse.Namespace, settings: Settings, out: Path) -> None:
    kind = arguments.kind
    held_out = take(tables(EASY, kind, FIRST_HELD_OUT_SEED), arguments.scenes)
    if not (out / 'pictures').exists():
        learnt = take(tables(EASY, kind, FIRST_TRAINING_SEED), arguments.pictures)
        write_folder(out / 'pictures', learnt)
    before = load_engine(arguments.checkpoint)
    show('before', score(before, held_out))
    before.close()
    begun = time.monotonic()

    def told(progress: Progress) -> None:
        if progress.stage == 'learning' and progress.step % 25 == 0:
            print(
                f'  step {progress.step}: loss {progress.loss:.3f}, '
                f'rehearsed {progress.kept_loss:.3f}, {time.monotonic() - begun:.0f} s',
                flush=True,
            )

    finetune(out / 'pictures', arguments.checkpoint, out / 'adapter', settings, on_progress=told)
    print(
        f'{kind}: {arguments.pictures} pictures, {settings.steps} steps, {torch.get_num_threads()}'
        f' threads, {time.monotonic() - begun:.0f} s'
    )
    after = load_engine(arguments.checkpoint, adapter=out / 'adapter')
    show('after', score(after, held_out))
    after.close()


def take(source: Iterator[Table], count: int) -> list[Table]:
    return [table for table, _ in zip(source, range(count), strict=False)]


if __name__ == '__main__':
    main()
