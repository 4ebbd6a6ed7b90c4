# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval pictures FOLDER`: measure on one's own pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.commands.eval_folder import folder_parser, measured
from molmo_ros.evaluation.folders import own_pictures


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    return measured(parser().parse_args(argv), 'pictures', own_pictures)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    return folder_parser(
        'pictures',
        'Ask a checkpoint about your own pictures and report how often it is right.',
        'images/ and points.jsonl, as `molmo-ros label` and `label import` write it, and as '
        '`molmo-ros finetune` learns from',
    )
