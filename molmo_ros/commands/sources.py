# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `ask` is about: files, the web, stdin, cameras and recordings, and the arguments of each."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isinf
from pathlib import Path

from molmo_ros.cameras.bag import BagSettings
from molmo_ros.cameras.bag_topics import STREAMS
from molmo_ros.cameras.calibration_files import Calibration, read_calibration
from molmo_ros.cameras.files import decode_named, read_image
from molmo_ros.cameras.opening import (
    SourceSettings,
    holds_pictures,
    names_camera,
    names_recording,
    open_source,
)
from molmo_ros.cameras.picture_files import FLAT, PictureSettings, capture_of_files
from molmo_ros.cameras.pictures import PictureFolder, pictures_in
from molmo_ros.cameras.source import Source
from molmo_ros.cameras.web import MAX_BYTES, fetch_picture, is_address
from molmo_ros.commands.depth_unit import OPTION, add_depth_unit_argument
from molmo_ros.commands.words import STDIN, exists
from molmo_ros.errors import UserError
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.grounding.image_file import StoredImage
from molmo_ros.spatial import PRESETS, LiftStatus

# Seconds at the end of a recording in which `--every` takes no picture any more.
_TAIL_S = 0.1
_DURATION = re.compile(r'([0-9.]+)\s*(ms|s|min|)')
_SECONDS = {'ms': 0.001, 's': 1.0, '': 1.0, 'min': 60.0}


@dataclass(frozen=True, eq=False)
class Taken:
    """What is asked about. about: what it was taken from, in words; '' for files."""

    capture: Capture
    target: TargetFrame = OPTICAL
    about: str = ''

    @property
    def is_flat(self) -> bool:
        """Whether nobody can expect 3D of it: a picture alone."""
        return self.capture.missing == FLAT


@dataclass(frozen=True)
class Wanted:
    """A picture that is asked about. name: as it is told. take: reads it; raises UserError."""

    name: str
    take: Callable[[], Taken]


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Those that say what belongs to a picture, and whose depth it is."""
    parser.add_argument(
        '--depth',
        type=Path,
        metavar='FILE',
        help='registered to the image: 16-bit PNG in millimetres, or floats in metres (.npy or '
        '.tiff)',
    )
    add_depth_unit_argument(parser)
    parser.add_argument(
        '--camera',
        type=Path,
        metavar='FILE',
        help='calibration of the image: a camera_info as `ros2 topic echo --once` prints it, what '
        'camera_calibration or OpenCV writes (YAML or XML), RealSense or Open3D JSON, or a Kalibr '
        'camchain; or the camera to take the image from: realsense, realsense:SERIAL, webcam, '
        'webcam:NUMBER',
    )
    parser.add_argument(
        '--camera-name',
        metavar='NAME',
        default='',
        help='which camera, if the file of --camera has several (default: the first, and says so)',
    )
    parser.add_argument(
        '--rectified',
        action=argparse.BooleanOptionalAction,
        help='the image is rectified: P of --camera or of the camera_info of a bag holds, without '
        "distortion (default: as a topic's name says, else not)",
    )
    parser.add_argument(
        '--noise',
        choices=tuple(PRESETS),
        default='',
        metavar='CAMERA',
        help='whose noise the depth has, for the covariance and for how far to average: '
        f'{", ".join(PRESETS)} (default: a tame stereo camera)',
    )


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `Pictures`, beside those of `add_picture_arguments`."""
    group = parser.add_argument_group('cameras and recordings')
    group.add_argument(
        '--at',
        type=float,
        metavar='SECONDS',
        help='from the beginning of a recording (default: its first complete frame); in a folder '
        'the number of the picture, from 0 (default: all)',
    )
    group.add_argument(
        '--every',
        type=_duration,
        metavar='TIME',
        help='take a picture so often, as 1s, 500ms or 2min: of a camera until Ctrl-C, of a '
        'recording from --at to its end',
    )
    add_reading_arguments(group)


def add_reading_arguments(group: argparse._ArgumentGroup) -> None:
    """Those of `source_settings`, and --target-frame."""
    group.add_argument(
        '--target-frame',
        default='',
        metavar='FRAME',
        help="the frame of a bag's /tf in which positions are told (default: the optical frame)",
    )
    group.add_argument(
        '--topics',
        nargs='+',
        default=(),
        metavar='STREAM=TOPIC',
        help=f'topics of a bag, where the choice is wrong: {", ".join(STREAMS)}; nothing after = '
        'leaves a stream out',
    )
    group.add_argument(
        '--sync-slop',
        type=float,
        default=BagSettings().sync_slop,
        metavar='SECONDS',
        help='by which the stamps of an image and its depth may differ in a bag (default: '
        '%(default)s)',
    )
    group.add_argument(
        '--optical-frame',
        default='',
        metavar='FRAME',
        help="the image's optical frame (x right, y down, z forward), where a bag's images name "
        'another (default: as they say)',
    )
    group.add_argument(
        '--preset', default='', help="visual preset of a RealSense, as 'High Accuracy'"
    )
    group.add_argument(
        '--align-depth',
        action='store_true',
        help='have librealsense align the depth to the color (default: points are registered, '
        'which is nearer to the truth)',
    )


def _duration(text: str) -> float:
    """Seconds."""
    found = _DURATION.fullmatch(text.strip())
    try:
        seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no time: give 1s, 500ms or 2min")
    return seconds


class Pictures:
    """All that a command line asks about, in its order; iterated as often as one likes.

    several: whether it may be more than one picture. Raises UserError for what does not go
    together, before anything is read.
    """

    def __init__(self, arguments: argparse.Namespace, names: Sequence[str]) -> None:
        self._arguments, self._names = arguments, tuple(names)
        self._settings = source_settings(arguments)
        self._calibration: Path | None = arguments.camera
        camera = None if arguments.camera is None else str(arguments.camera)
        if camera is not None and names_camera(camera) and names:
            raise UserError(f'give an image or --camera {camera}, not both')
        if camera is not None and (names_camera(camera) or (not names and names_recording(camera))):
            self._names, self._calibration = (camera,), None
        self._check()
        every, at = arguments.every is not None, arguments.at
        self.several = every or len(self._names) > 1 or (at is None and self._holds_several())

    def __iter__(self) -> Iterator[Wanted]:
        for name in self._names:
            if is_source(name):
                yield from self._of_source(name)
            else:
                yield Wanted(name, partial(self._of_file, name))

    def files(self) -> list[Path]:
        """Those that are asked about, with links followed."""
        found: list[Path] = []
        for path in (Path(name) for name in self._names if exists(name)):
            found += pictures_in(path) if holds_pictures(path) else [path]
        return [path.resolve() for path in found]

    def _check(self) -> None:
        names, arguments = self._names, self._arguments
        if not names:
            raise UserError(
                'give an image and a query; --camera realsense or webcam takes a picture'
            )
        for name in names:
            if not (name == STDIN or is_address(name) or names_camera(name) or exists(name)):
                raise UserError(f'{name} does not exist')
        sources = [name for name in names if is_source(name)]
        folders = [name for name in names if holds_pictures(Path(name))]
        if arguments.camera_name and self._calibration is None and not folders:
            raise UserError('--camera-name says which camera of a file: give that as --camera')
        if not sources:
            _refuse_unused(arguments, names[0])
        if arguments.every is not None:
            for name in names:
                if name not in sources or name in folders:
                    raise UserError(f'--every is of cameras and recordings, which {name} is not')
        if arguments.depth is not None and sources:
            raise UserError(
                f'--depth is of a picture file: {sources[0]} brings its own, if it has any'
            )
        if arguments.depth is not None and len(names) > 1:
            raise UserError(
                '--depth is of one picture; of several, put them into a folder, the depth of '
                'NAME.png as NAME_depth.png'
            )

    def _holds_several(self) -> bool:
        folders = [Path(name) for name in self._names if holds_pictures(Path(name))]
        return any(len(pictures_in(folder)) > 1 for folder in folders)

    def _of_file(self, name: str) -> Taken:
        stored = decode_named('stdin', _stdin()) if name == STDIN else stored_image(name)
        settings = self._settings.pictures
        depth: Path | None = self._arguments.depth
        return Taken(capture_of_files(stored, depth, self._calibration, settings))

    def _of_source(self, name: str) -> Iterator[Wanted]:
        with open_source(name, self._settings) as source:
            for at in _times(source, self._arguments):
                if isinstance(source, PictureFolder):
                    label = str(source.pictures[int(at or 0)])
                else:
                    label = name if at is None else f'{name} at {at:g} s'
                yield Wanted(label, partial(self._captured, source, at))

    def _captured(self, source: Source, at: float | None) -> Taken:
        capture = source.capture(at)
        if self._calibration is not None:
            capture = calibrated(capture, self._calibration, self._settings.pictures)
        target = source.target(self._arguments.target_frame, capture)
        return Taken(capture, target, source.about)


def is_source(name: str) -> bool:
    """Whether it is opened, rather than read as a picture."""
    if name == STDIN or is_address(name):
        return False
    return names_camera(name) or names_recording(name)


def stored_image(name: str) -> StoredImage:
    """Of a file or an address. Raises UserError."""
    if is_address(name):
        return decode_named(name, fetch_picture(name))
    return read_image(Path(name))


def _stdin() -> bytes:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UserError(f'stdin brings more than {MAX_BYTES / 2**20:g} MB')
    return data


def _times(source: Source, arguments: argparse.Namespace) -> Iterator[float | None]:
    """When to take a picture: once, each of a folder, or every so often."""
    every, at = arguments.every, arguments.at
    if isinstance(source, PictureFolder) and at is None:
        yield from map(float, range(len(source.pictures)))
    elif every is None:
        yield at
    elif isinf(source.lasts):
        due = time.monotonic()
        while True:
            yield at
            due = max(due + every, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0.0))
    else:
        begin = at or 0.0
        # What else was recorded may go on a little after the last picture.
        steps = int(max(source.lasts - begin - _TAIL_S, 0.0) / every)
        yield from (begin + every * step for step in range(steps + 1))


def _refuse_unused(arguments: argparse.Namespace, name: str) -> None:
    for option in ('at', 'target_frame', 'topics'):
        if getattr(arguments, option) not in (None, '', ()):
            named = option.replace('_', '-')
            raise UserError(f'--{named} is of recordings: {name} is a picture')


def calibrated(capture: Capture, calibration: Path, settings: PictureSettings) -> Capture:
    """With the camera of a calibration file. Raises UserError."""
    height, width = capture.frame.color.shape[:2]
    name, rectified = settings.camera_name, settings.rectified
    read = read_calibration(calibration, (width, height), name, rectified=rectified)
    return _with_camera(capture, read)


def _with_camera(capture: Capture, read: Calibration) -> Capture:
    missing = dict(capture.missing)
    missing.pop(LiftStatus.NO_CAMERA_INFO, None)
    if capture.frame.depth is None:
        missing.setdefault(LiftStatus.NO_DEPTH, 'there is no depth')
    return replace(
        capture,
        frame=replace(capture.frame, camera=read.camera),
        missing=missing,
        assumed=(*capture.assumed, *read.assumed),
    )


def source_settings(arguments: argparse.Namespace) -> SourceSettings:
    """How the arguments have sources read. Raises UserError."""
    if not arguments.sync_slop >= 0:
        raise UserError('--sync-slop is a number of seconds, 0 or more')
    bag = BagSettings(
        _topics(arguments.topics),
        arguments.sync_slop,
        arguments.rectified,
        arguments.optical_frame,
    )
    pictures = PictureSettings(
        arguments.depth_unit, OPTION, arguments.camera_name, bool(arguments.rectified)
    )
    return SourceSettings(bag, pictures, arguments.preset, arguments.align_depth)


def _topics(given: Iterable[str]) -> dict[str, str]:
    topics = {}
    for text in given:
        stream, equals, topic = text.partition('=')
        if stream not in STREAMS or not equals:
            raise UserError(
                f"--topics '{text}' is none of {'=..., '.join(STREAMS)}=...; what follows --topics "
                'is taken for topics, so give the image and the query before it'
            )
        topics[stream] = topic
    return topics
