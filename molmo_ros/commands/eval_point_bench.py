# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval point-bench FOLDER`: measure on Point-Bench."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.commands.eval_folder import add_picture_arguments, folder_parser, measured
from molmo_ros.evaluation.folders import point_bench


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    return measured(parser().parse_args(argv), 'point-bench', point_bench)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = folder_parser(
        'point-bench',
        'Ask a checkpoint the questions of Point-Bench and report, by its categories, how often '
        'the first point is in the mask.',
        'data.json with selected_images/ and selected_masks/, as the benchmark is downloaded',
    )
    add_picture_arguments(parser)
    return parser
