# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 run molmo_ros ask "the mug"`: a question to the node that runs, from a terminal."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

import numpy as np
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.utilities import remove_ros_args
from rich.table import Table

from molmo_ros.commands.console import plain_console
from molmo_ros.errors import UserError
from molmo_ros.output import seconds, xyz
from molmo_ros.pointing import Mode
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import (
    LONGEST_S,
    Answered,
    AnsweredPoint,
    PointQueryClient,
    ServiceUnavailable,
)
from molmo_ros.spatial import SurfacePoint

# As grep has it: found, not found, and that it could not be said.
_EXIT = {Status.SUCCESS: 0, Status.NO_POINTS: 1}
_TROUBLE = 2


def ask(argv: Sequence[str]) -> int:
    """Wait for the node, ask it and print; the exit status. Raises UserError."""
    try:
        arguments = _parser().parse_args(remove_ros_args([*argv]))
        with PointQueryClient(node_name='ask', ros_arguments=_ros_arguments(argv)) as client:
            _wait(client, arguments.wait)
            answered = client.ask(
                arguments.query,
                mode=Mode[arguments.mode.upper()],
                target_frame=arguments.target_frame,
                max_points=arguments.max_points,
                timeout=arguments.timeout,
            )
    except ServiceUnavailable as error:
        raise UserError(str(error)) from error
    except rclpy_implementation.UnknownROSArgsError as error:
        raise UserError(f'these are no arguments of ROS: {error}') from error
    except (RuntimeError, ValueError) as error:
        # What rclpy says of names and arguments, without the places in ROS's sources.
        raise UserError(re.sub(r', at \S+:\d+', '', str(error)).strip()) from error
    _show(answered)
    return _EXIT.get(answered.status, _TROUBLE)


def main(args: list[str] | None = None) -> int:
    """Run it; returns the exit status: 0 found, 1 not found, 2 no answer."""
    try:
        return ask(sys.argv[1:] if args is None else args)
    except UserError as error:
        print(f'ask: {error}', file=sys.stderr)
        return _TROUBLE
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='ros2 run molmo_ros ask',
        description='Ask the node that runs about what its camera sees now, once it is ready.',
        epilog='Exit status: 0 found, 1 not found, 2 no answer. What the node is called is said to '
        'ROS: --ros-args -r __ns:=/left, or -r point_query:=find.',
    )
    parser.add_argument('query', metavar='QUERY', help='what to point at: "the mug"')
    parser.add_argument(
        '--mode',
        choices=[mode.name.lower() for mode in Mode],
        default='point',
        help='point at it, count it, or ask the query as it stands (default: %(default)s)',
    )
    parser.add_argument(
        '--target-frame',
        metavar='FRAME',
        default='',
        help='of the positions (default: the optical frame of the image)',
    )
    parser.add_argument(
        '--max-points',
        type=_not_negative,
        default=0,
        metavar='N',
        help='no more than so many points (default: any number)',
    )
    parser.add_argument(
        '--timeout',
        type=_positive,
        default=60.0,
        metavar='SECONDS',
        help='that the answer may take (default: %(default)g)',
    )
    parser.add_argument(
        '--wait',
        type=_positive,
        default=120.0,
        metavar='SECONDS',
        help='for the node to come up and load its model (default: %(default)g)',
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f'{text} is no number of seconds between 0 and a million')
    return value


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'{text} is less than 0')
    return value


def _ros_arguments(argv: Sequence[str]) -> list[str]:
    """What comes behind the first --ros-args, itself included."""
    words = [*argv]
    return words[words.index('--ros-args') :] if '--ros-args' in words else []


def _wait(client: PointQueryClient, timeout: float) -> None:
    """Until the node can be asked; tells on stderr what it is doing. Raises UserError."""
    told = ''

    def tell(text: str, _: float) -> None:
        nonlocal told
        if text != told:
            print(f'the node: {text}', file=sys.stderr)
            told = text

    if client.wait_until_ready(timeout, on_progress=tell):
        return
    if client.engine_state:
        raise UserError(f'the node is not ready: {client.engine_state}')
    raise UserError(
        f'no node offers {client.service} after {seconds(timeout)}: start one (ros2 launch '
        'molmo_ros perception.launch.py), and look at namespace and ROS_DOMAIN_ID'
    )


def _show(answered: Answered) -> None:
    console = plain_console()
    if answered.points:
        console.print(_table(answered.points))
        console.print(f'positions are in {answered.frame_id}')
    elif answered.status is not Status.SUCCESS:
        console.print(answered.status.name, style='bold')
    if answered.answer.strip():
        console.print(answered.answer.strip(), style='dim')
    if answered.count >= 0:
        console.print(f'count {answered.count}')
    for sentence in (answered.message, *answered.assumed):
        if sentence:
            console.print(sentence)


def _table(points: Sequence[AnsweredPoint]) -> Table:
    table = Table(box=None)
    for heading in ('', 'label', 'u, v (pixels)', 'confidence', 'x y z (m)', '3D'):
        table.add_column(heading)
    for number, point in enumerate(points, 1):
        image = point.image
        table.add_row(
            str(number),
            image.label,
            f'{image.u:.1f}, {image.v:.1f}',
            f'{image.confidence:.2f}' if np.isfinite(image.confidence) else '-',
            xyz(point.surface.position),
            _status(point.surface),
        )
    return table


def _status(surface: SurfacePoint) -> str:
    if surface.reason:
        return f'{surface.status.name}: {surface.reason}'
    sigma = 1000 * float(np.sqrt(np.trace(surface.covariance)))
    return f'{surface.status.name} ±{sigma:.1f} mm' if np.isfinite(sigma) else surface.status.name


if __name__ == '__main__':
    sys.exit(main())
