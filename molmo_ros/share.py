# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the files beside the modules are: models, config, launch."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def share_folder() -> Path:
    """The folder that holds models/, config/ and launch/: the checkout, or share/molmo_ros.

    Raises FileNotFoundError if there is none, which means that the package is not installed whole.
    """
    prefixes = [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]
    checkout = Path(__file__).parents[1]
    for folder in [checkout, *(Path(prefix) / 'share/molmo_ros' for prefix in prefixes if prefix)]:
        if (folder / 'package.xml').is_file():
            return folder
    raise FileNotFoundError(
        f'no share/molmo_ros in {sys.prefix} or AMENT_PREFIX_PATH: install the package, or source '
        'the setup file of its workspace'
    )
