# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A device like CUDA on a machine without: it computes on the CPU, and refuses what CUDA refuses.

Its tensors say that they are on `device`. An operation on some of them and some of the CPU's is an
error, but for numbers, for copies from one to the other, and for indices that are on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_DEVICE = torch.device('meta')  # one that every build of torch knows
_COPIES = ('aten::_to_copy', 'aten::copy_')
_INDEXING = ('aten::index', 'aten::index_put', 'aten::index_put_', 'aten::_index_put_impl_')


class _There(Tensor):
    """A tensor of the device; here is what it holds."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> _There:
        made = Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=_DEVICE,
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(op, args, kwargs or {})

    def tolist(self) -> Any:
        return self.here.tolist()


class OtherDevice(TorchDispatchMode):
    """While this is entered, tensors can be sent `.to(device)` and made there."""

    device = _DEVICE

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(op, args, kwargs or {})


@pytest.fixture
def other_device() -> OtherDevice:
    return OtherDevice()


def _computed(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, _There)]
    _refuse_mixtures(op._schema.name, args, tensors)
    stays, kwargs = bool(there), dict(kwargs)
    if kwargs.get('device') is not None:
        stays = torch.device(kwargs['device']) == _DEVICE
        kwargs['device'] = torch.device('cpu')
    result = op(*tree_map(_here, args), **tree_map(_here, kwargs))

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        # What was changed in place stays the tensor that it was.
        same = [tensor for tensor in there if tensor.here is value]
        return same[0] if same else _There(value) if stays else value

    return tree_map(placed, result)


def _here(value: Any) -> Any:
    return value.here if isinstance(value, _There) else value


def _refuse_mixtures(name: str, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    if name in _INDEXING:
        filled = [args[2]] if len(args) > 2 else []
        tensors = [args[0], *filled]
        indices = [index for index in args[1] if isinstance(index, _There)]
        if indices and not isinstance(args[0], _There):
            raise RuntimeError(f'mixed devices: {name} of a CPU tensor at indices on the device')
    if name in _COPIES:
        return
    places = {isinstance(tensor, _There) for tensor in tensors if tensor.dim() > 0}
    if len(places) > 1:
        shapes = [(tensor.device.type, tuple(tensor.shape)) for tensor in tensors]
        raise RuntimeError(f'mixed devices: {name} of {shapes}')
