# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A function of tensors, replayed as a CUDA graph."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

MOST = 64  # captures kept, those used last
# What a replay may be off, because kernels are chosen anew for a capture, and the share of its
# numbers that may be off by more. In 16 bits those are hidden states, which have no size of their
# own: other kernels made half of them differ by more than 0.05 after 28 layers, and all together by
# 1.4 % of their norm. There it is a share of a row's median.
CLOSE, ROUNDED = 0.05, 0.5
_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """What captures a function's work on a device.

    device: where inputs lie. record: returns what does the work again, with the same inputs and
    output. forget: nothing that was recorded will be played again.
    """

    device: torch.device

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]: ...
    def forget(self) -> None: ...


class CudaRecorder:
    """See `Recorder`; of one CUDA device, whichever is the current one."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)
        self.forget()

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Raises RuntimeError for what cannot be captured."""
        with torch.cuda.device(self.device):
            before = torch.cuda.current_stream()
            self._stream.wait_stream(before)
            try:
                with torch.cuda.stream(self._stream):
                    for _ in range(2):  # lets libraries choose and allocate before the capture
                        work()
                graph = torch.cuda.CUDAGraph()
                # Other threads of the process may use the device meanwhile.
                with torch.cuda.graph(
                    graph, self._pool, self._stream, capture_error_mode='thread_local'
                ):
                    output = work()
            finally:
                torch.cuda.set_stream(before)  # a capture that fails leaves its own
            before.wait_stream(self._stream)
        return graph.replay, output

    def forget(self) -> None:
        """Shared by all captures: they never run side by side, and outputs are read at once."""
        with torch.cuda.device(self.device):
            self._pool: Any = torch.cuda.graph_pool_handle()


@dataclass(frozen=True)
class _Captured:
    replay: Callable[[], None]
    inputs: tuple[Tensor, ...]
    output: Tensor


def _median(states: Tensor) -> Tensor:
    """(..., n) -> (..., 1): a few numbers of hidden states are a thousand times the others."""
    return states.float().abs().median(dim=-1, keepdim=True).values


class Replay:
    """Calls a function of tensors; on CUDA it is captured once per shape and replayed after.

    A decoding step is some hundred small kernels, and launching them takes longer than running
    them. What cannot be captured (it looks at values on the host) runs as it is, and the log says
    so: `refused` is why. enabled: whether to capture at all. recorder: by default one for the
    device of the first input.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        enabled: bool,
        recorder: Recorder | None = None,
    ) -> None:
        self._function = function
        self._enabled, self._recorder = enabled, recorder
        self._captured: OrderedDict[tuple[object, ...], _Captured] = OrderedDict()
        self.refused = ''

    def __len__(self) -> int:
        """How many captures are kept."""
        return len(self._captured)

    def __call__(self, *inputs: Tensor, **sizes: int) -> Tensor:
        """The output is overwritten by the next call. Inputs may lie in the host's memory."""
        if not self._enabled:
            return self._function(*inputs, **sizes)
        recorder = self._recorder = self._recorder or CudaRecorder(inputs[0].device)
        shapes = (*(tensor.shape for tensor in inputs), *sorted(sizes.items()))
        captured = self._captured.get(shapes)
        if captured is None:
            there = tuple(tensor.to(recorder.device, copy=True) for tensor in inputs)
            try:
                captured = self._capture(recorder, there, sizes)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._refuse(recorder, str(error))
                return self._function(*there, **sizes)
            self._captured[shapes] = captured
            if len(self._captured) > MOST:
                self._captured.popitem(last=False)
        self._captured.move_to_end(shapes)
        for static, tensor in zip(captured.inputs, inputs, strict=True):
            static.copy_(tensor, non_blocking=True)
        captured.replay()
        return captured.output

    def forget(self) -> None:
        """Drop what was captured: memory that it refers to has moved."""
        self._captured.clear()
        if self._recorder is not None:
            self._recorder.forget()

    def _capture(
        self, recorder: Recorder, static: tuple[Tensor, ...], sizes: dict[str, int]
    ) -> _Captured:
        expected = self._function(*static, **sizes).clone()
        replay, output = recorder.record(lambda: self._function(*static, **sizes))
        output.fill_(float('nan'))  # an empty capture would give what was there before, for ever
        replay()
        off = (output - expected).abs().float().nan_to_num(float('inf'))
        wrong = off > (CLOSE if expected.dtype == torch.float32 else _median(expected) * ROUNDED)
        # Near ties may be decided otherwise; a capture that is wrong is wrong nearly everywhere.
        if wrong.float().mean() > CLOSE:
            raise RuntimeError('its replay does not give what it gave')
        return _Captured(replay, static, output)

    def _refuse(self, recorder: Recorder, why: str) -> None:
        self._enabled, self.refused = False, why.splitlines()[0] if why else 'unknown'
        self.forget()
        _log.warning(
            'passes are not captured as CUDA graphs on %s, and are slower: %s',
            recorder.device,
            self.refused,
        )
