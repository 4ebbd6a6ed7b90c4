# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every training stage needs: schedule, log, checkpoints that resume."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn


def device() -> torch.device:
    """Where to train: a GPU where there is one."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


class Run:
    """One stage's folder: `state.pt` to resume from, `log.csv` to plot."""

    def __init__(self, folder: Path, steps: int, peak_lr: float, warmup: int = 100) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.steps, self.peak_lr, self.warmup = folder, steps, peak_lr, warmup
        self.step = 0
        self._seconds = 0.0
        self._since = time.monotonic()

    def resume(self, modules: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        path = self.folder / 'state.pt'
        if not path.exists():
            return
        state = torch.load(path, map_location='cpu', weights_only=True)
        modules.load_state_dict(state['modules'])
        optimizer.load_state_dict(state['optimizer'])
        self.step, self._seconds = state['step'], state['seconds']

    def save(self, modules: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = {
            'modules': modules.state_dict(),
            'optimizer': optimizer.state_dict(),
            'step': self.step,
            'seconds': self.seconds,
        }
        partial = self.folder / 'state.part'
        torch.save(state, partial)
        partial.rename(self.folder / 'state.pt')

    @property
    def seconds(self) -> float:
        """Time spent training, over all resumptions."""
        return self._seconds + time.monotonic() - self._since

    def lr(self) -> float:
        """Linear warm-up, then cosine to a twentieth of the peak."""
        if self.step < self.warmup:
            return self.peak_lr * (self.step + 1) / self.warmup
        done = min(1.0, (self.step - self.warmup) / max(1, self.steps - self.warmup))
        return self.peak_lr * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))

    def set_lr(self, optimizer: torch.optim.Optimizer) -> None:
        """Each group's share of the present rate."""
        for group in optimizer.param_groups:
            group['lr'] = group.get('share', 1.0) * self.lr()

    def log(self, **values: Any) -> None:
        row = {'step': self.step, 'seconds': round(self.seconds, 1), **values}
        path = self.folder / 'log.csv'
        new = not path.exists()
        with path.open('a', newline='') as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(
            '  '.join(
                f'{k} {v:.4g}' if isinstance(v, float) else f'{k} {v}' for k, v in row.items()
            ),
            flush=True,
        )


def load_modules(folder: Path, *modules: nn.Module) -> None:
    """Fill the first modules of those that a run left in its folder."""
    state = torch.load(folder / 'state.pt', map_location='cpu', weights_only=True)['modules']
    for number, module in enumerate(modules):
        lead = f'{number}.'
        module.load_state_dict(
            {k.removeprefix(lead): v for k, v in state.items() if k.startswith(lead)}
        )


def optimizer_for(
    modules: nn.Module,
    weight_decay: float = 0.02,
    share: float = 1.0,
    but: Sequence[nn.Parameter] = (),
) -> torch.optim.AdamW:
    """AdamW; biases, norms and embeddings are not decayed.

    share: of the schedule's rate. but: parameters of the modules that are left out.
    """
    return torch.optim.AdamW(
        parameter_groups(modules, weight_decay, share, but), lr=1e-3, betas=(0.9, 0.98)
    )


def parameter_groups(
    modules: nn.Module,
    weight_decay: float = 0.02,
    share: float = 1.0,
    but: Sequence[nn.Parameter] = (),
) -> list[dict[str, Any]]:
    """What is decayed, and what is not."""
    parameters = [p for p in modules.parameters() if all(p is not other for other in but)]
    return [
        {
            'params': [p for p in parameters if p.dim() >= 2],
            'weight_decay': weight_decay,
            'share': share,
        },
        {'params': [p for p in parameters if p.dim() < 2], 'weight_decay': 0.0, 'share': share},
    ]
