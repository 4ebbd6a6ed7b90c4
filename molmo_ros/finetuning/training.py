# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a folder of pictures with points to an adapter; stopped, it goes on where it was."""

from __future__ import annotations

import csv
import hashlib
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from molmo_ros.engine import EngineError, Stopped, never
from molmo_ros.engine.local import LocalEngine
from molmo_ros.finetuning.exchanges import Exchange, exchange_about, mirrored
from molmo_ros.finetuning.folder import (
    IMAGES,
    POINTS,
    InvalidFolder,
    LabelledImage,
    read_folder,
    read_image,
)
from molmo_ros.finetuning.lora import (
    adapter_tensors,
    add_lora,
    check_peft,
    put_adapter_tensors,
    recompute_layers,
    save_adapter,
)
from molmo_ros.finetuning.packing import IGNORED, Packed, answer_losses, pack
from molmo_ros.finetuning.pictures import View, jittered, seen
from molmo_ros.finetuning.rehearsal import (
    Rehearsal,
    read_rehearsal,
    rehearse,
    write_rehearsal,
)
from molmo_ros.finetuning.settings import Settings
from molmo_ros.model.adapter import base_digest
from molmo_ros.model.config import UnsupportedCheckpoint, is_molmo2
from molmo_ros.model.hub import checkpoint_folder
from molmo_ros.model.loading import LoadedMolmo, load_molmo
from molmo_ros.model.options import LoadOptions
from molmo_ros.model.preprocessing import preprocess

SAVE_EVERY = 25
_WIDE = 1024  # of decoders from this width on, the releases', a step may change less


@dataclass(frozen=True)
class Progress:
    """stage: 'loading', 'rehearsing' or 'learning'; share: 0..1 of it. Losses are means over the
    answer tokens since the last report, NaN where there were none."""

    stage: str
    share: float
    step: int = 0
    loss: float = math.nan
    kept_loss: float = math.nan


@dataclass(frozen=True)
class Outcome:
    """step: how far it came; finished: whether that is all."""

    step: int
    finished: bool


def finetune(
    folder: Path,
    checkpoint: str | Path,
    out: Path,
    settings: Settings | None = None,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    quantize: str = 'none',
    should_stop: Callable[[], bool] = never,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Learn from `folder` (see `folder.read_folder`); write an adapter for `checkpoint` to `out`.

    `checkpoint`, `device`, `dtype` and `quantize` as in `load_engine`, but for 'int8'. What is
    needed to go on lies in `out`/training; called again it goes on, and `should_stop` is asked
    before every step. Raises ValueError (InvalidFolder and UnsupportedCheckpoint among them),
    OSError and EngineError; the messages say what to do.
    """
    settings = settings or Settings()
    settings.check()
    check_peft()
    images = read_folder(folder)
    base = checkpoint_folder(checkpoint)
    _check_base(base, out, quantize)
    begun = _Begun(base_digest(base), _digest(folder / POINTS), settings, quantize)
    (out / 'training').mkdir(parents=True, exist_ok=True)
    state = _read_state(out, begun)
    loaded = load_molmo(
        base,
        LoadOptions(device, dtype, quantize=quantize),
        lambda share: on_progress(Progress('loading', share)),
    )
    try:
        rehearsal = _rehearsal(folder, out, images, loaded, settings, should_stop, on_progress)
    except Stopped:
        return Outcome(state['step'] if state else 0, finished=False)
    lessons = _Lessons(images, rehearsal, loaded, settings)
    lessons.check_lengths()
    learner = _Learner(loaded, lessons, settings, out, str(checkpoint), begun)
    if state:
        learner.resume(state)
    return learner.run(should_stop, on_progress)


def views_of(images: Sequence[LabelledImage], mirror: bool) -> list[View]:
    """Every way in which the pictures are shown."""
    views = []
    for image in images:
        views.append(View(image.path))
        words = ' '.join(label.label for label in image.labels).lower()
        if mirror and 'left' not in words and 'right' not in words:
            views.append(View(image.path, mirrored=True))
    return views


@dataclass(frozen=True)
class _Begun:
    """What must be the same to go on."""

    base: str
    points: str
    settings: Settings
    quantize: str

    def fields(self) -> dict[str, Any]:
        plain: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.settings).items()
            if name != 'steps'
        }
        return {'checkpoint': self.base, POINTS: self.points, **plain, 'quantize': self.quantize}


def _check_base(base: Path, out: Path, quantize: str) -> None:
    if is_molmo2(base):
        raise UnsupportedCheckpoint(
            f'{base} is a Molmo2, and only Molmo of the first generation (MolmoE-1B, 7B-O, 7B-D, '
            '72B and the demo checkpoint) is fine-tuned here'
        )
    if quantize == 'int8':
        raise ValueError('nothing is learnt through int8 weights; quantize int4, or not at all')
    if (out / 'config.json').exists():
        raise ValueError(f'{out} holds a checkpoint; name another folder for the adapter')


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _read_state(out: Path, begun: _Begun) -> dict[str, Any] | None:
    path = out / 'training/state.pt'
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True)
    fields = begun.fields()
    if changed := [name for name in fields if state['begun'].get(name) != fields[name]]:
        raise ValueError(
            f'{out} was begun with other values of {", ".join(changed)}: give the same to go on, '
            'or begin anew in another folder'
        )
    return state


def _rehearsal(
    folder: Path,
    out: Path,
    images: Sequence[LabelledImage],
    loaded: LoadedMolmo,
    settings: Settings,
    should_stop: Callable[[], bool],
    on_progress: Callable[[Progress], None],
) -> Rehearsal:
    path = out / 'training/rehearsal.jsonl'
    if settings.rehearsal == 0:
        return {}
    if not path.is_file():
        # Closed before anything is learnt: its caches are of no use then.
        engine = LocalEngine(loaded, max_frames=1)
        try:
            rehearsal = rehearse(
                engine,
                images,
                views_of(images, settings.mirror),
                settings.keep,
                settings.seed,
                should_stop,
                lambda share: on_progress(Progress('rehearsing', share)),
            )
        finally:
            engine.close()
        write_rehearsal(rehearsal, path)
    return read_rehearsal(path, folder / IMAGES)


@dataclass(frozen=True)
class _Lesson:
    """A view, what is asked about it, and how many of the first exchanges are new."""

    view: View
    packed: Packed
    new: int


class _Lessons:
    """Draws what a step looks at; the same for a step's number, whenever it is asked."""

    def __init__(
        self,
        images: Sequence[LabelledImage],
        rehearsal: Rehearsal,
        loaded: LoadedMolmo,
        settings: Settings,
    ) -> None:
        self._rehearsal, self._settings = rehearsal, settings
        self._tokenizer = loaded.tokenizer
        self._loaded = loaded
        by_path = {image.path: image.labels for image in images}
        self._views = [
            (view, [mirrored(x) if view.mirrored else x for x in by_path[view.path]])
            for view in views_of(images, settings.mirror)
        ]

    def of_step(self, step: int) -> list[_Lesson]:
        rng = random.Random(f'{self._settings.seed} {step}')
        return [self._draw(rng) for _ in range(self._settings.images)]

    def picture(self, lesson: _Lesson, step: int, number: int) -> np.ndarray:
        rng = np.random.default_rng((self._settings.seed, step, number))
        return jittered(seen(read_image(lesson.view.path), lesson.view), rng)

    def check_lengths(self) -> None:
        """Raise InvalidFolder where a label has more points than the decoder has positions."""
        limit = self._loaded.model.config.text.max_positions
        rng = random.Random(0)
        for view, labels in self._views:
            image = preprocess(
                read_image(view.path), self._loaded.preprocessor, self._tokenizer.image
            )
            for label in labels:
                length = pack([exchange_about(label, rng)], self._tokenizer).longest
                if 1 + len(image.token_ids) + length > limit:
                    raise InvalidFolder(
                        f'{POINTS}, line {label.line}: with {len(label.points)} points the answer '
                        f'takes more than the {limit} tokens that the checkpoint can read; leave '
                        'out this line, or crop the picture'
                    )

    def _draw(self, rng: random.Random) -> _Lesson:
        view, labels = rng.choice(self._views)
        kept = self._kept(view, rng)
        new = [
            exchange_about(rng.choice(labels), rng)
            for _ in range(self._settings.questions - len(kept))
        ]
        return _Lesson(view, pack([*new, *kept], self._tokenizer), len(new))

    def _kept(self, view: View, rng: random.Random) -> list[Exchange]:
        answers = self._rehearsal.get(view, ())
        share = self._settings.rehearsal * self._settings.questions
        count = int(share) + (rng.random() < share % 1)
        return rng.sample(answers, min(count, len(answers), self._settings.questions - 1))


class _Learner:
    """The optimiser's way, and its files: the adapter, training/state.pt, training/log.csv."""

    def __init__(
        self,
        loaded: LoadedMolmo,
        lessons: _Lessons,
        settings: Settings,
        out: Path,
        checkpoint: str,
        begun: _Begun,
    ) -> None:
        self._loaded, self._lessons, self._settings = loaded, lessons, settings
        self._out, self._checkpoint, self._begun = out, checkpoint, begun
        model = loaded.model
        self._wrapped = add_lora(
            model, settings.targets, settings.rank, 2 * settings.rank, settings.seed
        )
        if model.device.type == 'cuda':
            recompute_layers(model)
        self._parameters = [p for p in self._wrapped.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=0.0)
        self._rate = settings.learning_rate or (
            2e-4 if model.config.text.hidden_size >= _WIDE else 1e-3
        )
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
                new, kept = self._learn()
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    'the GPU ran out of memory; ask fewer questions at a time, or quantize int4'
                ) from error
            self._step += 1
            on_progress(Progress('learning', self._step / steps, self._step, new, kept))
            self._log(new, kept)
            if self._step % SAVE_EVERY == 0:
                self._save()
        self._save()
        return Outcome(self._step, self._step >= steps)

    def _learn(self) -> tuple[float, float]:
        """One step; returns the mean losses of the new and of the rehearsed answers."""
        lessons = self._lessons.of_step(self._step)
        total = sum(lesson.packed.answer_tokens for lesson in lessons)
        losses: list[Tensor] = []
        is_new: list[Tensor] = []
        for number, lesson in enumerate(lessons):
            loss = self._losses(lesson, number)
            (loss.sum() / total).backward()
            losses.append(loss.detach().cpu())
            packed = lesson.packed
            is_new.append(packed.exchange[packed.label != IGNORED] < lesson.new)
        every, new = torch.cat(losses), torch.cat(is_new)
        if not torch.isfinite(every).all():
            raise ValueError(
                f'the loss was not finite at step {self._step}; begin anew with a lower '
                'learning rate'
            )
        for group in self._optimizer.param_groups:
            group['lr'] = self._rate * self._schedule()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return every[new].mean().item(), every[~new].mean().item()

    def _losses(self, lesson: _Lesson, number: int) -> Tensor:
        loaded = self._loaded
        picture = self._lessons.picture(lesson, self._step, number)
        image = preprocess(
            picture, loaded.preprocessor, loaded.tokenizer.image, loaded.model.device
        )
        return answer_losses(loaded.model, image, lesson.packed, loaded.tokenizer.eos)

    def _schedule(self) -> float:
        """Linear warm-up over a tenth, then a cosine to a twentieth of the rate."""
        steps, warmup = self._settings.steps, max(self._settings.steps // 10, 1)
        done = min(max(self._step - warmup, 0) / max(steps - warmup, 1), 1.0)
        cosine = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
        return min((self._step + 1) / warmup, 1.0) * cosine

    def _save(self) -> None:
        save_adapter(self._wrapped, self._out, self._checkpoint, self._begun.base)
        state = {
            'begun': self._begun.fields(),
            'adapter': adapter_tensors(self._wrapped),
            'optimizer': self._optimizer.state_dict(),
            'step': self._step,
            'seconds': self._elapsed,
        }
        partial = self._out / 'training/state.part'
        torch.save(state, partial)
        partial.rename(self._out / 'training/state.pt')

    @property
    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _log(self, new: float, kept: float) -> None:
        path = self._out / 'training/log.csv'
        is_new = not path.exists()
        with path.open('a', newline='') as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(['step', 'seconds', 'loss', 'kept_loss'])
            writer.writerow([self._step, f'{self._elapsed:.1f}', f'{new:.4f}', f'{kept:.4f}'])
