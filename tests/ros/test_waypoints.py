# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A planner must be able to take every waypoint as it is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.waypoints import approach_quaternion, rotation_quaternion, waypoints
from molmo_ros.spatial import LiftStatus, SurfacePoint

unit_vectors = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3)


@given(unit_vectors)
def test_z_goes_along_the_approach_and_x_along_the_frame(direction):
    z = np.array(direction) / np.linalg.norm(direction)
    q = approach_quaternion(z)
    assert abs(np.linalg.norm(q) - 1) < 1e-9
    R = Rotation.from_quat(q).as_matrix()
    np.testing.assert_allclose(R[:, 2], z, atol=1e-7)
    if abs(z[0]) < 0.98:
        assert R[0, 0] > 0 and abs(np.cross(R[:, 0], z) @ [1, 0, 0]) < 1e-7


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_a_rotation_comes_back_as_its_quaternion(q):
    rotation = Rotation.from_quat(q)
    back = Rotation.from_quat(rotation_quaternion(rotation.as_matrix()))
    assert (rotation.inv() * back).magnitude() < 1e-6


def test_only_points_in_space_are_waypoints_and_they_keep_off_the_surface():
    def point(status, position):
        surface = SurfacePoint(status, position=np.array(position))
        return GroundedPoint(ImagePoint(1, 2, 'it'), surface, np.array([0, 0, -1.0]))

    points = [
        point(LiftStatus.OK, [1, 2, 3.0]),
        point(LiftStatus.NO_DEPTH, [np.nan] * 3),
        point(LiftStatus.OK, [4, 5, 6.0]),
    ]
    poses = waypoints(points, Header(frame_id='base'), standoff=0.1).poses
    assert [pose.position.x for pose in poses] == [1, 4]
    assert abs(poses[0].position.z - 3.1) < 1e-9
