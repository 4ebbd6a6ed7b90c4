# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every source file keeps to."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = '# Copyright 2026 The molmo_ros authors\n# SPDX-License-Identifier: Apache-2.0\n'
BUILT = {'build', 'install', 'log', 'demo_output'}


def sources() -> list[Path]:
    tops = [p for p in ROOT.iterdir() if not p.name.startswith('.') and p.name not in BUILT]
    return [p for p in tops if p.suffix == '.py'] + [q for p in tops for q in p.rglob('*.py')]


def test_every_module_names_its_licence():
    without = [str(p.relative_to(ROOT)) for p in sources() if not p.read_text().startswith(HEADER)]
    assert not without


@pytest.mark.parametrize(
    'check', ['ruff check .', 'ruff format --check .', 'mypy'], ids=['lint', 'format', 'types']
)
def test_checkers_find_nothing(check):
    command = [sys.executable, '-m', *check.split()]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
