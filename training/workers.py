# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training in several processes of one thread each, which share their gradients.

On a CPU two of them make more steps than one process with two threads. Each has scenes of its own,
so that together they take no more memory than one. Alone, without `run`, all of this does nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import distributed, multiprocessing, nn


def run(count: int, function: Callable[..., None], *arguments: Any, **named: Any) -> None:
    """Call `function` in `count` processes at once; in this one where that is one."""
    call = partial(function, *arguments, **named)
    if count == 1:
        call()
        return
    with tempfile.TemporaryDirectory() as folder:
        store = f'file://{folder}/store'
        multiprocessing.spawn(_work, (count, store, call), nprocs=count)


def _work(number: int, count: int, store: str, call: Callable[[], None]) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    distributed.init_process_group('gloo', init_method=store, rank=number, world_size=count)
    call()
    distributed.destroy_process_group()


def number() -> int:
    """Of this process; the first one logs and saves."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def seed(step: int) -> None:
    """So that each worker draws other scenes, and after a resumption others than before."""
    torch.manual_seed(1000 * step + number())


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Over all workers, of what has any."""
    average([p.grad for p in parameters if p.grad is not None])


@torch.no_grad()
def average(tensors: list[torch.Tensor]) -> None:
    """Over all workers, in place."""
    if count() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= count()
    for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
