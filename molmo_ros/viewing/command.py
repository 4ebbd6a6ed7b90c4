# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros view`: the page, for cameras that are named on the command line.

`molmo_ros.tabletop.viewing` adds the rendered table to them.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType

from molmo_ros.cameras.opening import names_camera, open_source
from molmo_ros.cameras.picture_files import capture_of_files
from molmo_ros.cameras.web import is_address
from molmo_ros.commands.engines import add_local_engine_arguments, named_engine
from molmo_ros.commands.sources import (
    add_picture_arguments,
    add_reading_arguments,
    calibrated,
    is_source,
    source_settings,
    stored_image,
)
from molmo_ros.commands.words import exists
from molmo_ros.engine.shipped import RENDERED_ONLY
from molmo_ros.errors import UserError
from molmo_ros.extras import require
from molmo_ros.viewing.feeds import Feed, SourceFeed, StillFeed
from molmo_ros.viewing.session import OpenEngine, OpenFeed

ROS = 'ros'
# Opens a camera that somebody else knows, by its name; None for a name that is none.
Others = Callable[[str, argparse.Namespace], OpenFeed | None]


def run(arguments: argparse.Namespace, others: Others, usual: str) -> int:
    """Serve the page until Ctrl-C. usual: the camera where none is named. Raises UserError."""
    require('viser', 'this command')
    names = arguments.cameras or [usual]
    cameras = {name: _opener(name, arguments, others) for name in names}
    note = '' if arguments.checkpoint or _all_answer(names) else RENDERED_ONLY
    serve(
        cameras, partial(named_engine, arguments), arguments, note, loads=not _all_answer(names[:1])
    )
    return 0


def serve(
    cameras: Mapping[str, OpenFeed],
    open_engine: OpenEngine | None,
    arguments: argparse.Namespace,
    note: str = '',
    loads: bool = False,
) -> None:
    """Serve the page until Ctrl-C. loads: the model is loaded before anybody asks.

    open_engine: None where all cameras answer themselves. arguments: those of
    `add_page_arguments`. Raises UserError.
    """
    from molmo_ros.viewing.page import PageSettings, served

    settings = PageSettings(
        arguments.host,
        arguments.port,
        arguments.token,
        arguments.rate,
        arguments.cloud_points,
        note,
    )
    with told_to_end() as ending, served(cameras, open_engine, settings) as (page, address):
        if loads:
            page.session.load()
        until_told(ending, address)


def until_told(ending: Event, address: str) -> None:
    """Tell the address of a page, and wait."""
    print(f'open {address} in a browser; Ctrl-C ends', flush=True)
    with suppress(KeyboardInterrupt):
        # Waiting for ever would let no signal through on every system.
        while not ending.wait(0.5):
            pass


@contextmanager
def told_to_end() -> Iterator[Event]:
    """An event that SIGINT and SIGTERM set meanwhile."""
    ending = Event()

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()

    before = {}
    with suppress(ValueError):  # outside of the main thread there are no handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, end)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _all_answer(names: Sequence[str]) -> bool:
    """Whether a node answers for every one of these cameras."""
    return all(name.partition(':')[0] == ROS and not exists(name) for name in names)


def _opener(name: str, arguments: argparse.Namespace, others: Others) -> OpenFeed:
    """Opens what a name means. Raises UserError where it means nothing."""
    if _all_answer([name]):
        return partial(_robot, name.partition(':')[2], arguments)
    other = others(name, arguments)
    if other is not None:
        return other
    if not (is_address(name) or names_camera(name) or exists(name)):
        raise UserError(f'{name} is no camera and no file: see molmo-ros view --help')
    source_settings(arguments)  # what cannot be read is told before the page is there
    return partial(_source if is_source(name) else _picture, name, arguments)


def _robot(namespace: str, arguments: argparse.Namespace) -> Feed:
    try:
        from molmo_ros.viewing.robot import RobotFeed
    except ImportError as error:
        raise UserError(f'{ROS} needs ROS 2 in this environment ({error})') from error
    topics = source_settings(arguments).bag.topics
    return RobotFeed(namespace, topics, arguments.target_frame)


def _source(name: str, arguments: argparse.Namespace) -> Feed:
    settings = source_settings(arguments)
    source = open_source(name, settings)
    calibration: Path | None = arguments.camera
    feed = SourceFeed(source, frame=arguments.target_frame, noise=arguments.noise)
    if calibration is not None:
        feed.finish = partial(calibrated, calibration=calibration, settings=settings.pictures)
    return feed


def _picture(name: str, arguments: argparse.Namespace) -> Feed:
    settings = source_settings(arguments).pictures
    capture = capture_of_files(stored_image(name), arguments.depth, arguments.camera, settings)
    return StillFeed(capture, name, arguments.noise)


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `serve`."""
    group = add_door_arguments(parser)
    group.add_argument(
        '--rate',
        type=_rate,
        default=10.0,
        metavar='HZ',
        help='pictures and clouds a second at most (default: %(default)g)',
    )
    group.add_argument(
        '--cloud-points',
        type=_count,
        default=80_000,
        metavar='N',
        help='points of the cloud at most (default: %(default)s); fewer are faster over a network',
    )


def add_door_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Where a page is, and who may open it."""
    group = parser.add_argument_group('the page')
    group.add_argument(
        '--host',
        default='127.0.0.1',
        metavar='ADDRESS',
        help='where to listen (default: %(default)s, which no other machine reaches); with any '
        'other the page asks for a token, which is part of the address that is printed',
    )
    group.add_argument(
        '--port', type=_port, metavar='N', help='(default: 8080, or any where that is taken)'
    )
    group.add_argument(
        '--token',
        action='store_true',
        help='ask for a token on 127.0.0.1 too: where others have accounts on this machine',
    )
    return group


def parser(usual: str, known: str) -> argparse.ArgumentParser:
    """Of the arguments. known: what other cameras there are, for the help."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros view',
        usage='molmo-ros view [CAMERA ...] [OPTIONS]',
        description='A page in the browser: what a camera sees, as picture and as cloud, a box to '
        'ask in, and the answers in both, with normals, boxes, grippers and the time of each '
        'stage. A click shows the position of what is under it. docs/view.md has pictures.',
    )
    parser.add_argument(
        'cameras',
        nargs='*',
        metavar='CAMERA',
        help=f'what can be chosen on the page, the first is shown: {known}; ros or ros:/NAMESPACE, '
        'the topics of a node, which then answers; realsense, webcam; a ROS bag, a RealSense '
        f'recording, a video; a picture, an address, a folder of pictures (default: {usual})',
    )
    add_page_arguments(parser)
    add_picture_arguments(parser)
    add_reading_arguments(parser.add_argument_group('cameras and recordings'))
    add_local_engine_arguments(parser)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'{text} is no port: 0 (any free one) to 65535')
    return int(text)


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value <= 60:
        raise argparse.ArgumentTypeError(f'{text} is no rate: more than 0, and 60 at most')
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 2_000_000:
        raise argparse.ArgumentTypeError(f'{text} is not between 1 and 2,000,000')
    return value
