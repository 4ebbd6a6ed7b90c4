# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everybody who clones the package carries every version of every file, for good."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = {'build', 'dist', 'install', 'log', 'demo_output'}
LIMIT = 1_000_000
# Larger ones, up to how many bytes, each with its reason.
LARGE = {
    # The demo works without a network: 6.0 million weights of 16 bits.
    'models/tabletop/model.safetensors': 12_200_000,
    # Random weights that cannot be drawn again everywhere (tests/model/test_goldens.py says why),
    # and what the reference made of them and of the picture in the file, uncompressed.
    'tests/model/goldens/molmo-72b-tiny/model.safetensors': 4_600_000,
    'tests/model/goldens/molmo-72b-tiny/expected.safetensors': 1_100_000,
    'tests/model/goldens/molmo-7b-d-tiny/model.safetensors': 4_300_000,
    'tests/model/goldens/molmo-7b-d-tiny/expected.safetensors': 1_100_000,
    'tests/model/goldens/molmo-7b-o-tiny/model.safetensors': 4_400_000,
    'tests/model/goldens/molmo-7b-o-tiny/expected.safetensors': 3_000_000,
    'tests/model/goldens/molmoe-1b-tiny/model.safetensors': 4_700_000,
    'tests/model/goldens/molmoe-1b-tiny/expected.safetensors': 1_100_000,
}


def kept_files() -> dict[str, int]:
    """Bytes of each file that git keeps; where this is no clone, of each that was not made here."""
    if (ROOT / '.git').exists() and shutil.which('git'):
        command = ['git', '-c', 'safe.directory=*', 'ls-files', '-z']
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [ROOT / name for name in listed.stdout.split('\0') if name]
    else:
        tops = [p for p in ROOT.iterdir() if not p.name.startswith('.') and p.name not in MADE]
        paths = [q for p in tops for q in (p, *p.rglob('*'))]
    files = [path for path in paths if path.is_file()]
    return {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in files}


def test_no_file_is_large_but_those_with_a_reason() -> None:
    sizes = kept_files()
    assert 'package.xml' in sizes
    too_large = {name: size for name, size in sizes.items() if size > LARGE.get(name, LIMIT)}
    assert not too_large, 'make these smaller, or give the reason in LARGE'


def test_every_reason_is_still_needed() -> None:
    sizes = kept_files()
    assert [name for name in LARGE if sizes.get(name, 0) <= LIMIT] == []
