# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros COMMAND ...`: each is a module with `main` and `parser`, imported when asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from molmo_ros.errors import UserError
from molmo_ros.starting import cannot_tell, end, interrupted_with, told_all

_INTERRUPTED = 130


@dataclass(frozen=True)
class _Command:
    module: str
    summary: str


# One or two words each; of two that fit the longer is meant. Nobody waits for the modules that
# another command needs, and only these lines know that there is a rendered world.
COMMANDS = {
    'demo': _Command('molmo_ros.tabletop.demo.demo', 'the whole way of a question, on a table'),
    'ask': _Command('molmo_ros.commands.ask', 'ask about pictures, recordings or a camera'),
    'view': _Command('molmo_ros.tabletop.viewing', 'look and ask in a browser'),
    'eval tabletop': _Command('molmo_ros.tabletop.evaluating', 'measure a checkpoint on tables'),
    'eval pictures': _Command('molmo_ros.commands.eval_pictures', '... on your own pictures'),
    'eval pixmo-points': _Command('molmo_ros.commands.eval_pixmo_points', '... on PixMo-Points'),
    'eval pixmo-count': _Command('molmo_ros.commands.eval_pixmo_count', '... on PixMo-Count'),
    'eval point-bench': _Command('molmo_ros.commands.eval_point_bench', '... on Point-Bench'),
    'eval compare': _Command(
        'molmo_ros.tabletop.comparing', 'two runs of eval, question by question'
    ),
    'eval rescore': _Command('molmo_ros.tabletop.rescoring', 'judge the answers of a run again'),
    'label': _Command('molmo_ros.viewing.labelling.command', 'say by clicks where things are'),
    'label import': _Command('molmo_ros.commands.label_import', '... from COCO or Label Studio'),
    'finetune': _Command('molmo_ros.commands.finetune', "teach a checkpoint one's own objects"),
    'finetune merge': _Command(
        'molmo_ros.commands.finetune_merge', 'make a checkpoint of one and what it was taught'
    ),
    'check-camera': _Command(
        'molmo_ros.commands.check_camera', 'do a picture, its depth and its calibration fit'
    ),
    'calibrate depth': _Command(
        'molmo_ros.commands.calibrate_depth', 'the noise of a depth camera, from views of a wall'
    ),
    'check': _Command('molmo_ros.commands.check', 'does a checkpoint compute here what it should'),
    'mcp': _Command('molmo_ros.commands.mcp', 'tools for language-model agents: look and ask'),
    'fetch': _Command('molmo_ros.commands.fetch', 'download a checkpoint'),
    'fetch pictures': _Command(
        'molmo_ros.commands.fetch_pictures', '... the pictures that a data set names'
    ),
    'completion': _Command('molmo_ros.commands.completion', 'print what completes it in a shell'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 where the user can mend it."""
    argv = sys.argv[1:] if argv is None else argv
    name = _named(argv)
    if name is None:
        return 0
    try:
        # Some libraries lose or print an exception that comes while they are imported.
        with interrupted_with(_INTERRUPTED):
            command = import_module(COMMANDS[name].module).main
        return told_all(int(command(argv[len(name.split()) :])))
    except UserError as error:
        print(f'molmo-ros {name}: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        return cannot_tell(error, f'molmo-ros {name}')
    except KeyboardInterrupt:
        return _INTERRUPTED


def run() -> NoReturn:
    """The command that was typed, and the end of the process."""
    try:
        status = main()
    except SystemExit as error:  # of argparse, or a signal
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    end(status)


def _named(argv: Sequence[str]) -> str | None:
    """The command that is meant; None where those that there are were asked for and printed."""
    two_words = ' '.join(argv[:2])
    if two_words in COMMANDS:
        return two_words
    group = argv[0] if argv and argv[0] not in COMMANDS and _seconds(argv[0]) else ''
    parser = _group_parser(group) if group else _parser()
    name: str | None = parser.parse_args(argv[1:2] if group else argv[:1]).command
    if name is None:
        parser.print_help()
    return name


def _seconds(first: str) -> list[str]:
    """The second words that may follow a first one."""
    return [name.split()[1] for name in COMMANDS if name.startswith(f'{first} ')]


def _group_parser(group: str) -> argparse.ArgumentParser:
    """Of the second word, after one that is no command by itself."""

    def second(word: str) -> str:
        near = get_close_matches(word, _seconds(group), n=1)
        hint = f'did you mean {group} {near[0]}?' if near else f'there are {", ".join(names)}'
        raise argparse.ArgumentTypeError(f"'{group} {word}' is no command; {hint}")

    names = [f'{group} {word}' for word in _seconds(group)]
    listed = '\n'.join(f'  {name:19}{COMMANDS[name].summary}' for name in names)
    parser = argparse.ArgumentParser(
        prog=f'molmo-ros {group}',
        usage=f'molmo-ros {group} COMMAND [ARGUMENTS]',
        description=f'commands (each explains itself with --help):\n{listed}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', nargs='?', type=second, help=argparse.SUPPRESS)
    return parser


def _parser() -> argparse.ArgumentParser:
    """Of the first word."""
    listed = '\n'.join(f'  {name:19}{command.summary}' for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='molmo-ros',
        usage='molmo-ros COMMAND [ARGUMENTS]',
        description=f'commands (each explains itself with --help):\n{listed}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'molmo-ros {package_version()}')
    parser.add_argument('command', nargs='?', type=_command, help=argparse.SUPPRESS)
    return parser


def _command(word: str) -> str:
    if word in COMMANDS:
        return word
    near = get_close_matches(word, COMMANDS, n=1)
    hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(COMMANDS)}'
    raise argparse.ArgumentTypeError(f"'{word}' is no command; {hint}")


def package_version() -> str:
    """That is installed."""
    try:
        return version('molmo-ros')
    except PackageNotFoundError:  # where it lies beside its packages and was never installed
        return '(not installed)'


if __name__ == '__main__':
    run()
