# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What RViz shows of an answer: a sphere, a label and the normal for each point in space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from molmo_ros.errors import shortened
from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.spatial import LiftStatus

_SPHERE = ColorRGBA(r=1.0, g=0.1, b=0.5, a=0.9)
_TEXT = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
_NORMAL = ColorRGBA(r=0.1, g=0.8, b=1.0, a=0.9)


def markers(
    points: Iterable[GroundedPoint], header: Header, diameter: float, first: int = 0
) -> MarkerArray:
    """DELETEALL, then the markers of the points that have a position; ids are the points' places.

    diameter: metres, of the spheres; all else is in proportion. first: id of the first point.
    """
    array = [Marker(header=header, action=Marker.DELETEALL)]
    for number, point in enumerate(points, first):
        if point.surface.status is LiftStatus.OK:
            array += _of_point(number, point, header, diameter)
    return MarkerArray(markers=array)


def _of_point(
    number: int, point: GroundedPoint, header: Header, diameter: float
) -> Iterator[Marker]:
    position = point.surface.position
    sphere = _marker('points', number, Marker.SPHERE, header, _SPHERE)
    sphere.pose.position = _point(position)
    sphere.scale = Vector3(x=diameter, y=diameter, z=diameter)
    yield sphere
    text = _marker('labels', number, Marker.TEXT_VIEW_FACING, header, _TEXT)
    outward = -point.approach
    text.pose.position = _point(position + 3 * diameter * outward)
    text.scale.z = 1.5 * diameter
    text.text = f'{number + 1} {shortened(point.image.label)}'.strip()
    yield text
    if np.all(np.isfinite(point.surface.normal)):
        arrow = _marker('normals', number, Marker.ARROW, header, _NORMAL)
        arrow.points = [_point(position), _point(position + 4 * diameter * point.surface.normal)]
        # Of an arrow between two points: shaft diameter, head diameter, head length.
        arrow.scale = Vector3(x=diameter / 4, y=diameter / 2, z=diameter)
        yield arrow


def _marker(namespace: str, number: int, kind: int, header: Header, color: ColorRGBA) -> Marker:
    marker = Marker(
        header=header, ns=namespace, id=number, type=kind, action=Marker.ADD, color=color
    )
    marker.pose.orientation.w = 1.0
    return marker


def _point(xyz: NDArray[np.float64]) -> Point:
    x, y, z = (float(c) for c in xyz)
    return Point(x=x, y=y, z=z)
