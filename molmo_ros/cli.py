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
    'eval': _Command('molmo_ros.commands.eval', 'measure a checkpoint on a folder of pictures'),
    'eval tabletop': _Command('molmo_ros.tabletop.evaluating', '... on rendered tables'),
    'finetune': _Command('molmo_ros.commands.finetune', "teach a checkpoint one's own objects"),
    'check-camera': _Command(
        'molmo_ros.commands.check_camera', 'do a picture, its depth and its calibration fit'
    ),
    'calibrate depth': _Command(
        'molmo_ros.commands.calibrate_depth', 'the noise of a depth camera, from views of a wall'
    ),
    'check': _Command('molmo_ros.commands.check', 'does a checkpoint compute here what it should'),
    'mcp': _Command('molmo_ros.commands.mcp', 'tools for language-model agents: look and ask'),
    'fetch': _Command('molmo_ros.commands.fetch', 'download a checkpoint; nothing else does'),
    'completion': _Command('molmo_ros.commands.completion', 'print what completes it in a shell'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 where the user can mend it."""
    argv = sys.argv[1:] if argv is None else argv
    two_words = ' '.join(argv[:2])
    name = two_words if two_words in COMMANDS else _parser().parse_args(argv[:1]).command
    if name is None:
        _parser().print_help()
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


def _parser() -> argparse.ArgumentParser:
    """Of the first word."""
    listed = '\n'.join(f'  {name:17}{command.summary}' for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='molmo-ros',
        usage='molmo-ros COMMAND [ARGUMENTS]',
        description=f'commands (each explains itself with --help):\n{listed}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'molmo-ros {_version()}')
    parser.add_argument('command', nargs='?', type=_command, help=argparse.SUPPRESS)
    return parser


def _command(word: str) -> str:
    if word in COMMANDS:
        return word
    near = get_close_matches(word, COMMANDS, n=1)
    hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(COMMANDS)}'
    raise argparse.ArgumentTypeError(f"'{word}' is no command; {hint}")


def _version() -> str:
    try:
        return version('molmo-ros')
    except PackageNotFoundError:  # where it lies beside its packages and was never installed
        return '(not installed)'


if __name__ == '__main__':
    run()
