# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is done about captured passes, with a recorder that stands in for a GPU.

`python -m benchmarks.gpu` tries the same with real captures.
"""

import logging

import pytest
import torch

from benchmarks.random_molmo import random_molmo, tiny_config
from molmo_ros.model.experts import experts_at_once, has_plain_experts
from molmo_ros.model.options import choose_device
from molmo_ros.model.replay import MOST, Replay


class Recorder:
    """Plays a function again, into the same output; error: what a capture ends in; change: what
    its kernels make of what others give."""

    device = torch.device('cpu')

    def __init__(self, error=None, plays=True, change=lambda output: output):
        self.error, self.plays, self.recorded, self.forgotten = error, plays, 0, 0
        self.change = change

    def record(self, work):
        self.recorded += 1
        if self.error is not None:
            raise self.error
        output = work().clone()
        return (lambda: output.copy_(self.change(work())) if self.plays else None), output

    def forget(self):
        self.forgotten += 1


def doubled(x, times=1):
    return x * 2 * times


def test_a_shape_is_captured_once_and_played_with_what_it_is_given():
    recorder = Recorder()
    replay = Replay(doubled, True, recorder)
    for value in (1.0, 5.0):
        assert torch.equal(replay(torch.full((3,), value)), torch.full((3,), 2 * value))
    assert recorder.recorded == 1
    assert torch.equal(replay(torch.ones(3), times=4), torch.full((3,), 8.0))
    assert recorder.recorded == 2


def test_an_empty_capture_is_refused_aloud(caplog):
    """It would give its first output for ever: every later answer would be that of another pass."""
    replay = Replay(doubled, True, Recorder(plays=False))
    with caplog.at_level(logging.WARNING):
        for value in (1.0, 7.0):
            assert torch.equal(replay(torch.full((4,), value)), torch.full((4,), 2 * value))
    assert 'not captured' in caplog.text and replay.refused


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_states_in_16_bits_may_differ_as_they_do_between_kernels_and_not_by_more(dtype):
    """MolmoPoint's passes end in these, of any size: refused, each would take the longer way."""
    random = torch.Generator().manual_seed(0)
    states = torch.randn(8, 512, generator=random)
    noise = torch.randn(8, 512, generator=random)
    states[:, 7] *= 1000
    for size in (0.2, 40.0):
        x = (size * states).to(dtype)
        rounded = Recorder(change=lambda output: output * (1 + 0.03 * noise).to(dtype))
        others = Recorder(change=lambda output: output.flip(0))
        for recorder, refused in ((rounded, False), (others, True)):
            replay = Replay(doubled, True, recorder)
            replay(x)
            assert bool(replay.refused) is refused
    probabilities = Replay(doubled, True, Recorder(change=lambda output: output + 0.1))
    probabilities(torch.rand(8, 12))
    assert probabilities.refused


def test_what_cannot_be_captured_runs_as_it_is_and_is_not_tried_again(caplog):
    recorder = Recorder(RuntimeError('operation not permitted when stream is capturing\nmore'))
    replay = Replay(doubled, True, recorder)
    for value in (1.0, 7.0):
        assert torch.equal(replay(torch.full((4,), value)), torch.full((4,), 2 * value))
    assert recorder.recorded == 1 and recorder.forgotten == 1
    assert replay.refused == 'operation not permitted when stream is capturing'


def test_lack_of_memory_is_told_and_is_no_reason_to_give_captures_up():
    recorder = Recorder(torch.OutOfMemoryError('CUDA out of memory'))
    replay = Replay(doubled, True, recorder)
    with pytest.raises(torch.OutOfMemoryError):
        replay(torch.ones(4))
    recorder.error = None
    assert torch.equal(replay(torch.ones(4)), torch.full((4,), 2.0))
    assert not replay.refused


def test_captures_are_bounded_and_those_used_last_stay():
    recorder = Recorder()
    replay = Replay(doubled, True, recorder)
    for size in range(1, MOST + 5):
        replay(torch.ones(size))
        replay(torch.ones(1))
    assert len(replay) == MOST
    before = recorder.recorded
    replay(torch.ones(1))
    assert recorder.recorded == before
    replay.forget()
    assert len(replay) == 0 and recorder.forgotten == 1


@pytest.mark.parametrize('rows', [1, 2, 3, 9, 64])
def test_experts_that_are_computed_at_once_are_those_of_transformers(rows):
    """Of few rows the chosen ones, of more all: without the routing there is no capture."""
    block = random_molmo(tiny_config('olmoe'), 5).text.layers[1].mlp
    assert has_plain_experts(block)
    x = torch.randn(rows, 64, generator=torch.Generator().manual_seed(rows))
    with torch.inference_mode():
        ours, theirs = experts_at_once(block, x), block(x[None])[0]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_gpu_that_there_is_not_is_said_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert choose_device('cuda:1') == torch.device('cuda', 1)
    with pytest.raises(ValueError, match='torch sees 2 CUDA devices'):
        choose_device('cuda:2')
