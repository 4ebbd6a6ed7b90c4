# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a folder of pictures with points to an adapter; stopped, it goes on where it was."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from molmo_ros.engine import Stopped, never
from molmo_ros.engine.local import LocalEngine
from molmo_ros.evaluation.points_folder import (
    POINTS,
    LabelledImage,
    read_folder,
    read_image,
)
from molmo_ros.evaluation.taught import digest_of, write_taught
from molmo_ros.finetuning.finetune_settings import FinetuneSettings
from molmo_ros.finetuning.held_out import (
    AFTER,
    BEFORE,
    Split,
    compared,
    measure,
    settings_of,
    split,
    write_curves,
)
from molmo_ros.finetuning.learning import STATE, Learner, Outcome, Progress
from molmo_ros.finetuning.lessons import Lessons, views_of
from molmo_ros.finetuning.lora import check_peft
from molmo_ros.finetuning.pupils import pupil_of
from molmo_ros.finetuning.rehearsal import Rehearsal, read_rehearsal, rehearse, write_rehearsal
from molmo_ros.model.adapter import base_digest
from molmo_ros.model.config import UnsupportedCheckpoint, is_molmo2, model_type
from molmo_ros.model.hub import checkpoint_folder, checkpoint_name
from molmo_ros.model.identity import identity_of
from molmo_ros.model.loading import LoadedMolmo, load_molmo
from molmo_ros.model.molmo2 import LoadedMolmo2, load_molmo2
from molmo_ros.model.options import LoadOptions

__all__ = ['Outcome', 'Progress', 'finetune']


def finetune(
    folder: Path,
    checkpoint: str | Path,
    out: Path,
    settings: FinetuneSettings | None = None,
    *,
    device: str = 'auto',
    dtype: str = 'auto',
    quantize: str = 'none',
    called: str = '',
    should_stop: Callable[[], bool] = never,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Learn from `folder` (see `folder.read_folder`); write an adapter for `checkpoint` to `out`.

    `checkpoint`, `device`, `dtype` and `quantize` as in `load_engine`, but for 'int8'. `called`:
    what reports call the checkpoint. What is
    needed to go on lies in `out`/training; called again it goes on, and `should_stop` is asked
    before every step. Raises ValueError (InvalidFolder and UnsupportedCheckpoint among them),
    OSError and EngineError; the messages say what to do.
    """
    settings = settings or FinetuneSettings()
    settings.check()
    check_peft()
    images = split(read_folder(folder), settings.hold_out, settings.seed)
    base = checkpoint_folder(checkpoint)
    _check_base(base, out, quantize)
    begun = _Begun(base_digest(base), _digest(folder / POINTS), settings, quantize)
    (out / 'training').mkdir(parents=True, exist_ok=True)
    state = _read_state(out, begun)
    write_taught(out, (digest_of(read_image(image.path)) for image in images.taught))
    called = called or checkpoint_name(checkpoint)
    options = LoadOptions(device, dtype, quantize=quantize)
    course = _Course(
        folder, str(checkpoint), base, out, images, settings, options, should_stop, on_progress
    )
    try:
        outcome = course.learn(called, begun, state)
    except Stopped:
        return Outcome(state['step'] if state else 0, finished=False)
    if outcome.finished:
        outcome = replace(outcome, compared=course.compared(called))
    return replace(outcome, held_out=len(images.held_out))


@dataclass(frozen=True)
class _Course:
    """The way from pictures to an adapter."""

    folder: Path
    checkpoint: str
    base: Path
    out: Path
    images: Split
    settings: FinetuneSettings
    options: LoadOptions
    should_stop: Callable[[], bool]
    on_progress: Callable[[Progress], None]

    def learn(self, called: str, begun: _Begun, state: dict[str, Any] | None) -> Outcome:
        """Ask what it knows, and teach it. Raises Stopped."""
        loaded = self._load(self.options)
        if state is None:
            self._measure(loaded, called, BEFORE, self.options)
        rehearsal = _rehearsal(
            self.folder,
            self.out,
            self.images.taught,
            loaded,
            self.settings,
            self.should_stop,
            self.on_progress,
        )
        pupil = pupil_of(loaded)
        lessons = Lessons(self.images.taught, rehearsal, pupil, self.settings)
        lessons.check_lengths()
        learner = Learner(
            pupil, lessons, self.settings, self.out, self.checkpoint, begun.base, begun.fields()
        )
        if state:
            learner.resume(state)
        return learner.run(self.should_stop, self.on_progress)

    def compared(self, called: str) -> dict[str, Any] | None:
        """What it answers now about what was held out, as users will load it, beside before."""
        options = replace(self.options, adapter=self.out)
        called_now = f'{called} + {self.out.resolve().name}'
        if not self.images.held_out:
            write_curves(self.out, called_now, identity_of(self.checkpoint, options))
            return None
        gc.collect()  # what learning held: modules refer to each other in circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        (self.out / AFTER).unlink(missing_ok=True)
        self._measure(self._load(options), called_now, AFTER, options)
        return compared(self.out)

    def _load(self, options: LoadOptions) -> LoadedMolmo | LoadedMolmo2:
        load = load_molmo2 if is_molmo2(self.base) else load_molmo
        return load(self.base, options, lambda share: self.on_progress(Progress('loading', share)))

    def _measure(
        self, loaded: LoadedMolmo | LoadedMolmo2, called: str, name: str, options: LoadOptions
    ) -> None:
        if not self.images.held_out:
            return
        told = settings_of(self.folder, called, identity_of(self.checkpoint, options))
        engine = LocalEngine(loaded, max_frames=1)
        try:
            measure(
                engine,
                self.images.held_out,
                self.out / name,
                told,
                lambda share: self.on_progress(Progress('measuring', share)),
                self.should_stop,
            )
        finally:
            engine.close()


@dataclass(frozen=True)
class _Begun:
    """What must be the same to go on."""

    base: str
    points: str
    settings: FinetuneSettings
    quantize: str

    def fields(self) -> dict[str, Any]:
        plain: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.settings).items()
            if name != 'steps'
        }
        return {'checkpoint': self.base, POINTS: self.points, **plain, 'quantize': self.quantize}


def _check_base(base: Path, out: Path, quantize: str) -> None:
    if model_type(base) == 'molmo_point':
        raise UnsupportedCheckpoint(
            f'{base} is a MolmoPoint, and only Molmo of the first generation (MolmoE-1B, 7B-O, '
            '7B-D, 72B and the demo checkpoint) and Molmo2 are fine-tuned here'
        )
    if quantize == 'int8':
        raise ValueError('nothing is learnt through int8 weights; quantize int4, or not at all')
    if (out / 'config.json').exists():
        raise ValueError(f'{out} holds a checkpoint; name another folder for the adapter')


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _read_state(out: Path, begun: _Begun) -> dict[str, Any] | None:
    path = out / STATE
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
    loaded: LoadedMolmo | LoadedMolmo2,
    settings: FinetuneSettings,
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
        write_rehearsal(rehearsal, path, folder)
    return read_rehearsal(path, folder)
