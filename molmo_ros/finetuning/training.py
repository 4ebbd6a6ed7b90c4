# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a folder of pictures with points to an adapter; stopped, it goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from molmo_ros.engine import Stopped, never
from molmo_ros.engine.local import LocalEngine
from molmo_ros.evaluation.points_folder import IMAGES, POINTS, LabelledImage, read_folder
from molmo_ros.finetuning.finetune_settings import FinetuneSettings
from molmo_ros.finetuning.learning import STATE, Learner, Outcome, Progress
from molmo_ros.finetuning.lessons import Lessons, views_of
from molmo_ros.finetuning.lora import check_peft
from molmo_ros.finetuning.rehearsal import Rehearsal, read_rehearsal, rehearse, write_rehearsal
from molmo_ros.model.adapter import base_digest
from molmo_ros.model.config import UnsupportedCheckpoint, model_type
from molmo_ros.model.hub import checkpoint_folder
from molmo_ros.model.loading import LoadedMolmo, load_molmo
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
    should_stop: Callable[[], bool] = never,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Outcome:
    """Learn from `folder` (see `folder.read_folder`); write an adapter for `checkpoint` to `out`.

    `checkpoint`, `device`, `dtype` and `quantize` as in `load_engine`, but for 'int8'. What is
    needed to go on lies in `out`/training; called again it goes on, and `should_stop` is asked
    before every step. Raises ValueError (InvalidFolder and UnsupportedCheckpoint among them),
    OSError and EngineError; the messages say what to do.
    """
    settings = settings or FinetuneSettings()
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
    lessons = Lessons(images, rehearsal, loaded, settings)
    lessons.check_lengths()
    learner = Learner(loaded, lessons, settings, out, str(checkpoint), begun.base, begun.fields())
    if state:
        learner.resume(state)
    return learner.run(should_stop, on_progress)


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
    later = {'molmo2': 'Molmo2', 'molmo_point': 'MolmoPoint'}.get(model_type(base))
    if later is not None:
        raise UnsupportedCheckpoint(
            f'{base} is a {later}, and only Molmo of the first generation (MolmoE-1B, 7B-O, 7B-D, '
            '72B and the demo checkpoint) is fine-tuned here'
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
    loaded: LoadedMolmo,
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
        write_rehearsal(rehearsal, path)
    return read_rehearsal(path, folder / IMAGES)
