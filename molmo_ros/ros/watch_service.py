# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The part of the node that standing questions see: the service, and the topics."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from molmo_ros.errors import shortened
from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.msg import TrackedPoints
from molmo_ros.ros.answering import Refused, Status
from molmo_ros.ros.messages import duration_message
from molmo_ros.ros.node_settings import NodeSettings
from molmo_ros.ros.responses import publish
from molmo_ros.ros.standing import StandingBook
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.tracked_messages import (
    read_id,
    read_seconds,
    read_watch,
    sighting_header,
    sighting_markers,
    write_tracked,
)
from molmo_ros.ros.watching import Asked, Sighting, TargetOf, Watching
from molmo_ros.ros.waypoints import waypoints
from molmo_ros.srv import Watch

ShowObjects = Callable[[Sequence[GroundedPoint], Capture, TargetFrame, Header], object]


class WatchService:
    """Offers `point_query/watch` and publishes `~/tracked`, and markers and waypoints with it.

    Arguments: see `Watching`; markers, waypoints: the node's own publishers. show_objects: shows
    the things that points are on, where somebody looks.
    """

    def __init__(
        self,
        node: Node,
        engine: Asked,
        streams: CameraStreams,
        target: TargetOf,
        settings: Callable[[], NodeSettings],
        markers: Publisher,
        waypoints: Publisher,
        show_objects: ShowObjects,
    ) -> None:
        self._show_objects = show_objects
        self._settings = settings
        self._markers = markers
        self._waypoints = waypoints
        self._tracked = node.create_publisher(TrackedPoints, '~/tracked', QoSProfile(depth=10))
        self._book = StandingBook(settings().max_standing)
        self._logger = node.get_logger()
        self._watching = Watching(
            self._book, engine, streams, target, settings, self._show, self._logger.error
        )
        self._shown = settings()
        self._service = node.create_service(
            Watch,
            'point_query/watch',
            self._on_request,
            callback_group=ReentrantCallbackGroup(),
        )

    def close(self, timeout: float) -> bool:
        """End all standing questions; False if that takes longer than `timeout` seconds."""
        return self._watching.close(timeout)

    def _on_request(self, request: Watch.Request, response: Watch.Response) -> Watch.Response:
        response.topic = self._tracked.topic_name
        try:
            response.id = read_id(request)
            if request.stop:
                self._book.end(response.id)
                return response
            self._shown = self._settings()
            response.id = response.id or uuid.uuid4().hex
            lease = read_seconds(request, 'lease', self._shown.standing_lease)
            period = read_seconds(request, 'period', 0.0)
            self._book.set(response.id, read_watch(request), period, lease)
            response.lease = duration_message(lease)
        except Refused as refusal:
            response.status, response.message = int(refusal.status), str(refusal)
        except Exception as error:
            response.status = int(Status.INVALID_REQUEST)
            response.message = f'{type(error).__name__}: {shortened(error, 500)}'
        return response

    def _show(self, sightings: Sequence[Sighting]) -> None:
        shown, log = self._shown, self._logger
        for sighting in sightings:
            publish(self._tracked, write_tracked(sighting, shown.waypoint_standoff), log)
        seen = [one for one in sightings if one.capture is not None and one.last.stamp]
        if not seen:
            return
        if self._markers.get_subscription_count():
            publish(self._markers, sighting_markers(seen, shown.marker_diameter), log)
        if self._waypoints.get_subscription_count():
            for one in seen:
                poses = waypoints(one.points, sighting_header(one), shown.waypoint_standoff)
                publish(self._waypoints, poses, log)
        for one in seen:
            points = one.measured
            if points is not None and one.capture is not None and one.target is not None:
                self._show_objects(points, one.capture, one.target, sighting_header(one))
