# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros calibrate depth`: the noise of a depth camera, from what it sees of a wall."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.calibration_files import read_camera
from molmo_ros.cameras.files import read_depth
from molmo_ros.cameras.opening import SourceSettings, names_recording, open_source
from molmo_ros.commands.console import plain_console
from molmo_ros.commands.depth_unit import add_depth_unit_argument, with_depth_unit
from molmo_ros.errors import UserError
from molmo_ros.grounding.capture import Capture
from molmo_ros.output import as_json
from molmo_ros.spatial import CameraModel, StereoNoise
from molmo_ros.spatial.noise_estimate import NoiseEstimate, estimate_noise

Depth = NDArray[np.float32]

_TOPICS = ('depth', 'camera_info')
_MOMENTS = 0.0, 1.0, 2.0, 3.0  # seconds from the beginning of a recording


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    words = list(argv)
    at = words.index('--ros-args') if '--ros-args' in words else len(words)
    arguments = parser().parse_args(words[:at])
    for option in ('distance', 'baseline'):
        value = getattr(arguments, option)
        if value is not None and not 0 < value < np.inf:
            raise UserError(f'--{option} is {value}: give metres, more than 0')
    if arguments.kind == 'tof' and arguments.baseline is not None:
        raise UserError('--baseline is of stereo cameras: leave it out, or leave out --kind tof')
    assumed: tuple[str, ...] = ()
    if arguments.ros:
        depths, camera, assumed = _of_topics(arguments, words[at:])
    else:
        depths, camera = _of_files(arguments, words[at:])
    try:
        estimate = estimate_noise(
            depths, camera, arguments.kind, arguments.baseline or 0.05, arguments.distance
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    if arguments.json:
        print(as_json({**asdict(estimate), 'kind': arguments.kind, 'assumed': assumed}))
    else:
        console = plain_console()
        told = (f'assumed: {text}' for text in assumed)
        for line in (*_findings(estimate, camera.width), *told):
            console.print(f'# {line}', soft_wrap=True)
        console.print(parameters_text(estimate), end='')
    return 0


def parser() -> argparse.ArgumentParser:
    """Of this command's words."""
    options = argparse.ArgumentParser(
        prog='molmo-ros calibrate depth',
        description='Measure the noise of a depth camera by depth pictures of a wall, and print '
        "the node's parameters (YAML). Look straight at a wall that fills the picture, at the "
        'distance that things will have; several pictures make it surer. Of files, or with --ros '
        'of what a camera publishes now.',
        epilog='With --ros, all after --ros-args goes to the node as it does to point_query_node: '
        '--ros-args -p rectified:=true -r __ns:=/left',
    )
    options.add_argument(
        'wall',
        type=Path,
        nargs='*',
        metavar='WALL',
        help='depth pictures: 16-bit PNG in millimetres, or floats in metres (.npy or .tiff); or '
        'one recording (a ROS bag, a RealSense recording), of which the first seconds count',
    )
    options.add_argument(
        '--camera',
        type=Path,
        metavar='FILE',
        help='calibration of the depth, in any form that `ask` reads (a recording brings its own)',
    )
    add_depth_unit_argument(options)
    options.add_argument('--ros', action='store_true', help='look at topics instead of files')
    options.add_argument('--depth', metavar='TOPIC', help='with --ros')
    options.add_argument('--camera-info', metavar='TOPIC', help='of the depth, with --ros')
    options.add_argument(
        '--seconds',
        type=float,
        default=4.0,
        help='how long to listen, with --ros (default: %(default)s)',
    )
    options.add_argument(
        '--kind',
        choices=('stereo', 'tof'),
        default='stereo',
        help='stereo (also with a projector, as RealSense D400, Kinect v1 and Xtion), or time of '
        'flight, for which walls at several distances tell how noise grows (default: %(default)s)',
    )
    options.add_argument(
        '--baseline',
        type=float,
        metavar='METRES',
        help='between the imagers of a stereo camera; only its ratio to the sigma of the disparity '
        'counts (default: 0.05)',
    )
    options.add_argument(
        '--distance',
        type=float,
        metavar='METRES',
        help='true distance along the axis to the wall in the middle of the picture, for the bias',
    )
    options.add_argument('--json', action='store_true', help='print the estimate as JSON')
    return options


def _of_files(
    arguments: argparse.Namespace, ros_words: Sequence[str]
) -> tuple[list[Depth], CameraModel]:
    """The views of walls, and the camera of the depth. Raises UserError."""
    walls: list[Path] = arguments.wall
    if not walls or any([arguments.depth, arguments.camera_info, *ros_words]):
        raise UserError('give pictures or a recording of a WALL, or --ros to look at topics')
    recordings = [path for path in walls if names_recording(str(path))]
    if recordings:
        if len(walls) > 1:
            raise UserError('give pictures or one recording: each has a calibration of its own')
        if arguments.depth_unit is not None or arguments.camera is not None:
            raise UserError('--camera and --depth-unit are of pictures: a recording brings its own')
        return _recorded(recordings[0])
    if arguments.camera is None:
        raise UserError('give the calibration of the depth with --camera')
    depths = [read_depth(path, arguments.depth_unit) for path in walls]
    if len({depth.shape for depth in depths}) > 1:
        raise UserError('the pictures differ in size: give those of one camera')
    height, width = depths[0].shape
    return depths, read_camera(arguments.camera, (width, height), rectified=False)


def _of_topics(
    arguments: argparse.Namespace, ros_words: Sequence[str]
) -> tuple[list[Depth], CameraModel, tuple[str, ...]]:
    """The views of walls, the camera of the depth, and what it takes for granted."""
    if arguments.wall or arguments.camera:
        raise UserError('--ros looks at topics: name them with --depth and --camera-info')
    if not 0.5 <= arguments.seconds <= 600:
        raise UserError('--seconds must be from 0.5 to 600')
    try:
        from molmo_ros.ros.camera_topics import listen_to_depth
    except ImportError as error:
        raise UserError(f'--ros needs ROS 2 in this environment ({error})') from error
    given = {name: getattr(arguments, name) for name in _TOPICS}
    remapped = {name: topic for name, topic in given.items() if topic}
    words = with_depth_unit(ros_words, arguments.depth_unit)
    views = listen_to_depth(remapped, words, arguments.seconds)
    return views.depths, views.calibration.camera, views.calibration.assumed


def _recorded(path: Path) -> tuple[list[Depth], CameraModel]:
    depths: list[Depth] = []
    with open_source(str(path), SourceSettings()) as source:
        first = source.capture(None)
        camera = _depth_camera(first, path)
        for at in _MOMENTS:
            try:
                depth = (source.capture(at) if at else first).frame.depth
            except UserError:
                break  # The recording is over.
            if depth is not None:
                depths.append(depth)
    return depths, camera


def _depth_camera(capture: Capture, path: Path) -> CameraModel:
    frame = capture.frame
    if frame.depth is None:
        raise UserError(f'{path} has no depth in its first frame')
    if capture.registration is not None:
        return capture.registration.depth_camera
    if frame.camera is None:
        raise UserError(f'{path} has no calibration of its depth')
    height, width = frame.depth.shape
    return frame.camera.resized(width, height)


def _findings(estimate: NoiseEstimate, width: int) -> list[str]:
    found = [
        f'{estimate.patches} patches of a wall at {estimate.distance:.2f} m, images {width} wide: '
        f'a reading is off by {1e3 * estimate.sigma:.2f} mm (standard deviation), and as many as '
        f'{max(1.0, 4 * np.pi * estimate.noise.correlation**2):.0f} are worth one',
        f'steps of the depth there: {1e3 * estimate.step:.2f} mm',
    ]
    if estimate.bias is not None:
        found.append(
            f'bias: {1e3 * estimate.bias:+.1f} mm at the middle. No parameter takes it: calibrate '
            'the camera itself if it matters'
        )
    return found


def parameters_text(estimate: NoiseEstimate) -> str:
    """The node's parameters, as a file of `--params-file`."""
    noise = estimate.noise
    kind = 'stereo' if isinstance(noise, StereoNoise) else 'tof'
    values = {name: value for name, value in vars(noise).items() if value is not None}
    lines = [
        '/**:',
        '  ros__parameters:',
        '    noise:',
        '      preset: custom',
        f'      kind: {kind}',
        f'      {kind}:',
        *(f'        {name}: {_number(value)}' for name, value in values.items()),
    ]
    return '\n'.join(lines) + '\n'


def _number(value: float) -> str:
    """Four digits, with a point: ROS tells integers from floats."""
    text = f'{value:.4g}'
    return text if '.' in text and 'e' not in text else f'{value:.7f}'
