# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A function of tensors, replayed as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor


class Replay:
    """Calls a function of tensors; on CUDA it is captured once per shape and replayed after.

    A decoding step is some hundred small kernels, and launching them takes longer than running
    them. What cannot be captured (it looks at values on the host) runs as it is.
    """

    def __init__(self, function: Callable[..., Tensor], enabled: bool) -> None:
        self._function = function
        self._enabled = enabled
        # Shared by all captures: they never run side by side, and outputs are read at once.
        self._pool = torch.cuda.graph_pool_handle() if enabled else None
        self._captured: dict[tuple[torch.Size, ...], _Captured] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The output is overwritten by the next call."""
        if not self._enabled:
            return self._function(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._captured:
            try:
                self._captured[shapes] = self._capture(inputs)
            except RuntimeError:
                self._enabled = False
                self.forget()
                torch.cuda.synchronize()
                return self._function(*inputs)
        captured = self._captured[shapes]
        for static, tensor in zip(captured.inputs, inputs, strict=True):
            static.copy_(tensor)
        captured.graph.replay()
        return captured.output

    def forget(self) -> None:
        """Drop what was captured: memory that it refers to has moved."""
        self._captured.clear()

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Captured:
        static = tuple(tensor.clone() for tensor in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # lets libraries choose and allocate before the capture
                self._function(*static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = self._function(*static)
        return _Captured(graph, static, output)
