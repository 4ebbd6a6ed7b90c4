# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The script that is run once on a borrowed GPU must not fail there for reasons of its own."""

import json

from benchmarks import gpu
from benchmarks.engine import Rates


def test_it_checks_times_and_writes_with_what_is_here(tmp_path, monkeypatch):
    (tmp_path / 'one').symlink_to(gpu.GOLDENS / 'molmoe-1b-tiny')  # test_goldens.py has them all
    monkeypatch.setattr(gpu, 'GOLDENS', tmp_path)
    monkeypatch.setattr(gpu, 'FAMILIES', ('qwen2',))  # and test_identity.py
    monkeypatch.setattr(gpu, 'QUANTIZATIONS', ('none', 'int4'))
    monkeypatch.setattr(gpu, 'measure_rates', lambda model: Rates(1e11, 1e10))
    findings = gpu.run(5, tmp_path, repeats=1, questions=8)
    assert findings.right, findings.checks
    written = json.loads((tmp_path / 'gpu.json').read_text())
    assert len(written['checks']) == 2 + 2
    assert {row['case'] for row in written['timings']} >= {'cold', 'same frame'}
    assert '| float32 | cold |' in (tmp_path / 'gpu.md').read_text()


def test_what_fails_or_has_no_time_left_is_said_and_ends_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    monkeypatch.setattr(gpu, 'goldens', broken)
    monkeypatch.setattr(gpu, 'identity', lambda *_: setattr(gpu.time, 'monotonic', lambda: 1e12))
    monkeypatch.setattr(gpu.time, 'monotonic', lambda: 0.0)
    findings = gpu.run(1, tmp_path)
    assert not findings.right and len(findings.checks) == 2
    page = (tmp_path / 'gpu.md').read_text()
    assert 'FAILED | RuntimeError: CUDA error' in page
    assert 'speed, quantize none: no time was left' in page
