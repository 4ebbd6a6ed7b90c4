# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that comes with the package."""

from __future__ import annotations

from pathlib import Path

from molmo_ros.share import share_folder

RENDERED_ONLY = (
    'no checkpoint was named: the demo checkpoint knows rendered tables only. For photographs: '
    'molmo-ros fetch allenai/Molmo2-4B, the smallest release (19 GB to download; in bfloat16 about '
    "11 GB of memory and, by its size, about a minute a question on a laptop's processor)"
)
"""What users should know who named no checkpoint. Its memory is docs/checkpoints.md's and 15 %; its
time is that of 9 TFLOP, what a picture of 640x480 takes, and was not measured."""


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
