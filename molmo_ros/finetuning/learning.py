# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The optimiser's way, and what it leaves behind."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from molmo_ros.engine import EngineError
from molmo_ros.finetuning.finetune_settings import FinetuneSettings
from molmo_ros.finetuning.lessons import Lesson, Lessons
from molmo_ros.finetuning.lora import (
    adapter_tensors,
    add_lora,
    put_adapter_tensors,
    recompute_layers,
    save_adapter,
)
from molmo_ros.finetuning.packed_exchanges import answer_logits
from molmo_ros.finetuning.pupils import Pupil
from molmo_ros.output import whole_file

SAVE_EVERY = 25
STATE = 'training/state.pt'
_HOLD = 4.0  # what drift counts beside loss: one nat a token is a very other answer
_WIDE = 1024  # of decoders from this width on, the releases', a step may change less


@dataclass(frozen=True)
class Progress:
    """How far it is.

    Attributes:
        stage: 'loading', 'rehearsing', 'measuring' (what is held out) or 'learning'.
        share: of the stage, 0..1.
        loss: of the step: mean cross-entropy of the tokens of new answers, nats.
        drift: of the step: how far the checkpoint's own answers have moved, mean divergence of
            their tokens' probabilities, nats; NaN where none were rehearsed.
    """

    stage: str
    share: float
    step: int = 0
    loss: float = math.nan
    drift: float = math.nan


@dataclass(frozen=True)
class Outcome:
    """step: how far it came; finished: whether that is all.

    held_out: how many pictures were not learnt from. compared: what was asked about them, before
    and after: figures as `evaluation.comparing` has them; None where it is not finished, or there
    were none.
    """

    step: int
    finished: bool
    held_out: int = 0
    compared: Mapping[str, Any] | None = None


class Learner:
    """Learns step by step; writes the adapter, training/state.pt and training/log.csv to `out`.

    checkpoint, digest: the base's name and `base_digest`. begun: what must be the same to go on.
    """

    def __init__(
        self,
        pupil: Pupil,
        lessons: Lessons,
        settings: FinetuneSettings,
        out: Path,
        checkpoint: str,
        digest: str,
        begun: Mapping[str, Any],
    ) -> None:
        self._pupil, self._lessons, self._settings = pupil, lessons, settings
        self._out, self._begun = out, dict(begun)
        self._checkpoint, self._digest = checkpoint, digest
        layers = [pupil.layers[name] for name in settings.targets]
        self._wrapped = add_lora(
            pupil.model, layers, settings.rank, 2 * settings.rank, settings.seed
        )
        if pupil.device.type == 'cuda':
            recompute_layers(pupil.model)
        self._parameters = [p for p in self._wrapped.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=0.0)
        self._rate = settings.learning_rate or (2e-4 if pupil.width >= _WIDE else 1e-3)
        self._step = 0
        self._seconds, self._since = 0.0, time.monotonic()

    def resume(self, state: Mapping[str, Any]) -> None:
        put_adapter_tensors(self._wrapped, state['adapter'])
        self._optimizer.load_state_dict(state['optimizer'])
        self._step, self._seconds = state['step'], state['seconds']

    def run(
        self, should_stop: Callable[[], bool], on_progress: Callable[[Progress], None]
    ) -> Outcome:
        steps = self._settings.steps
        while self._step < steps and not should_stop():
            try:
                loss, drift = self._learn()
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    'the GPU ran out of memory; ask fewer questions at a time, or quantize int4'
                ) from error
            self._step += 1
            on_progress(Progress('learning', self._step / steps, self._step, loss, drift))
            self._log(loss, drift)
            if self._step % SAVE_EVERY == 0:
                self._save()
        self._save()
        return Outcome(self._step, self._step >= steps)

    def _learn(self) -> tuple[float, float]:
        """One step; returns its loss and drift, as in `Progress`."""
        lessons = self._lessons.of_step(self._step)
        total = sum(len(lesson.packed.answer) for lesson in lessons)
        new: list[Tensor] = []
        kept: list[Tensor] = []
        for number, lesson in enumerate(lessons):
            learnt, rehearsed = self._losses(lesson, number)
            ((learnt.sum() + _HOLD * rehearsed.sum()) / total).backward()
            new.append(learnt.detach())
            kept.append(rehearsed.detach())
        losses = torch.cat(new).mean().item(), torch.cat(kept).mean().item()
        if not math.isfinite(losses[0]):
            raise ValueError(
                f'the loss was not finite at step {self._step}; begin anew with a lower '
                'learning rate'
            )
        for group in self._optimizer.param_groups:
            group['lr'] = self._rate * self._schedule()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return losses

    def _losses(self, lesson: Lesson, number: int) -> tuple[Tensor, Tensor]:
        """Of every token: cross-entropy where it is new, drift from the base where rehearsed."""
        pupil, packed = self._pupil, lesson.packed
        picture = pupil.see(self._lessons.picture(lesson, self._step, number))
        is_new = packed.owner < lesson.new
        logits = answer_logits(pupil, picture, packed)
        learnt = functional.cross_entropy(
            logits[is_new], packed.answer[is_new].to(logits.device), reduction='none'
        )
        if is_new.all():
            return learnt, learnt[:0]
        with torch.no_grad(), self._wrapped.disable_adapter():
            base = answer_logits(pupil, picture, packed)[~is_new]
        return learnt, _divergence(base, logits[~is_new])

    def _schedule(self) -> float:
        """Linear warm-up over a tenth, then a cosine to a twentieth of the rate."""
        steps, warmup = self._settings.steps, max(self._settings.steps // 10, 1)
        done = min(max(self._step - warmup, 0) / max(steps - warmup, 1), 1.0)
        cosine = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
        return min((self._step + 1) / warmup, 1.0) * cosine

    def _save(self) -> None:
        save_adapter(self._wrapped, self._out, self._checkpoint, self._digest)
        state = {
            'begun': self._begun,
            'adapter': adapter_tensors(self._wrapped),
            'optimizer': self._optimizer.state_dict(),
            'step': self._step,
            'seconds': self._elapsed,
        }
        # torch says of a full disk what its archive could not do.
        with whole_file(self._out / STATE, also=(RuntimeError,)) as partial:
            torch.save(state, partial)

    @property
    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _log(self, loss: float, drift: float) -> None:
        path = self._out / 'training/log.csv'
        is_new = not path.exists()
        with path.open('a', newline='') as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(['step', 'seconds', 'loss', 'drift'])
            writer.writerow([self._step, f'{self._elapsed:.1f}', f'{loss:.4f}', f'{drift:.4f}'])


def _divergence(base: Tensor, logits: Tensor) -> Tensor:
    """(n,) Kullback-Leibler divergence of (n, vocabulary) logits from the base's, in nats."""
    return functional.kl_div(
        logits.log_softmax(-1), base.log_softmax(-1), reduction='none', log_target=True
    ).sum(-1)
