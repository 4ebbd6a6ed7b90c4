# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros completion SHELL`: what a shell completes the commands and their options by."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from molmo_ros.cli import COMMANDS
from molmo_ros.extras import require

_EPILOG = """
bash: molmo-ros completion bash > ~/.local/share/bash-completion/completions/molmo-ros
fish: molmo-ros completion fish > ~/.config/fish/completions/molmo-ros.fish
zsh:  molmo-ros completion zsh > DIRECTORY/_molmo-ros, where DIRECTORY is one of $fpath
"""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    shell = parser().parse_args(argv).shell
    require('shtab', 'the script')
    import shtab

    print(shtab.complete(_whole(shtab.FILE), shell))
    return 0


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros completion',
        description='Print a script by which a shell completes commands, options and files.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('shell', choices=('bash', 'fish', 'tcsh', 'zsh'))
    return parser


def _whole(files: Any) -> argparse.ArgumentParser:
    """One parser of all commands. files: what says that an argument is a file."""
    whole = argparse.ArgumentParser(prog='molmo-ros')
    whole.add_argument('--version', action='version', version='')
    firsts = whole.add_subparsers(metavar='COMMAND')
    for first in dict.fromkeys(name.split()[0] for name in COMMANDS):
        names = [name for name in COMMANDS if name.split()[0] == first]
        one = firsts.add_parser(first, help=COMMANDS[names[0]].summary, add_help=False)
        if first in COMMANDS:
            # Where a second word is not needed, the options of all follow the first.
            for name in names:
                _add_new(one, _of(name, files))
            _offer_seconds(one, [name.split()[1] for name in names if ' ' in name])
            continue
        seconds = one.add_subparsers(metavar='COMMAND')
        for name in names:
            two = seconds.add_parser(name.split()[1], help=COMMANDS[name].summary, add_help=False)
            _add_new(two, _of(name, files))
    return whole


def _add_new(parser: argparse.ArgumentParser, other: argparse.ArgumentParser) -> None:
    """Add what another parser has and this one has not."""
    known = {option for action in parser._actions for option in action.option_strings}
    for action in other._actions:
        if not known.intersection(action.option_strings):
            parser._add_action(action)


def _of(name: str, files: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = import_module(COMMANDS[name].module).parser()
    for action in parser._actions:
        if action.choices is None and (action.type is Path or not action.option_strings):
            action.complete = files  # type: ignore[attr-defined]
    return parser


def _offer_seconds(parser: argparse.ArgumentParser, seconds: Iterable[str]) -> None:
    """Offer these words where the first argument stands."""
    for action in parser._actions:
        if not action.option_strings and action.choices is not None:
            action.choices = [*action.choices, *seconds]
            return
