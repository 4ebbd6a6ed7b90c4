# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Standing questions and their points as messages, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from molmo_ros.msg import GroundedPoint as GroundedPointMessage
from molmo_ros.msg import TrackedPoints
from molmo_ros.ros.answering import Refused, Request, Status, check_frame, check_query
from molmo_ros.ros.markers import markers
from molmo_ros.ros.messages import encodable, read_mode, stamp_message, write_points
from molmo_ros.ros.watching import Sighting
from molmo_ros.ros.waypoints import waypoints
from molmo_ros.spatial.frames import frame_name

_LONGEST_S = 86_400.0  # of a lease or a period
_MOST_LETTERS = 200  # of an id


def read_watch(message: Any) -> Request:
    """What a Watch request asks. Raises Refused."""
    check_query(message.query)
    check_frame(message.target_frame, 'target_frame')
    return Request(
        query=message.query,
        mode=read_mode(message.mode),
        target_frame=frame_name(message.target_frame),
        max_points=message.max_points,
    )


def read_id(message: Any) -> str:
    """The id in a Watch request; '' is none. Raises Refused."""
    if len(message.id) > _MOST_LETTERS:
        raise Refused(
            Status.INVALID_REQUEST, f'id has more than {_MOST_LETTERS} letters: give a shorter one'
        )
    return str(message.id)


def read_seconds(message: Any, name: str, default: float) -> float:
    """A period or a lease; the default where it is zero. Raises Refused."""
    duration = getattr(message, name)
    seconds = float(duration.sec + duration.nanosec * 1e-9)
    if not 0 <= seconds <= _LONGEST_S:
        raise Refused(
            Status.INVALID_REQUEST,
            f'{name} is {seconds:g} s: give seconds from 0 to {_LONGEST_S:.0f}',
        )
    return seconds or default


def write_tracked(sighting: Sighting, standoff: float) -> TrackedPoints:
    """A TrackedPoints message."""
    header = sighting_header(sighting)
    points = write_points(sighting.points)
    for message, tracked in zip(points, sighting.tracked, strict=True):
        message.track_id = tracked.id
        message.source = (
            GroundedPointMessage.ANSWERED if tracked.answered else GroundedPointMessage.TRACKED
        )
    return TrackedPoints(
        header=header,
        id=sighting.standing.id,
        query=encodable(sighting.standing.request.query),
        status=int(sighting.last.status),
        message=encodable(sighting.last.message),
        answered=stamp_message(sighting.last.stamp),
        points=points,
        drift=[float(tracked.drift) for tracked in sighting.tracked],
        waypoints=waypoints(sighting.points, header, standoff),
        assumed=[encodable(sentence) for sentence in sighting.assumed],
    )


def sighting_header(sighting: Sighting) -> Header:
    """Stamp of the image, frame of the 3D; empty where there is no image."""
    if sighting.capture is None:
        return Header()
    stamp = stamp_message(sighting.capture.frame.stamp)
    return Header(stamp=stamp, frame_id=sighting.frame_id)


def sighting_markers(sightings: Sequence[Sighting], diameter: float) -> MarkerArray:
    """Markers of the points of all standing questions in one image, in place of those before."""
    array = MarkerArray()
    number = 0
    for sighting in sightings:
        own = markers(sighting.points, sighting_header(sighting), diameter, number)
        array.markers += own.markers[1 if number or array.markers else 0 :]
        number += len(sighting.points)
    return array
