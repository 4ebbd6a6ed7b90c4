# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How to learn."""

from __future__ import annotations

from dataclasses import dataclass

TARGETS = ('decoder', 'connector', 'vision')
"""The parts of a `Molmo` that can be changed."""

KNOWN = tuple(
    f'the {thing}'
    for thing in (
        *(
            'apple',
            'bag',
            'ball',
            'banana',
            'book',
            'bottle',
            'bowl',
            'box',
            'cable',
            'chair',
            'clock',
        ),
        *('cone', 'cup', 'door', 'fork', 'glass', 'hand', 'keyboard', 'knife', 'lamp', 'laptop'),
        *('mouse', 'mug', 'paper', 'pen', 'person', 'phone', 'plant', 'plate', 'ring', 'scissors'),
        *('screwdriver', 'shoe', 'spoon', 'table', 'tape', 'toy', 'wall', 'window'),
    )
)
"""The questions that are rehearsed unless others are given."""


@dataclass(frozen=True)
class FinetuneSettings:
    """How to learn.

    Attributes:
        steps: of the optimiser; each looks at `images` pictures with `questions` questions each.
        rehearsal: share of the questions that the checkpoint's own answers are rehearsed with.
        keep: questions to rehearse, as a user asks them: 'the mug', or 'How many mugs are there?',
            which is asked as it stands.
        targets: which of TARGETS change.
        rank: of the adapter; alpha is twice that.
        learning_rate: 0 takes 1e-3, or 2e-4 for decoders as wide as the releases'.
        zoom: up to which share of each side a picture is cut down to a part with all that is
            labelled, so that places are not learnt by heart.
        hold_out: share of the pictures that are not learnt from; what is asked about them before
            and after says how well it learnt.
        mirror: whether pictures are mirrored as well, where no label says left or right.
    """

    steps: int = 300
    images: int = 4
    questions: int = 6
    rehearsal: float = 0.5
    keep: tuple[str, ...] = KNOWN
    targets: tuple[str, ...] = ('decoder', 'connector')
    rank: int = 16
    learning_rate: float = 0.0
    mirror: bool = True
    zoom: float = 0.35
    hold_out: float = 0.2
    seed: int = 0

    def check(self) -> None:
        """Raise ValueError for what makes no sense."""
        if min(self.steps, self.images, self.questions, self.rank) < 1:
            raise ValueError('steps, images, questions and rank must be 1 or more')
        if not 0 <= self.rehearsal < 1:
            raise ValueError(f'rehearsal must be 0 or more and less than 1, not {self.rehearsal}')
        if self.rehearsal and self.questions < 2:
            raise ValueError('to rehearse, ask 2 questions or more about each picture')
        if not 0 <= self.zoom <= 0.8:
            raise ValueError(f'zoom must be 0 to 0.8, not {self.zoom}')
        if not 0 <= self.hold_out <= 0.5:
            raise ValueError(f'hold_out must be 0 to 0.5, not {self.hold_out}')
        if not self.targets or set(self.targets) - set(TARGETS):
            raise ValueError(f'targets must be of {", ".join(TARGETS)}')
        if self.learning_rate < 0:
            raise ValueError('learning_rate must be more than 0')
