# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that comes with the package."""

from __future__ import annotations

from pathlib import Path

from molmo_ros.share import share_folder


def default_checkpoint() -> Path:
    """The folder of the demo checkpoint: trained on the rendered tabletop, and good for that only.

    Raises FileNotFoundError, with what to do, where the package was installed without it.
    """
    folder = share_folder() / 'models/tabletop'
    if not (folder / 'config.json').is_file():
        raise FileNotFoundError(
            f'the demo checkpoint is not in {folder}: name another checkpoint, or fetch the '
            'repository whole'
        )
    return folder
