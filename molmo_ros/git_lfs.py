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


def pointers_in(folder: Path) -> list[str]:
    """Names of a folder's files that are pointers, sorted; none where it cannot be read."""
    return sorted(path.name for path in _small_files(folder) if is_pointer(_content(path)))


def _small_files(folder: Path) -> list[Path]:
    try:
        files = [path for path in folder.iterdir() if path.is_file()]
        return [path for path in files if path.stat().st_size <= _LONGEST]
    except OSError:
        return []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b''
