# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every source file keeps to."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = '# Copyright 2026 The molmo_ros authors\n# SPDX-License-Identifier: Apache-2.0\n'
BUILT = {'build', 'install', 'log', 'demo_output'}

# What Python 3.10, that of ROS 2 Humble and of JetPack 6, does not have, who tells, and what.
NEWER = [
    ('mypy', 'from enum import StrEnum', 'no attribute "StrEnum"'),
    ('mypy', 'import tomllib', 'module named "tomllib"'),
    ('mypy', 'ValueError().add_note("of a callback")', 'no attribute "add_note"'),
    ('mypy', 'import shutil\nshutil.rmtree("folder", onexc=print)', 'argument "onexc"'),
    ('ruff check', 'try:\n    print()\nexcept* ValueError:\n    raise', 'on Python 3.10'),
    ('ruff check', "print(f'{dict(a=1)['a']}')", 'on Python 3.10'),
]
# What of rclpy is used, all of which Humble has; see there before adding to it.
IN_HUMBLE = {
    *('action', 'callback_groups', 'client', 'clock', 'context', 'duration', 'executors', 'impl'),
    *('lifecycle', 'logging', 'node', 'parameter', 'publisher', 'qos', 'signals', 'subscription'),
    *('serialization', 'time', 'topic_endpoint_info', 'utilities'),
}


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


@pytest.mark.parametrize('checker, code, told', NEWER)
def test_what_the_oldest_python_does_not_have_is_found(checker, code, told, tmp_path):
    path = tmp_path / 'newer.py'
    path.write_text(f'{code}\n')
    command = [sys.executable, '-m', *checker.split(), '--config', str(ROOT / 'pyproject.toml')]
    result = subprocess.run([*command, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and told in result.stdout, result.stdout + result.stderr


def test_of_rclpy_only_modules_are_used_that_humble_has():
    for path in (ROOT / 'molmo_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or '']
            used = {name.split('.')[1] for name in names if name.startswith('rclpy.')}
            assert used <= IN_HUMBLE, f'{path}: {used - IN_HUMBLE}'
