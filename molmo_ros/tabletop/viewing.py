# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros view`, with the rendered table among its cameras."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from molmo_ros.errors import UserError
from molmo_ros.tabletop.source import TABLE_FRAME, TableSource
from molmo_ros.tabletop.world import TABLES, check_renderer
from molmo_ros.viewing import command
from molmo_ros.viewing.feeds import SourceFeed
from molmo_ros.viewing.session import OpenFeed

_TABLE, _SEED = 'table', 5000


def main(argv: Sequence[str]) -> int:
    """Serve the page until Ctrl-C; returns the exit status. Raises UserError."""
    return command.run(parser().parse_args(argv), _table, _TABLE)


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    return command.parser(_TABLE, f'{_TABLE}, {_TABLE}:SEED, a rendered one')


def _table(name: str, arguments: argparse.Namespace) -> OpenFeed | None:
    kind, _, seed = name.partition(':')
    if kind != _TABLE:
        return None
    if seed and (not seed.isdecimal() or int(seed) >= 2**31):
        raise UserError(f"'{name}' is no table: give a number, as in {_TABLE}:5003")
    check_renderer()
    return partial(_opened, int(seed or _SEED), arguments.target_frame or TABLE_FRAME)


def _opened(seed: int, frame: str) -> SourceFeed:
    return SourceFeed(TableSource(seed, TABLES['rich']), frame=frame, noise='ideal')
