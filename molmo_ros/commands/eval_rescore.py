# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros eval rescore PREDICTIONS`: judge the answers of a run again, without a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from molmo_ros.commands.measuring import add_telling_arguments, tell
from molmo_ros.errors import UserError
from molmo_ros.evaluation.judging import RADIUS
from molmo_ros.evaluation.predictions import read_predictions
from molmo_ros.evaluation.records import PictureOf
from molmo_ros.evaluation.samples import InvalidData
from molmo_ros.evaluation.summary import figures_of


def run(arguments: argparse.Namespace, picture_of: PictureOf) -> int:
    """Judge what the arguments name; returns the exit status. Raises UserError."""
    if not 0 < arguments.radius <= 1:
        raise UserError('--radius is a share of the diagonal: more than 0, and 1 at most')
    try:
        predictions = read_predictions(arguments.predictions)
        results = predictions.results(picture_of, arguments.radius)
    except InvalidData as error:
        raise UserError(str(error)) from error
    if not results:
        raise UserError(f'{arguments.predictions} has no answers yet')
    seconds = sum(result.seconds for result in results)
    settings = {**predictions.settings, 'radius': arguments.radius}
    tell(figures_of(settings, results, 0, seconds), results, arguments)
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros eval rescore',
        description='Judge the answers that `molmo-ros eval ... --predictions` kept again, '
        'without a model and without the data: with the rules of this version, or another radius.',
    )
    parser.add_argument('predictions', type=Path, metavar='JSONL', help='predictions.jsonl')
    parser.add_argument(
        '--radius',
        type=float,
        default=RADIUS,
        metavar='SHARE',
        help='how near a point must be to a thing that has no mask: this share of the '
        "picture's diagonal (default: %(default)s)",
    )
    add_telling_arguments(parser)
    return parser
