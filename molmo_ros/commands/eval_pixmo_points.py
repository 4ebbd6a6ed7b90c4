# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval pixmo-points FOLDER`: measure on PixMo-Points."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.commands.eval_folder import add_table_arguments, folder_parser, measured
from molmo_ros.evaluation.folders import pixmo_points


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    return measured(parser().parse_args(argv), 'pixmo-points', pixmo_points)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = folder_parser(
        'pixmo-points',
        'Ask a checkpoint to point at all things of a name in the pictures of PixMo-Points, or of '
        'its evaluation set with masks, and report precision, recall and F1.',
        'the tables (.parquet, .jsonl, .json, .csv), as they are downloaded; `molmo-ros fetch '
        'pictures FOLDER` gets the pictures',
    )
    add_table_arguments(parser)
    return parser
