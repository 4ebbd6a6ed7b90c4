# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros fetch CHECKPOINT`: download a checkpoint. Nothing else downloads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.errors import UserError


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    checkpoint = parser().parse_args(argv).checkpoint
    from molmo_ros.engine import EngineError, fetch_checkpoint

    try:
        folder = fetch_checkpoint(checkpoint)
    except EngineError as error:
        raise UserError(str(error)) from error
    print(folder)
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros fetch',
        description='Download a checkpoint from the hub: safetensors and text, no code. Prints the '
        'folder; afterwards the same id works without a network.',
    )
    parser.add_argument(
        'checkpoint',
        metavar='OWNER/NAME[@REVISION]',
        help='for example allenai/Molmo2-ER, allenai/MolmoPoint-8B or allenai/Molmo-7B-D-0924; a '
        'commit as revision pins it',
    )
    return parser
