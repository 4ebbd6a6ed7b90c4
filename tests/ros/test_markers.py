# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""In RViz a point must be found again by the number that it has in the answer and the picture."""

import numpy as np
from std_msgs.msg import Header

from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.markers import markers
from molmo_ros.spatial import LiftStatus, SurfacePoint


def test_labels_have_the_numbers_of_the_answer_where_points_are_without_depth_too():
    def point(label, status=LiftStatus.OK):
        surface = SurfacePoint(status, position=np.array([0.1, 0.2, 0.8]))
        return GroundedPoint(ImagePoint(3, 4, label), surface, np.array([0, 0, 1.0]))

    points = [point('spoon'), point('fork', LiftStatus.NO_DEPTH), point('spoon'), point('')]
    array = markers(points, Header(frame_id='base'), diameter=0.01).markers
    labels = [marker.text for marker in array if marker.type == marker.TEXT_VIEW_FACING]
    assert labels == ['1 spoon', '3 spoon', '4']
