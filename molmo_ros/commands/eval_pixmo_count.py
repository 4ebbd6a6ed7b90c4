# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval pixmo-count FOLDER`: measure on PixMo-Count."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.commands.eval_folder import add_table_arguments, folder_parser, measured
from molmo_ros.evaluation.folders import pixmo_count


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    return measured(parser().parse_args(argv), 'pixmo-count', pixmo_count)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = folder_parser(
        'pixmo-count',
        'Ask a checkpoint how many there are in the pictures of PixMo-Count and report how often '
        'the number is exact.',
        'the tables (.parquet, .jsonl, .json, .csv), as they are downloaded; `molmo-ros fetch '
        'pictures FOLDER` gets the pictures',
    )
    add_table_arguments(parser)
    return parser
