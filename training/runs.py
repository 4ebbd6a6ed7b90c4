# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every training stage needs: schedule, log, checkpoints that resume."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molmo_ros.model.loading import load_model, read_config
from molmo_ros.model.options import LoadOptions
from training import workers


def device() -> torch.device:
    """Where to train: a GPU where there is one."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def autocast(bfloat16: bool) -> AbstractContextManager[object]:
    """For matrix products in bfloat16."""
    return torch.autocast(device().type, torch.bfloat16) if bfloat16 else nullcontext()


class Run:
    """One stage's folder: `state.pt` to resume from, `log.csv` to plot."""

    def __init__(self, folder: Path, steps: int, peak_lr: float, warmup: int = 100) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.steps, self.peak_lr, self.warmup = folder, steps, peak_lr, warmup
        self.step = 0
        self._seconds = 0.0
        self._since = time.monotonic()

    def resume(self, modules: nn.Module, optimizer: Optimizer) -> None:
        path = self.folder / 'state.pt'
        if not path.exists():
            return
        state = torch.load(path, map_location='cpu', weights_only=True)
        modules.load_state_dict(state['modules'])
        optimizer.load_state_dict(state['optimizer'])
        self.step, self._seconds = state['step'], state['seconds']

    def save(self, modules: nn.Module, optimizer: Optimizer) -> None:
        """For all workers, by the first of them."""
        if workers.number():
            return
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

    def set_lr(self, optimizer: Optimizer) -> None:
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


def checkpoint_weights(folder: Path) -> dict[str, Tensor]:
    """Those of a checkpoint folder in float32, on the CPU: a GPU would round them by default."""
    model = load_model(folder, read_config(folder), LoadOptions('cpu', 'float32'))
    weights: dict[str, Tensor] = model.state_dict()
    return weights


class Optimizer:
    """Muon for the matrices of `hidden` modules, AdamW for all else; biases and norms are not
    decayed."""

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        matrices = [group for group in groups if group['hidden']]
        others = [group for group in groups if not group['hidden']]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=1e-3, betas=(0.9, 0.98)),
            # Its rate is AdamW's then.
            Muon(matrices, lr=1e-3, adjust_lr_fn='match_rms_adamw'),
        ]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self) -> None:
        for part in self._parts:
            part.zero_grad()

    def step(self) -> None:
        for part in self._parts:
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


class Muon(torch.optim.Muon):
    """torch's, with its products in float32.

    torch multiplies in bfloat16, which takes a CPU without instructions for it about as long as
    all else in a training step. With Nesterov's momentum and for `adjust_lr_fn='match_rms_adamw'`.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            kept = group['momentum']
            for weight in group['params']:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if 'momentum_buffer' not in state:
                    state['momentum_buffer'] = torch.zeros_like(weight)
                momentum = state['momentum_buffer'].lerp_(weight.grad, 1 - kept)
                update = _orthogonal(weight.grad.lerp(momentum, kept), group)
                weight.mul_(1 - group['lr'] * group['weight_decay'])
                weight.sub_(update, alpha=0.2 * math.sqrt(max(weight.shape)) * group['lr'])


def _orthogonal(matrix: Tensor, group: dict[str, Any]) -> Tensor:
    """Newton and Schulz's iteration, that brings all singular values near 1.

    Source: https://kellerjordan.github.io/posts/muon/
    """
    a, b, c = group['ns_coefficients']
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T.contiguous()
    wide = wide / wide.norm().clamp(min=group['eps'])
    for _ in range(group['ns_steps']):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if wide.shape == matrix.shape else wide.T


def parameter_groups(
    modules: nn.Module,
    hidden: nn.Module,
    share: float = 1.0,
    but: Sequence[nn.Parameter] = (),
    weight_decay: float = 0.02,
) -> list[dict[str, Any]]:
    """The parameters of modules, for an `Optimizer`.

    hidden: those of the modules that are between the first and the last layer. share: of the
    schedule's rate. but: parameters of the modules that are left out.
    """
    inner = {id(p) for p in hidden.parameters() if p.dim() == 2}
    left_out = {id(p) for p in but}
    parameters = [p for p in modules.parameters() if id(p) not in left_out]
    kinds = {
        'hidden': [p for p in parameters if id(p) in inner],
        'outer': [p for p in parameters if p.dim() >= 2 and id(p) not in inner],
        'vectors': [p for p in parameters if p.dim() < 2],
    }
    return [
        {
            'params': of_kind,
            'hidden': kind == 'hidden',
            'weight_decay': 0.0 if kind == 'vectors' else weight_decay,
            'share': share,
        }
        for kind, of_kind in kinds.items()
    ]
