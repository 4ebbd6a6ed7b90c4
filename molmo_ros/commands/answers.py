# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of `ask` as people and programs read them; docs/ask.md describes the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from molmo_ros.commands.sources import Taken
from molmo_ros.engine import TRUNCATED, Answer, Question
from molmo_ros.grounding.ground import GroundedPoint, Grounding
from molmo_ros.grounding.picking import NOT_ASKED, Pick
from molmo_ros.output import seconds, xyz
from molmo_ros.spatial import Grasp, SurfacePoint
from molmo_ros.spatial.grasp import quaternion_of
from molmo_ros.spatial.tool_frames import in_tool_frame

SCHEMA_VERSION = 1
"""Of the JSON: a field that is added leaves it, one that goes or means something else raises it."""

# Characters of a label that are never wrapped.
_WHOLE_LABEL = 40


@dataclass(frozen=True, eq=False)
class Answered:
    """An answer with what it is about. picture: its name. frame: of the positions; '': optical.

    files: what was written of it, by what it is: 'picture', 'heat', 'cloud'.
    """

    picture: str
    taken: Taken
    question: Question
    answer: Answer
    found: Grounding
    frame: str
    files: dict[str, Path]


def report(one: Answered) -> dict[str, Any]:
    """The answer for a program."""
    height, width = one.taken.capture.frame.color.shape[:2]
    return {
        'schema_version': SCHEMA_VERSION,
        'picture': one.picture,
        'query': one.question.query,
        'mode': one.question.mode.name,
        'image': {'width': width, 'height': height},
        'answer': one.answer.text,
        'count': one.answer.how_many,
        'absent': one.answer.absent,
        'presence': one.answer.presence,
        'truncated': one.answer.truncated,
        'points': [_point_fields(point) for point in one.found.points],
        'notes': one.found.notes,
        'assumed': one.found.assumed,
        'passes': one.answer.passes,
        'seconds': dict(one.answer.timings),
        'source': one.taken.about,
        'frame': one.frame,
        'files': {what: str(path) for what, path in one.files.items()},
    }


def error_report(picture: str, error: Exception) -> dict[str, Any]:
    """What a program gets, among several, of a picture that could not be asked about."""
    return {'schema_version': SCHEMA_VERSION, 'picture': picture, 'error': str(error)}


def _point_fields(point: GroundedPoint) -> dict[str, Any]:
    asked = point.pick is not NOT_ASKED
    image, surface = point.image, point.surface
    return {
        'u': image.u,
        'v': image.v,
        'label': image.label,
        'confidence': image.confidence,
        'pixel_spread': image.spread,
        'status_3d': surface.status.name,
        **{key: value for key, value in asdict(surface).items() if key != 'status'},
        **(
            {'object': _object_fields(point.pick), 'place': _place_fields(point.pick)}
            if asked
            else {}
        ),
    }


def _object_fields(pick: Pick) -> dict[str, Any]:
    """As in GroundedPoint.msg."""
    extent, pose = pick.extent, pick.pose
    box = None
    if extent is not None:
        box = {'position': extent.centre, 'quaternion': quaternion_of(extent.axes.T)}
    return {
        'measured': extent is not None,
        'reason': pick.reason,
        'centroid': extent.centroid if extent is not None else None,
        'box': box,
        'size': extent.size if extent is not None else None,
        'grasp_width': pose.width if pose is not None else nan,
        'graspable': pose is not None and pose.graspable,
        'may_be_several': pick.grasps.may_be_several,
        'grasps': [_grasp_fields(way, pick.tool_frame) for way in pick.grasps.ways],
    }


def _grasp_fields(grasp: Grasp, tool_frame: str) -> dict[str, Any]:
    return {
        'approach': grasp.approach.name,
        'position': grasp.position,
        'quaternion': quaternion_of(in_tool_frame(grasp.rotation, tool_frame)),
        'pregrasp': grasp.pregrasp,
        'retreat': grasp.retreat,
        'width': grasp.width,
        'opening': grasp.opening,
        'depth': grasp.depth,
        'score': grasp.score,
        'reason': grasp.reason,
    }


def _place_fields(pick: Pick) -> dict[str, Any]:
    place = pick.place
    return {
        'position': place.position,
        'up': place.up,
        'radius': place.radius,
        'reason': place.reason,
    }


def show(one: Answered, console: Console, titled: bool) -> None:
    """The answer for people. titled: with what was asked, where several follow each other."""
    answer, found = one.answer, one.found
    if titled:
        console.print(f'{one.picture}: {one.question.query}', style='bold')
    if found.points:
        console.print(_table(found.points, one.taken.capture.frame.depth is not None))
    else:
        console.print(f'no points{": it says that there is none" if answer.absent else ""}')
    for number, point in enumerate(found.points, 1):
        for line in _pick_lines(point.pick):
            console.print(f'{number} {line}')
    console.print(answer.text.strip(), style='dim')
    stages = ', '.join(f'{stage} {seconds(spent)}' for stage, spent in answer.timings.items())
    belief = '' if isnan(answer.presence) else f'presence {answer.presence:.2f}; '
    console.print(
        f'count {answer.how_many}; {belief}{answer.passes} passes, '
        f'{seconds(sum(answer.timings.values()))} ({stages})'
    )
    if answer.truncated:
        console.print(TRUNCATED)
    # Of a picture alone nobody expects positions.
    notes = one.taken.capture.notes if one.taken.is_flat else found.notes
    for sentence in (*found.assumed, *notes):
        console.print(sentence)
    for what, path in one.files.items():
        console.print(f'{what}: {path}')
    if one.taken.about not in ('', one.picture):
        console.print(f'from {one.taken.about}')
    if titled:
        console.print()


def _pick_lines(pick: Pick) -> Iterator[str]:
    """How the thing is taken, and where something can be put down."""
    if pick is NOT_ASKED:
        return
    best = pick.grasps.best
    if best is not None:
        yield (
            f'grasp: {best.approach.value}, at {xyz(best.position)}, '
            f'{1e3 * best.width:.0f} mm wide, score {best.score:.2f}'
        )
    elif pick.reason:
        yield f'grasp: none; {pick.reason}'
    place = pick.place
    if isfinite(place.radius):
        ends = f'; {place.reason}' if place.reason else ''
        yield f'place: at {xyz(place.position)}, free within {1e3 * place.radius:.0f} mm{ends}'


def _table(points: Sequence[GroundedPoint], in_space: bool) -> Table:
    table = Table(box=None)
    # Whole, so that it can be searched for; what wraps is the reason at the end of a row.
    longest = min(max(len(point.image.label) for point in points), _WHOLE_LABEL)
    table.add_column('')
    table.add_column('label', min_width=longest)
    for heading in ('u, v (pixels)', 'confidence'):
        table.add_column(heading)
    for heading in ('x y z (m)', 'normal', '3D') if in_space else ():
        table.add_column(heading)
    for number, point in enumerate(points, 1):
        image, surface = point.image, point.surface
        cells = [
            str(number),
            image.label,
            f'{image.u:.1f}, {image.v:.1f}',
            f'{image.confidence:.2f}' if np.isfinite(image.confidence) else '-',
        ]
        if in_space:
            cells += [xyz(surface.position), xyz(surface.normal), _status(surface)]
        table.add_row(*cells)
    return table


def _status(surface: SurfacePoint) -> str:
    sigma: NDArray[np.float64] = np.sqrt(np.diag(surface.covariance))
    if np.isfinite(sigma).all():
        return f'{surface.status.name} ±{1000 * np.linalg.norm(sigma):.1f} mm'
    return f'{surface.status.name}: {surface.reason}' if surface.reason else surface.status.name
