# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How figures are written, and files: whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from molmo_ros.errors import UserError


@contextmanager
def whole_file(path: Path, also: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """A path in the same folder to write to; it becomes `path` at the end, or is removed.

    What is no file (/dev/stdout) is written to as it is. also: what the one who writes raises when
    it cannot, beside OSError. Raises UserError.
    """
    in_place = path.exists() and not path.is_file()
    real = path if in_place else Path(os.path.realpath(path))
    failures: tuple[type[Exception], ...] = (OSError, *also)
    partial = real if in_place else real.with_name(f'.{real.name}.{os.getpid()}.part')
    try:
        yield partial
        if not in_place:
            with partial.open('rb') as written:
                os.fsync(written.fileno())
            partial.replace(real)
    except failures as error:
        why = getattr(error, 'strerror', None) or str(error).partition('\n')[0]
        raise UserError(f'{path} cannot be written: {why}') from error
    finally:
        if not in_place:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all; texts as UTF-8. Raises UserError."""
    with whole_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def as_json(value: Any, indent: int | None = 2) -> str:
    """JSON in the strict sense: what is not a finite number becomes null. indent None: one line."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def millimetres(metres: float) -> str:
    """'1.2 mm'; '-' where there is none."""
    return f'{1000 * metres:.1f} mm' if math.isfinite(metres) else '-'


def seconds(value: float) -> str:
    """'0.42 s'; '-' where there is none."""
    return f'{value:.2f} s' if math.isfinite(value) else '-'


def xyz(position: np.ndarray) -> str:
    """'+0.031 -0.052 +0.712'; '-' where there is none."""
    return ' '.join(f'{c:+.3f}' for c in position) if np.isfinite(position).all() else '-'
