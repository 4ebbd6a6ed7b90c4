# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`molmo-ros ask IMAGE QUERY`: a question about a file, a recording or a camera, without ROS."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from molmo_ros.cameras.calibration_files import Calibration, read_calibration
from molmo_ros.cameras.files import read_depth_with_remarks, read_image, write_color
from molmo_ros.commands.console import plain_console
from molmo_ros.commands.depth_unit import OPTION, add_depth_unit_argument
from molmo_ros.commands.engines import add_local_engine_arguments, opened_engine
from molmo_ros.commands.sources import Taken, add_source_arguments, taken_from_source
from molmo_ros.engine import Answer, Question
from molmo_ros.errors import UserError
from molmo_ros.grounding.annotate import annotated
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundedPoint, Grounding, GroundingSettings, ground
from molmo_ros.grounding.image_file import picture_notes
from molmo_ros.output import as_json, seconds, xyz
from molmo_ros.pointing import Mode, prompt_for
from molmo_ros.spatial import PRESETS, DepthRemarks, LiftSettings, SurfacePoint

# Characters of a label that are never wrapped.
_WHOLE_LABEL = 40


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status. Raises UserError."""
    # Intermixed, so that the one word beside options is the query where no image is given.
    arguments = _parser().parse_intermixed_args(argv)
    question = _question(arguments)
    # Files first: a wrong one is told before the model is waited for.
    taken = taken_from_source(arguments) or Taken(_capture(arguments))
    image = taken.capture.frame.color
    size = image.shape[1], image.shape[0]
    with opened_engine(arguments) as engine:
        answer = engine.answer(image, question)
    settings = GroundingSettings(LiftSettings(preset=arguments.noise), noise_from='--noise')
    found = ground(answer.points, taken.capture, settings, taken.target)
    if arguments.out:
        write_color(arguments.out, annotated(image, answer.points))
    if arguments.json:
        report = _report(question, size, answer, found)
        print(as_json({**report, 'source': taken.about, 'frame': _frame(arguments, taken)}))
    else:
        _show(answer, found, arguments.out)
        if taken.about:
            plain_console().print(f'from {taken.about}')
    return 0


def _frame(arguments: argparse.Namespace, taken: Taken) -> str:
    """The frame of the positions; '' for the optical one of files."""
    return str(arguments.target_frame or taken.capture.frame.frame_id)


def _capture(arguments: argparse.Namespace) -> Capture:
    """The files of a question, and what they do not say. Raises UserError."""
    stored = read_image(arguments.image)
    # Depth and a calibration belong to the pixels as they are stored.
    as_shown = arguments.depth is None and arguments.camera is None
    image = stored.rgb(as_shown)
    depth, remarks = None, DepthRemarks()
    if arguments.depth:
        depth, remarks = read_depth_with_remarks(arguments.depth, arguments.depth_unit, OPTION)
    size = image.shape[1], image.shape[0]
    calibration = _calibration(arguments, size)
    camera = calibration.camera if calibration else None
    assumed = calibration.assumed if calibration else ()
    return Capture(
        Frame(image, depth, camera, 0, ''),
        warning=remarks.warning,
        assumed=(*remarks.assumed, *assumed),
        notes=picture_notes(image, stored.orientation, as_shown),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='molmo-ros ask',
        description='Ask about an image. With --depth and --camera the points come in metres, in '
        'the optical frame: x right, y down, z forward. Recordings and cameras bring depth and '
        'calibration themselves.',
    )
    parser.add_argument(
        'image',
        type=Path,
        nargs='?',
        metavar='IMAGE',
        help='PNG, JPEG, ..., turned as its EXIF says, unless depth or a calibration is given; a '
        'ROS bag (.mcap, .db3 or its folder), a RealSense recording, a video or a folder of '
        'pictures; none with --camera realsense or webcam',
    )
    parser.add_argument('query', metavar='QUERY', help='what to point at: "the red mug"')
    parser.add_argument(
        '--mode',
        choices=[mode.name.lower() for mode in Mode],
        default='point',
        help='point at it, count it, or ask the query as it stands (default: %(default)s)',
    )
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
    parser.add_argument('--out', type=Path, metavar='PNG', help='write the image with the points')
    parser.add_argument('--json', action='store_true', help='print the answer as JSON')
    add_source_arguments(parser)
    add_local_engine_arguments(parser)
    return parser


def _calibration(arguments: argparse.Namespace, size: tuple[int, int]) -> Calibration | None:
    if arguments.camera_name and not arguments.camera:
        raise UserError('--camera-name says which camera of a file: give that as --camera')
    if not arguments.camera:
        return None
    return read_calibration(
        arguments.camera, size, arguments.camera_name, rectified=bool(arguments.rectified)
    )


def _question(arguments: argparse.Namespace) -> Question:
    question = Question(arguments.query, Mode[arguments.mode.upper()])
    try:
        prompt_for(question.query, question.mode)
    except ValueError as error:
        raise UserError(str(error)) from error
    return question


def _report(
    question: Question,
    size: tuple[int, int],
    answer: Answer,
    found: Grounding,
) -> dict[str, Any]:
    return {
        'query': question.query,
        'mode': question.mode.name,
        'image': {'width': size[0], 'height': size[1]},
        'answer': answer.text,
        'count': answer.how_many,
        'absent': answer.absent,
        'points': [_point_fields(point) for point in found.points],
        'notes': found.notes,
        'assumed': found.assumed,
        'passes': answer.passes,
        'seconds': dict(answer.timings),
    }


def _point_fields(point: GroundedPoint) -> dict[str, Any]:
    image, surface = point.image, point.surface
    return {
        'u': image.u,
        'v': image.v,
        'label': image.label,
        'confidence': image.confidence,
        'pixel_spread': image.spread,
        'status_3d': surface.status.name,
        **{key: value for key, value in asdict(surface).items() if key != 'status'},
    }


def _show(answer: Answer, found: Grounding, out: Path | None) -> None:
    console = plain_console()
    if found.points:
        console.print(_table(found.points))
    else:
        console.print(f'no points{": it says that there is none" if answer.absent else ""}')
    console.print(answer.text.strip(), style='dim')
    stages = ', '.join(f'{stage} {seconds(spent)}' for stage, spent in answer.timings.items())
    console.print(
        f'count {answer.how_many}; {answer.passes} passes, '
        f'{seconds(sum(answer.timings.values()))} ({stages})'
    )
    for sentence in (*found.assumed, *found.notes):
        console.print(sentence)
    if out:
        console.print(f'picture: {out}')


def _table(points: Sequence[GroundedPoint]) -> Table:
    table = Table(box=None)
    # Whole, so that it can be searched for; what wraps is the reason at the end of a row.
    longest = min(max(len(point.image.label) for point in points), _WHOLE_LABEL)
    table.add_column('')
    table.add_column('label', min_width=longest)
    for heading in ('u, v (pixels)', 'x y z (m)', 'normal', '3D'):
        table.add_column(heading)
    for number, point in enumerate(points, 1):
        surface = point.surface
        table.add_row(
            str(number),
            point.image.label,
            f'{point.image.u:.1f}, {point.image.v:.1f}',
            xyz(surface.position),
            xyz(surface.normal),
            _status(surface),
        )
    return table


def _status(surface: SurfacePoint) -> str:
    sigma: NDArray[np.float64] = np.sqrt(np.diag(surface.covariance))
    if np.isfinite(sigma).all():
        return f'{surface.status.name} ±{1000 * np.linalg.norm(sigma):.1f} mm'
    return f'{surface.status.name}: {surface.reason}' if surface.reason else surface.status.name
