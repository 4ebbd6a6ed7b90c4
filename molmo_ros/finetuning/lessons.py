# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each step looks at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molmo_ros.evaluation.points_folder import (
    POINTS,
    InvalidFolder,
    Label,
    LabelledImage,
    read_image,
)
from molmo_ros.finetuning.exchanges import Exchange, exchange_about, mirrored, moved, through
from molmo_ros.finetuning.finetune_settings import FinetuneSettings
from molmo_ros.finetuning.packed_exchanges import Packed, pack
from molmo_ros.finetuning.pupils import Pupil
from molmo_ros.finetuning.rehearsal import Rehearsal
from molmo_ros.finetuning.views import Image, PictureView, Window, jittered, part, seen

_ATTEMPTS = 10
_BORDER = 3.0  # percent: what is nearer to it is not cut any nearer


def views_of(images: Sequence[LabelledImage], mirror: bool) -> list[PictureView]:
    """Every way in which the pictures are shown."""
    views = []
    for image in images:
        views.append(PictureView(image.path))
        words = ' '.join(label.label for label in image.labels).lower()
        if mirror and 'left' not in words and 'right' not in words:
            views.append(PictureView(image.path, mirrored=True))
    return views


@dataclass(frozen=True)
class Lesson:
    """What is shown, what is asked about it, and how many exchanges, the first ones, are new."""

    view: PictureView
    window: Window
    packed: Packed
    new: int


class Lessons:
    """Draws what a step looks at; the same for a step's number, whenever it is asked."""

    def __init__(
        self,
        images: Sequence[LabelledImage],
        rehearsal: Rehearsal,
        pupil: Pupil,
        settings: FinetuneSettings,
    ) -> None:
        self._rehearsal, self._settings = rehearsal, settings
        self._pupil = pupil
        by_path = {image.path: image.labels for image in images}
        self._views = [
            (view, [mirrored(x) if view.mirrored else x for x in by_path[view.path]])
            for view in views_of(images, settings.mirror)
        ]

    def of_step(self, step: int) -> list[Lesson]:
        rng = random.Random(f'{self._settings.seed} {step}')
        return [self._draw(rng) for _ in range(self._settings.images)]

    def picture(self, lesson: Lesson, step: int, number: int) -> Image:
        rng = np.random.default_rng((self._settings.seed, step, number))
        image = seen(read_image(lesson.view.path), lesson.view)
        return jittered(part(image, lesson.window), rng)

    def check_lengths(self) -> None:
        """Raise InvalidFolder where a label has more points than the decoder has positions."""
        limit = self._pupil.positions
        rng = random.Random(0)
        for view, labels in self._views:
            tokens = self._pupil.see(read_image(view.path)).tokens
            for label in labels:
                length = self._packed([self._about(label, rng)]).longest
                if tokens + length > limit:
                    raise InvalidFolder(
                        f'{POINTS}, line {label.line}: with {len(label.points)} points the answer '
                        f'takes more than the {limit} tokens that the checkpoint can read; leave '
                        'out this line, or crop the picture'
                    )

    def _draw(self, rng: random.Random) -> Lesson:
        view, labels = rng.choice(self._views)
        window = self._window(labels, rng)
        kept = self._kept(view, window, rng)
        new = [
            self._about(through(rng.choice(labels), window), rng)
            for _ in range(self._settings.questions - len(kept))
        ]
        return Lesson(view, window, self._packed([*new, *kept]), len(new))

    def _about(self, label: Label, rng: random.Random) -> Exchange:
        return exchange_about(label, rng, self._pupil.style)

    def _packed(self, exchanges: Sequence[Exchange]) -> Packed:
        return pack(exchanges, self._pupil.tokenizer, self._pupil.end)

    def _window(self, labels: Sequence[Label], rng: random.Random) -> Window:
        """A part of the picture with all that is labelled, not at its very border."""
        for _ in range(_ATTEMPTS):
            side = 100 - 100 * self._settings.zoom * rng.random()
            window = Window(rng.uniform(0, 100 - side), rng.uniform(0, 100 - side), side)
            points = [point for label in labels for point in through(label, window).points]
            if all(_BORDER <= value <= 100 - _BORDER for point in points for value in point):
                return window
        return Window()

    def _kept(self, view: PictureView, window: Window, rng: random.Random) -> list[Exchange]:
        style = self._pupil.style
        all_moved = (moved(exchange, window, style) for exchange in self._rehearsal.get(view, ()))
        answers = [exchange for exchange in all_moved if exchange is not None]
        share = self._settings.rehearsal * self._settings.questions
        count = int(share) + (rng.random() < share % 1)
        return rng.sample(answers, min(count, len(answers), self._settings.questions - 1))
