# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros finetune merge ADAPTER --out FOLDER`: a checkpoint that needs no adapter."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from molmo_ros.commands.engines import checkpoint_of, tell_what_answers
from molmo_ros.errors import UserError
from molmo_ros.evaluation.taught import read_taught, write_taught


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    arguments = parser().parse_args(argv)
    tell_what_answers(arguments)
    from molmo_ros.model.merging import merge_adapter

    try:
        folder = merge_adapter(
            checkpoint_of(arguments), arguments.adapter, arguments.out, arguments.dtype
        )
        write_taught(folder, read_taught(arguments.adapter))
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f'{error.filename or arguments.out}: {error.strerror}') from error
    print(folder)
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros finetune merge',
        description='Add an adapter to the weights of the checkpoint that it was made for, and '
        'write the sum as a checkpoint of its own, in the same layout. Its answers are those of '
        'the checkpoint beside the adapter.',
    )
    parser.add_argument(
        'adapter', type=Path, metavar='ADAPTER', help='what `molmo-ros finetune` wrote'
    )
    parser.add_argument(
        '--checkpoint',
        metavar='CHECKPOINT',
        help='what it was made for: a folder, or a hub id that was fetched (default: the demo '
        'checkpoint)',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='a new folder')
    parser.add_argument(
        '--dtype',
        choices=('float32', 'bfloat16', 'float16'),
        help='of the weights as they are stored (default: that of the checkpoint, and float32 in '
        'place of float16)',
    )
    return parser
