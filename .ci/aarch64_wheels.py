#!/usr/bin/env python3
# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Has all that a robot installs a wheel for ARM? Asks pip's resolver, which needs a registry.

.ci/aarch64_wheels.py [--alone]

Prints what pip would install for the Pythons of ROS 2 Humble (3.10) and Jazzy (3.12). Exit status:
0 where everything has a wheel, 1 where something has none. --alone asks about the named projects
only, not about what they need in turn: a minute instead of several.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ('3.10', '3.12')
# The C libraries up to that of Ubuntu 22.04.
PLATFORMS = (
    'manylinux_2_17',
    'manylinux2014',
    'manylinux_2_27',
    'manylinux_2_28',
    'manylinux_2_34',
)


def robot_requirements() -> list[str]:
    """The lines of pyproject.toml's dependencies."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    return list(project['dependencies'])


def would_install(python: str, requirements: list[str], options: list[str]) -> list[str]:
    """What pip would install for an ARM machine with that Python. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.json'
        command = [
            *(sys.executable, '-m', 'pip', 'install', '--quiet', '--dry-run', '--ignore-installed'),
            *('--report', str(report), '--target', folder, '--only-binary=:all:'),
            *('--implementation', 'cp', '--python-version', python),
            *(f'--platform={platform}_aarch64' for platform in PLATFORMS),
            *options,
            *requirements,
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(result.stderr.strip().splitlines()[-1])
        found = json.loads(report.read_text(encoding='utf-8'))['install']
    return sorted(item['download_info']['url'].rpartition('/')[2] for item in found)


def main() -> int:
    """Ask for each Python; returns the exit status."""
    options = ['--no-deps'] if '--alone' in sys.argv[1:] else []
    missing = False
    for python in PYTHONS:
        print(f'Python {python}, aarch64:')
        try:
            print(
                *(f'  {wheel}' for wheel in would_install(python, robot_requirements(), options)),
                sep='\n',
            )
        except RuntimeError as error:
            missing = True
            print(f'  {error}')
    return int(missing)


if __name__ == '__main__':
    sys.exit(main())
