# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval compare`, which can show rendered tables again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from molmo_ros.commands import eval_compare
from molmo_ros.tabletop.showing import picture_of


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    return eval_compare.run(parser().parse_args(argv), picture_of)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    return eval_compare.parser()
