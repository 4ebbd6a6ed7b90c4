# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The script that is run once on a borrowed GPU must not fail there for reasons of its own."""

import json
import sys
from itertools import product

from benchmarks import gpu
from benchmarks.engine import CASES, Rates


def test_it_checks_times_and_writes_with_what_is_here(tmp_path, monkeypatch):
    for name in ('molmoe-1b-tiny', 'molmo-point-tiny-b'):  # their own tests have them all
        (tmp_path / name).symlink_to(gpu.GOLDENS / name)
    monkeypatch.setattr(gpu, 'GOLDENS', tmp_path)
    monkeypatch.setattr(gpu, 'FAMILIES', ('qwen2',))  # and test_identity.py
    monkeypatch.setattr(gpu, 'TYPES', ('float32',))
    monkeypatch.setattr(gpu, 'SPOKEN', (CASES[0], CASES[1], CASES[5]))
    monkeypatch.setattr(gpu, 'QUANTIZATIONS', ('none', 'int4'))
    monkeypatch.setattr(gpu, 'measure_rates', lambda model: Rates(1e11, 1e10))
    findings = gpu.run(5, tmp_path, repeats=1, questions=8)
    assert findings.right, findings.checks
    written = json.loads((tmp_path / 'gpu.json').read_text())
    assert len(written['checks']) == 2 + 3
    told = {(row['shape'], row['weights']): set() for row in written['timings']}
    for row in written['timings']:
        told[row['shape'], row['weights']].add(row['case'])
    shapes = ('7B-D, tiny', 'Molmo2-8B, tiny', 'MolmoPoint-8B, tiny')
    assert set(told) == set(product(shapes, ('float32', 'int4')))
    cases = {'cold', 'same frame', 'cold, 8 questions', '2 cameras, new pictures, at once'}
    assert all(some >= cases for some in told.values())
    page = (tmp_path / 'gpu.md').read_text()
    assert '| 7B-D, tiny | float32 | cold |' in page
    for way, error in (
        ('int8, here', 0.02),
        ('int4, here', 0.2),
        ('int4, torch, groups of 64', 0.2),
    ):
        (told,) = (one for one in written['products'] if one['way'] == way)
        assert 0 < told['error'] < error and set(told['us']) == {'1', '4'}
        assert f'| demo-down | {way} |' in page
    assert 'int4, torchao, groups of 64: only for bfloat16' in page


def test_what_fails_or_has_no_time_left_is_said_and_ends_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    monkeypatch.setitem(sys.modules, 'benchmarks.gpu_molmo2', None)  # as before transformers 5.20
    monkeypatch.setattr(gpu, 'goldens', broken)
    monkeypatch.setattr(gpu, 'identity', lambda *_: setattr(gpu.time, 'monotonic', lambda: 1e12))
    monkeypatch.setattr(gpu.time, 'monotonic', lambda: 0.0)
    findings = gpu.run(1, tmp_path)
    assert not findings.right and len(findings.checks) == 2
    page = (tmp_path / 'gpu.md').read_text()
    assert 'Molmo2 and MolmoPoint: transformers' in page
    assert 'FAILED | RuntimeError: CUDA error' in page
    assert 'speed of 7B-D, quantize none: no time was left' in page
