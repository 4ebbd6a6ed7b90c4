# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the checkpoint answers already, kept as lessons so that it goes on answering so.

Before anything is learnt the checkpoint is asked about other things in the user's own pictures. Its
answers, right or wrong, are rehearsed beside the new ones.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from molmo_ros.engine import Engine, Question, never
from molmo_ros.evaluation.points_folder import IMAGES, LabelledImage, name_of, read_image
from molmo_ros.finetuning.exchanges import Exchange
from molmo_ros.finetuning.views import PictureView, seen
from molmo_ros.output import write_whole
from molmo_ros.pointing import Mode, label_for, prompt_for

QUESTIONS_PER_VIEW = 12
_LONGEST = 400  # characters: what is longer is a list without end

Rehearsal = Mapping[PictureView, Sequence[Exchange]]


def rehearse(
    engine: Engine,
    images: Sequence[LabelledImage],
    views: Sequence[PictureView],
    queries: Sequence[str],
    seed: int,
    should_stop: Callable[[], bool] = never,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Rehearsal:
    """Ask some of `queries` about every view; those about what is being learnt are left out.

    Raises EngineError, Stopped among them.
    """
    learnt = {label.label for image in images for label in image.labels}
    others = [_question(query) for query in queries if not _names_any(query, learnt)]
    rehearsal: dict[PictureView, Sequence[Exchange]] = {}
    for done, view in enumerate(views):
        on_progress(done / len(views))
        rng = random.Random(f'{seed} {view.path.name} {view.mirrored}')
        asked = rng.sample(others, min(QUESTIONS_PER_VIEW, len(others)))
        if asked:
            rehearsal[view] = _answers(engine, view, asked, should_stop)
    return rehearsal


def _question(query: str) -> Question:
    return Question(query, Mode.ASK if query.endswith('?') else Mode.POINT)


def _answers(
    engine: Engine,
    view: PictureView,
    questions: Sequence[Question],
    should_stop: Callable[[], bool],
) -> list[Exchange]:
    """No more that are not there than are: of most things there are none in a picture."""
    answers = engine.answer_many(seen(read_image(view.path), view), questions, should_stop)
    there: list[Exchange] = []
    absent: list[Exchange] = []
    for question, answer in zip(questions, answers, strict=True):
        if 0 < len(answer.text) <= _LONGEST:
            exchange = Exchange(prompt_for(question.query, question.mode), answer.text)
            (there if answer.points else absent).append(exchange)
    return there + absent[: max(len(there), 1)]


def _names_any(query: str, learnt: set[str]) -> bool:
    """Whether a question is about what is being learnt, which the checkpoint does not know yet."""
    words = label_for(query)
    return any(re.search(rf'\b{re.escape(label_for(name))}\b', words) for name in learnt)


def write_rehearsal(rehearsal: Rehearsal, path: Path, folder: Path) -> None:
    """One line for each exchange about a folder, to be read by people too."""
    lines = [
        json.dumps(
            {
                'image': name_of(view.path, folder),
                'mirrored': view.mirrored,
                'prompt': exchange.prompt,
                'answer': exchange.answer,
            },
            ensure_ascii=False,
        )
        for view, exchanges in rehearsal.items()
        for exchange in exchanges
    ]
    write_whole(path, '\n'.join(lines) + '\n')


def read_rehearsal(path: Path, folder: Path) -> Rehearsal:
    rehearsal: dict[PictureView, list[Exchange]] = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        if line:
            fields = json.loads(line)
            view = PictureView(folder / IMAGES / fields['image'], fields['mirrored'])
            rehearsal.setdefault(view, []).append(Exchange(fields['prompt'], fields['answer']))
    return rehearsal
