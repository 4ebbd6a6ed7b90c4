# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros COMMAND ...`: each command is a module with a `main`, imported when asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from molmo_ros.errors import UserError
from molmo_ros.output import cannot_tell, told_all


@dataclass(frozen=True)
class _Command:
    module: str
    summary: str


# One or two words each; of two that fit the longer is meant. Nobody waits for the modules that
# another command needs, and only these lines know that there is a rendered world.
COMMANDS = {
    'demo': _Command('molmo_ros.tabletop.demo.demo', 'the whole way of a question, on a table'),
    'ask': _Command('molmo_ros.commands.ask', 'ask about an image file, without ROS'),
    'eval': _Command('molmo_ros.commands.eval', 'measure a checkpoint on a folder of pictures'),
    'eval tabletop': _Command('molmo_ros.tabletop.evaluating', '... on rendered tables'),
    'finetune': _Command('molmo_ros.commands.finetune', "teach a checkpoint one's own objects"),
    'check-camera': _Command(
        'molmo_ros.commands.check_camera', 'do a picture, its depth and its calibration fit'
    ),
    'check': _Command('molmo_ros.commands.check', 'does a checkpoint compute here what it should'),
    'fetch': _Command('molmo_ros.commands.fetch', 'download a checkpoint; nothing else downloads'),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 where the user can mend it."""
    argv = sys.argv[1:] if argv is None else argv
    listed = '\n'.join(f'  {name:15}{command.summary}' for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='molmo-ros',
        usage='molmo-ros COMMAND [ARGUMENTS]',
        description=f'commands (each explains itself with --help):\n{listed}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help=argparse.SUPPRESS)
    two_words = ' '.join(argv[:2])
    name = two_words if two_words in COMMANDS else parser.parse_args(argv[:1]).command
    run = import_module(COMMANDS[name].module).main
    try:
        return told_all(int(run(argv[len(name.split()) :])))
    except UserError as error:
        print(f'molmo-ros {name}: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        return cannot_tell(error, f'molmo-ros {name}')
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
