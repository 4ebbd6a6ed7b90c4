# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ask` about a camera or a recording: its arguments, and the frame that they mean."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace

from molmo_ros.cameras.bag import BagSettings
from molmo_ros.cameras.bag_topics import STREAMS
from molmo_ros.cameras.files import read_camera
from molmo_ros.cameras.opening import (
    SourceSettings,
    names_camera,
    names_recording,
    open_source,
)
from molmo_ros.errors import UserError
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame
from molmo_ros.spatial import CameraModel, LiftStatus


@dataclass(frozen=True, eq=False)
class Taken:
    """What is asked about. about: what it was taken from, in words; '' for files."""

    capture: Capture
    target: TargetFrame = OPTICAL
    about: str = ''


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `taken_from_source`, beside the image and --camera."""
    group = parser.add_argument_group('cameras and recordings')
    group.add_argument(
        '--at',
        type=float,
        metavar='SECONDS',
        help='from the beginning of a recording (default: its first complete frame); in a folder '
        'the number of the picture, from 0',
    )
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


def taken_from_source(arguments: argparse.Namespace) -> Taken | None:
    """The frame of a camera or a recording; None where the image is a picture file.

    Raises UserError.
    """
    settings = _settings(arguments)
    image, camera = arguments.image, arguments.camera
    calibration = camera
    if camera is not None and names_camera(str(camera)):
        if image is not None:
            raise UserError(f'give an image or --camera {camera}, not both')
        image, calibration = camera, None
    elif image is None and camera is not None and names_recording(str(camera)):
        image, calibration = camera, None
    elif image is None:
        raise UserError('give an image and a query; --camera realsense or webcam takes a picture')
    elif not names_recording(str(image)):
        _refuse_unused(arguments)
        return None
    if arguments.depth is not None:
        raise UserError(f'--depth is of a picture file: {image} brings its own, if it has any')
    with open_source(str(image), settings) as source:
        capture = source.capture(arguments.at)
        if calibration is not None:
            height, width = capture.frame.color.shape[:2]
            rectified = bool(arguments.rectified)
            camera_model = read_camera(calibration, (width, height), rectified=rectified)
            capture = _with_camera(capture, camera_model)
        return Taken(capture, source.target(arguments.target_frame, capture), source.about)


def _refuse_unused(arguments: argparse.Namespace) -> None:
    for option in ('at', 'target_frame', 'topics'):
        if getattr(arguments, option) not in (None, '', ()):
            named = option.replace('_', '-')
            raise UserError(f'--{named} is of recordings: {arguments.image} is a picture')


def _with_camera(capture: Capture, camera: CameraModel) -> Capture:
    missing = dict(capture.missing)
    missing.pop(LiftStatus.NO_CAMERA_INFO, None)
    return replace(capture, frame=replace(capture.frame, camera=camera), missing=missing)


def _settings(arguments: argparse.Namespace) -> SourceSettings:
    if not arguments.sync_slop >= 0:
        raise UserError('--sync-slop is a number of seconds, 0 or more')
    bag = BagSettings(
        _topics(arguments.topics),
        arguments.sync_slop,
        arguments.rectified,
        arguments.optical_frame,
    )
    return SourceSettings(bag, arguments.preset, arguments.align_depth)


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
