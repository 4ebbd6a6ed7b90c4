# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros fetch CHECKPOINT`: download a checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from molmo_ros.errors import UserError


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    checkpoint = parser().parse_args(argv).checkpoint
    from molmo_ros.engine import EngineError, fetch_checkpoint

    try:
        folder = fetch_checkpoint(checkpoint, lambda told: print(told, file=sys.stderr, flush=True))
    except EngineError as error:
        raise UserError(str(error)) from error
    print(folder)
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros fetch',
        description='Download a checkpoint from the hub: safetensors and text, no code. Says first '
        'how large it is and how much room there is; prints the folder. Afterwards the same id '
        'works without a network.',
        epilog='environment: HF_HOME is where it goes, HF_TOKEN who asks, HF_ENDPOINT another '
        'hub. Pictures of data sets: molmo-ros fetch pictures --help',
    )
    parser.add_argument(
        'checkpoint',
        metavar='OWNER/NAME[@REVISION]',
        help='for example allenai/Molmo2-ER, allenai/MolmoPoint-8B or allenai/Molmo-7B-D-0924; a '
        'commit as revision pins it',
    )
    return parser
