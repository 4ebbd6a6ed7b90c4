# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures that are not learnt from: asked about before and after, they say what was learnt."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from molmo_ros.engine import Engine, Stopped
from molmo_ros.evaluation.comparing import comparison, paired
from molmo_ros.evaluation.evaluate import evaluate
from molmo_ros.evaluation.folders import samples_of
from molmo_ros.evaluation.points_folder import LabelledImage
from molmo_ros.evaluation.predictions import PredictionsFile, picture_file, read_predictions
from molmo_ros.evaluation.report.comparison import comparison_page
from molmo_ros.evaluation.report.page import model_line, whole_page
from molmo_ros.finetuning.curves import curves_section
from molmo_ros.model.identity import ModelIdentity
from molmo_ros.output import write_whole

BEFORE, AFTER, REPORT = 'training/before.jsonl', 'training/after.jsonl', 'training/report.html'
FEWEST = 5
"""Of fewer pictures none is held out."""


@dataclass(frozen=True)
class Split:
    """Pictures to learn from, and those that are held out."""

    taught: tuple[LabelledImage, ...]
    held_out: tuple[LabelledImage, ...]


def split(images: Sequence[LabelledImage], share: float, seed: int) -> Split:
    """Hold out a share of the pictures, by chance; what is pointed at in them stays in others."""
    most = round(share * len(images)) if len(images) >= FEWEST else 0
    left = Counter(label.label for image in images for label in image.labels if label.points)
    shuffled = sorted(images, key=lambda image: image.name)
    random.Random(f'{seed} held out').shuffle(shuffled)
    held: set[Path] = set()
    for image in shuffled:
        shown = [label.label for label in image.labels if label.points]
        if len(held) < most and all(left[label] > 1 for label in shown):
            held.add(image.path)
            left.subtract(shown)
    return Split(
        tuple(image for image in images if image.path not in held),
        tuple(image for image in images if image.path in held),
    )


def settings_of(folder: Path, name: str, identity: ModelIdentity) -> dict[str, Any]:
    """What a run over held-out pictures says of itself."""
    return {
        'data': f'{folder.resolve().name}, held out',
        'about': {'layout': 'pictures', 'held_out': 'yes'},
        'model': {'name': name, **asdict(identity)},
        'photometric': 'none',
        'one_by_one': False,
    }


def measure(
    engine: Engine,
    images: Sequence[LabelledImage],
    path: Path,
    settings: Mapping[str, Any],
    on_progress: Callable[[float], None],
    should_stop: Callable[[], bool],
) -> None:
    """Ask about held-out pictures what is not in the file at `path` yet, and keep it there.

    Raises EngineError, Stopped among them, InvalidData and OSError.
    """
    samples = samples_of(images)
    kept = PredictionsFile(path, settings)
    try:
        for done, result in enumerate(evaluate(engine, samples, known=kept.known), 1):
            kept.append(result)
            if should_stop():
                raise Stopped('stopped')
            on_progress(done / len(samples))
    finally:
        kept.close()


def compared(out: Path) -> dict[str, Any]:
    """The figures of before and after, and a page of them with the curves. Raises InvalidData."""
    before, after = read_predictions(out / BEFORE), read_predictions(out / AFTER)
    found = paired(before, after, picture_file)
    figures = comparison(before, after, found)
    page = comparison_page(figures, found.pairs, [curves_section(out)])
    write_whole(out / REPORT, page)
    return figures


def write_curves(out: Path, name: str, identity: ModelIdentity) -> None:
    """A page with the curves alone, where nothing was held out."""
    lines = [model_line(asdict(identity)), 'no picture was held out']
    write_whole(out / REPORT, whole_page(f'{name}, taught', lines, [curves_section(out)]))
