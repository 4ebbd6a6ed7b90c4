# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files that git left in the place of large ones."""

from __future__ import annotations

from pathlib import Path

_BEGINS = b'version https://git-lfs.github.com/spec/'
_LONGEST = 1024

WHAT_TO_DO = 'a pointer of git-lfs, not the file itself: run `git lfs pull` in its repository'


def is_pointer(data: bytes) -> bool:
    """Whether a file's content only says where git-lfs keeps the real one."""
    return len(data) <= _LONGEST and data.removeprefix(b'\xef\xbb\xbf').startswith(_BEGINS)


def is_pointer_file(path: Path) -> bool:
    """Whether a file is one; False where it cannot be read."""
    try:
        with path.open('rb') as file:
            return is_pointer(file.read(_LONGEST + 1))
    except OSError:
        return False
