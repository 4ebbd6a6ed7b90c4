# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the commands write. Words of users and models are shown as they are, never as markup."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import TextColumn

# Columns of what goes into a file or a pipe: so many that no line is wrapped.
_FILE_WIDTH = 10_000


def plain_console(**arguments: Any) -> Console:
    """A console to which square brackets and colons are just that; arguments are Console's.

    What shall be bold or coloured is given as a style, or as a rich Text.
    """
    console = Console(markup=False, highlight=False, emoji=False, **arguments)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)
    return console


def description_column() -> TextColumn:
    """What a task of a progress bar is doing, in words as they are."""
    return TextColumn('{task.description}', markup=False)
