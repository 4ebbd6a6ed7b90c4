# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint learns a kind it has never seen from rendered pictures. Does it keep the others?

    python -m benchmarks.finetuning                       # a teapot, which the rich table lacks
    python -m benchmarks.finetuning --table easy --kind can

Renders pictures, most of them with a thing of the new kind among known ones, writes them as the
folder that `molmo-ros finetune` reads, learns, and asks before and after about scenes of other
seeds: for the new kind, and everything that `molmo-ros eval tabletop` asks about tables without it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import cv2
import torch
from rich.console import Console
from rich.table import Table

from molmo_ros.engine import load_engine
from molmo_ros.evaluation.evaluate import Evaluated, evaluate
from molmo_ros.evaluation.metrics import Rate
from molmo_ros.evaluation.samples import Image, Mask, Rule, Sample
from molmo_ros.finetuning.finetune_settings import FinetuneSettings
from molmo_ros.finetuning.training import Progress, finetune
from molmo_ros.pointing import Mode, from_centred, prompt_for
from molmo_ros.tabletop.questions import Topic
from molmo_ros.tabletop.samples.data_set import easy_samples, rich_samples
from molmo_ros.tabletop.samples.table_views import SIZE, TableView, view_of
from molmo_ros.tabletop.samples.tables import percent
from molmo_ros.tabletop.world import TABLES, TableSpec, make_scene, render, truth_of

FIRST_TRAINING_SEED = 600_000
FIRST_HELD_OUT_SEED = 700_000
OLD_SEED = 5_200
WITHOUT = 5  # every so many pictures to learn from have nothing of the kind
OLD, BESIDE = 'known before: ', 'known before, beside one'
BY_KIND, BY_COLOUR, ABSENT = 'new kind', 'new kind and its colour', 'new kind, not there'


def views(spec: TableSpec, kind: str, first_seed: int, *, without: int = 0) -> Iterator[TableView]:
    """Scenes of `spec` with things of `kind` among others; every `without`-th has none."""
    more = replace(spec, kinds=tuple(dict.fromkeys((*spec.kinds, kind))))
    found = 0
    for seed in range(first_seed, first_seed + 100_000):
        if without and found % without == without - 1:
            found += 1
            yield view_of(seed, replace(spec, kinds=tuple(k for k in spec.kinds if k != kind)))
            continue
        view = _view_with(kind, seed, more)
        if view is not None:
            found += 1
            yield view


def _view_with(kind: str, seed: int, spec: TableSpec) -> TableView | None:
    scene = make_scene(seed, spec)
    if all(item.kind != kind for item in scene.objects):
        return None
    picture = render(scene, *SIZE, smooth=True)
    return TableView(scene, picture, truth_of(scene, picture))


def take(source: Iterator[TableView], count: int) -> list[TableView]:
    return [view for view, _ in zip(source, range(count), strict=False)]


def write_folder(folder: Path, pictures: Sequence[TableView], kind: str) -> None:
    """As a user would: the kind, and with its colour; where to point, in pixels."""
    (folder / 'images').mkdir(parents=True)
    lines = []
    for number, view in enumerate(pictures):
        name = f'{number:03d}.png'
        cv2.imwrite(
            str(folder / 'images' / name), cv2.cvtColor(view.picture.color, cv2.COLOR_RGB2BGR)
        )
        labels: dict[str, list[list[float]]] = {kind: []}
        for truth in view.truths:
            if truth.kind == kind:
                u, v = (round(float(pixel), 1) for pixel in from_centred(*truth.target))
                for label in (kind, f'{truth.colour} {kind}'):
                    labels.setdefault(label, []).append([u, v])
        lines += [
            json.dumps({'image': name, 'label': label, 'points': points})
            for label, points in labels.items()
        ]
    (folder / 'points.jsonl').write_text('\n'.join(lines) + '\n')


def new_samples(scenes: Sequence[TableView], kind: str) -> Iterator[Sample]:
    """For the new kind where there is one of it, and for a known thing beside it."""
    for view in scenes:
        names = [(truth.colour, truth.kind) for truth in view.truths]
        kinds = [truth.kind for truth in view.truths]
        known = True
        for index, (colour, each) in enumerate(names):
            if each == kind and kinds.count(kind) == 1:
                yield _sample(view, index, f'the {kind}', BY_KIND)
            if names.count((colour, each)) > 1:
                continue
            if each == kind:
                yield _sample(view, index, f'the {colour} {kind}', BY_COLOUR)
            elif known:
                known = False
                yield _sample(view, index, f'the {colour} {each}', BESIDE)


def _sample(view: TableView, index: int, query: str, topic: str) -> Sample:
    return Sample(
        id=f'{view.scene.seed} {query}',
        image_id=str(view.scene.seed),
        image=partial(_color, view),
        query=query,
        mode=Mode.POINT,
        topic=topic,
        rule=Rule.FIRST,
        targets=(percent(view.truths[index].target, view),),
        count=1,
        masks=partial(_mask, view, index),
    )


def _color(view: TableView) -> Image:
    return view.picture.color


def _mask(view: TableView, index: int) -> tuple[Mask]:
    return (view.truths[index].mask,)


def old_samples(table: str, kind: str, scenes: int) -> Iterator[Sample]:
    """All that is asked about tables without the new kind, and whether it is there."""
    seeds = range(OLD_SEED, OLD_SEED + scenes)
    for sample in rich_samples(seeds) if table == 'rich' else easy_samples(seeds):
        yield replace(sample, topic=OLD + sample.topic)
        if sample.topic == Topic.ABSENT.value:
            yield replace(sample, id=f'{sample.id} new', query=f'the {kind}', topic=ABSENT)


def rates(results: Sequence[Evaluated]) -> dict[str, Rate]:
    topics = sorted({result.sample.topic for result in results})
    right = {
        topic: [r.judgement.verdict.right for r in results if r.sample.topic == topic]
        for topic in topics
    }
    return {topic: Rate(sum(each), len(each)) for topic, each in right.items()}


def known(table: str, kind: str) -> tuple[str, ...]:
    """What a user would rather not lose: questions that are asked about such tables."""
    spec = TABLES[table]
    kinds = [each for each in spec.kinds if each != kind]
    questions = [f'the {each}' for each in kinds]
    for shift in (0, 3):
        colours = islice(cycle(spec.colours), shift, None)
        questions += [f'the {colour} {each}' for colour, each in zip(colours, kinds, strict=False)]
    if table == 'rich':
        for sample in rich_samples(range(FIRST_TRAINING_SEED - 20, FIRST_TRAINING_SEED)):
            counted = sample.mode is Mode.COUNT
            questions.append(prompt_for(sample.query, sample.mode) if counted else sample.query)
    return tuple(questions)


def show(before: dict[str, Rate], after: dict[str, Rate]) -> None:
    table = Table('asked for', 'right before', 'right after')
    for topic in sorted(before, key=lambda topic: (topic.startswith(OLD), topic)):
        table.add_row(topic, _rate(before[topic]), _rate(after[topic]))
    Console(width=110).print(table)


def _rate(rate: Rate) -> str:
    low, high = rate.interval
    return f'{rate.hits:4} of {rate.n:4}: {rate.value:6.1%} ({low:.0%} to {high:.0%})'


def run(arguments: argparse.Namespace, settings: FinetuneSettings, out: Path) -> None:
    spec, kind = TABLES[arguments.table], arguments.kind
    scenes = take(views(spec, kind, FIRST_HELD_OUT_SEED), arguments.scenes)

    def asked(adapter: Path | None) -> dict[str, Rate]:
        engine = load_engine(arguments.checkpoint, adapter=adapter)
        samples = (*new_samples(scenes, kind), *old_samples(arguments.table, kind, arguments.old))
        found = rates(list(evaluate(engine, samples)))
        engine.close()
        return found

    if not (out / 'pictures').exists():
        learnt = views(spec, kind, FIRST_TRAINING_SEED, without=WITHOUT)
        write_folder(out / 'pictures', take(learnt, arguments.pictures), kind)
    before = asked(None)
    begun, work = time.monotonic(), time.process_time()
    finetune(out / 'pictures', arguments.checkpoint, out / 'adapter', settings, on_progress=_told)
    print(
        f'{kind}: {arguments.pictures} pictures, {settings.steps} steps, '
        f'{time.monotonic() - begun:.0f} s ({time.process_time() - work:.0f} s of processor time, '
        f'{torch.get_num_threads()} threads)'
    )
    show(before, asked(out / 'adapter'))


def _told(progress: Progress) -> None:
    if progress.stage == 'learning' and progress.step % 25 == 0:
        print(
            f'  step {progress.step}: loss {progress.loss:.3f}, drift {progress.drift:.3f}',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--table', default='rich', choices=tuple(TABLES))
    parser.add_argument('--kind', default='teapot', help='a key of shapes.KINDS')
    parser.add_argument('--checkpoint', default='models/tabletop')
    parser.add_argument('--pictures', type=int, default=50)
    parser.add_argument('--scenes', type=int, default=100, help='held out, with the new kind')
    parser.add_argument('--old', type=int, default=60, help='held out, without it')
    parser.add_argument('--out', type=Path, help='keep pictures and adapter here')
    defaults = FinetuneSettings()
    parser.add_argument('--steps', type=int, default=defaults.steps)
    parser.add_argument('--rank', type=int, default=defaults.rank)
    parser.add_argument('--rehearsal', type=float, default=defaults.rehearsal)
    parser.add_argument('--learning-rate', type=float, default=defaults.learning_rate)
    parser.add_argument('--zoom', type=float, default=defaults.zoom)
    parser.add_argument('--targets', nargs='+', default=defaults.targets)
    arguments = parser.parse_args()
    settings = replace(
        defaults,
        steps=arguments.steps,
        rank=arguments.rank,
        rehearsal=arguments.rehearsal,
        learning_rate=arguments.learning_rate,
        targets=tuple(arguments.targets),
        zoom=arguments.zoom,
        hold_out=0.0,  # it asks about other scenes
        keep=known(arguments.table, arguments.kind),
    )
    with tempfile.TemporaryDirectory() as temporary:
        run(arguments, settings, arguments.out or Path(temporary))


if __name__ == '__main__':
    main()
