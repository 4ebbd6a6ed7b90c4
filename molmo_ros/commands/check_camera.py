# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros check-camera`: do a picture, its depth and its calibration belong together?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.calibration_files import read_calibration
from molmo_ros.cameras.files import read_depth_with_remarks, read_image, write_color
from molmo_ros.commands.console import plain_console
from molmo_ros.commands.depth_unit import OPTION, add_depth_unit_argument, with_depth_unit
from molmo_ros.errors import UserError
from molmo_ros.grounding.camera_check import (
    Finding,
    aligned_depth,
    capture_findings,
    edges_picture,
)
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.image_file import picture_notes
from molmo_ros.output import as_json
from molmo_ros.spatial import DepthRemarks, Registration

_MARKS = {True: ('good ', 'green'), False: ('WRONG', 'bold red'), None: ('look ', 'yellow')}
_TOPICS = ('image', 'depth', 'camera_info', 'depth_camera_info')


def main(argv: Sequence[str]) -> int:
    """Run the command; returns 0 if nothing is wrong, 1 if something is. Raises UserError."""
    words = list(argv)
    at = words.index('--ros-args') if '--ros-args' in words else len(words)
    arguments = parser().parse_args(words[:at])
    if arguments.ros:
        findings, capture = _of_topics(arguments, words[at:])
    else:
        capture = _of_files(arguments, words[at:])
        findings = []
    if capture is not None:
        findings = [*findings, *capture_findings(capture)]
    written = _write(arguments.out, capture) if arguments.out else None
    good = all(finding.good is not False for finding in findings)
    if arguments.json:
        report = {'good': good, 'findings': [asdict(finding) for finding in findings]}
        print(as_json(report))
    else:
        _show(findings, written)
    return 0 if good else 1


def parser() -> argparse.ArgumentParser:
    """Of the arguments."""
    parser = argparse.ArgumentParser(
        prog='molmo-ros check-camera',
        description='Say how a picture, its depth and its calibration fit together, before '
        "anybody asks: by how many pixels depth's edges are off, how far things are, what would be "
        'assumed. From files, or with --ros from what cameras publish now. Exit status: 0 nothing '
        'is wrong, 1 something is, 2 it cannot be read. What it marks with "look" is for a person '
        'to judge.',
        epilog='With --ros, all after --ros-args goes to the node as it does to point_query_node: '
        '--ros-args -p depth_unit:=0.001 -r __ns:=/left',
    )
    parser.add_argument('picture', type=Path, nargs='?', metavar='PICTURE', help='PNG, JPEG, ...')
    parser.add_argument('--depth', metavar='FILE', help='its depth; with --ros the topic')
    add_depth_unit_argument(parser)
    parser.add_argument('--camera', type=Path, metavar='FILE', help='calibration, as of `ask`')
    parser.add_argument('--camera-name', metavar='NAME', default='', help='which one in the file')
    parser.add_argument(
        '--depth-camera',
        type=Path,
        metavar='FILE',
        help='calibration of the depth camera, for depth that is not aligned',
    )
    parser.add_argument('--depth-camera-name', metavar='NAME', default='')
    parser.add_argument(
        '--depth-pose',
        metavar="'X Y Z QX QY QZ QW'",
        help="pose of the depth camera's optical frame in the picture's, metres",
    )
    parser.add_argument('--ros', action='store_true', help='look at topics instead of files')
    for topic in ('image', 'camera-info', 'depth-camera-info'):
        parser.add_argument(f'--{topic}', metavar='TOPIC', help='with --ros')
    parser.add_argument(
        '--seconds',
        type=float,
        default=4.0,
        help='how long to listen, with --ros (default: %(default)s)',
    )
    parser.add_argument(
        '--out', type=Path, metavar='PNG', help="write the picture with depth's edges on it"
    )
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
    return parser


def _of_files(arguments: argparse.Namespace, ros_words: Sequence[str]) -> Capture:
    topics = [arguments.image, arguments.camera_info, arguments.depth_camera_info, *ros_words]
    if arguments.picture is None or any(topics):
        raise UserError('give a PICTURE, or --ros to look at topics')
    # As `ask` reads them where depth or a calibration is given: pixels as they are stored.
    stored = read_image(arguments.picture)
    color = stored.rgb(as_shown=False)
    depth, remarks = None, DepthRemarks()
    if arguments.depth:
        path = Path(arguments.depth)
        depth, remarks = read_depth_with_remarks(path, arguments.depth_unit, OPTION)
    assumed: tuple[str, ...] = ()
    camera = None
    if arguments.camera:
        size = color.shape[1], color.shape[0]
        calibration = read_calibration(arguments.camera, size, arguments.camera_name)
        camera, assumed = calibration.camera, calibration.assumed
    elif arguments.depth_camera:
        raise UserError('--depth-camera needs the --camera of the picture as well')
    registration = None
    if arguments.depth_camera and depth is not None:
        registration, told = _registration(arguments, depth)
        assumed += told
    return Capture(
        Frame(color, depth, camera, 0, ''),
        registration,
        warning=remarks.warning,
        assumed=(*remarks.assumed, *assumed),
        notes=picture_notes(color, stored.orientation),
    )


def _registration(
    arguments: argparse.Namespace, depth: NDArray[np.float32]
) -> tuple[Registration, tuple[str, ...]]:
    if not arguments.depth_pose:
        raise UserError('--depth-camera needs --depth-pose: where it stands to the color camera')
    size = depth.shape[1], depth.shape[0]
    read = read_calibration(arguments.depth_camera, size, arguments.depth_camera_name)
    return Registration(read.camera, _pose(arguments.depth_pose)), read.assumed


def _pose(text: str) -> NDArray[np.float64]:
    """(4, 4) of 'x y z qx qy qz qw'. Raises UserError."""
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != 7 or not np.isfinite(numbers).all() or np.linalg.norm(numbers[3:]) < 0.1:
        raise UserError('--depth-pose: give x y z in metres and a quaternion qx qy qz qw')
    x, y, z, w = numbers[3:] / np.linalg.norm(numbers[3:])
    T = np.eye(4)
    T[:3, :3] = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    T[:3, 3] = numbers[:3]
    return T


def _of_topics(
    arguments: argparse.Namespace, ros_words: Sequence[str]
) -> tuple[list[Finding], Capture | None]:
    files = (arguments.picture, arguments.camera, arguments.depth_camera, arguments.depth_pose)
    if any(files):
        raise UserError('--ros looks at topics: name them with --image, --depth, --camera-info')
    if not 0.5 <= arguments.seconds <= 600:
        raise UserError('--seconds must be from 0.5 to 600')
    try:
        from molmo_ros.ros.camera_topics import listen
    except ImportError as error:
        raise UserError(f'--ros needs ROS 2 in this environment ({error})') from error
    given = {name: getattr(arguments, name) for name in _TOPICS}
    remapped = {name: topic for name, topic in given.items() if topic}
    words = with_depth_unit(ros_words, arguments.depth_unit)
    return listen(remapped, words, arguments.seconds)


def _write(out: Path, capture: Capture | None) -> Path | None:
    depth = aligned_depth(capture) if capture is not None else None
    if capture is None or depth is None:
        return None
    write_color(out, edges_picture(capture.frame.color, depth))
    return out


def _show(findings: Sequence[Finding], written: Path | None) -> None:
    console = plain_console()
    for finding in findings:
        mark, style = _MARKS[finding.good]
        console.print(f'{mark}  ', style=style, end='')
        console.print(f'{finding.what}: {finding.text}', soft_wrap=True)
    if written:
        console.print(f'picture: {written}; the edges of depth should lie on those of things')
