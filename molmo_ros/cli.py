# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros COMMAND ...`: each command is a module of `molmo_ros.commands` with a `main`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from molmo_ros.commands import UserError

COMMANDS = {
    'demo': 'the whole way of a question, on a rendered table',
    'ask': 'ask about an image file, without ROS',
    'eval': 'measure a checkpoint',
    'finetune': "teach a checkpoint one's own objects",
    'check': 'does a checkpoint compute here what it should',
    'fetch': 'download a checkpoint; nothing else downloads',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 where the user can mend it."""
    argv = sys.argv[1:] if argv is None else argv
    listed = '\n'.join(f'  {name:10}{summary}' for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='molmo-ros',
        usage='molmo-ros COMMAND [ARGUMENTS]',
        description=f'commands (each explains itself with --help):\n{listed}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help=argparse.SUPPRESS)
    command = parser.parse_args(argv[:1]).command
    # Imported only now: nobody waits for what another command needs.
    run = import_module(f'molmo_ros.commands.{command}').main
    try:
        return int(run(argv[1:]))
    except UserError as error:
        print(f'molmo-ros {command}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
