# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Waypoints that a gripper can start from: the object's, where the depth shows one."""

import time
from dataclasses import replace

import numpy as np
import pytest
from molmo_ros.srv import PointQuery
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.grounding.objects import object_cloud, object_mask
from molmo_ros.grounding.picking import pick
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros import parameters
from molmo_ros.ros.answering import Status
from molmo_ros.ros.conversions import camera_info_message, color_message, depth_message
from molmo_ros.ros.messages import write_points
from molmo_ros.ros.node_settings import read_settings
from molmo_ros.ros.object_messages import cloud_message, mask_message
from molmo_ros.ros.sync import stamp_ns
from molmo_ros.ros.waypoints import waypoints
from molmo_ros.spatial import (
    Approach,
    CameraModel,
    GraspSettings,
    LiftSettings,
    LiftStatus,
    Registration,
    SurfacePoint,
    lift,
)

from .conftest import Caller

DEFAULT, BACK = GraspSettings(), np.array([0, 0, 0.1])
OPTICAL = 'wrist_optical_frame'
WIDTH, HEIGHT, FOCAL, U, V, ON_TABLE = 640, 480, 600.0, 300, 260, (500, 100)
TABLE, TALL, LENGTH, BREADTH, TURN = 0.8, 0.08, 0.10, 0.05, 30.0


@pytest.fixture(scope='module')
def seen():
    """A box on a table, from straight above; the length of the box is 30 degrees from x to y."""
    depth = np.full((HEIGHT, WIDTH), TABLE, np.float32)
    x, y = np.meshgrid(np.arange(WIDTH) - U, np.arange(HEIGHT) - V)
    cos, sin, metres = np.cos(np.radians(TURN)), np.sin(np.radians(TURN)), (TABLE - TALL) / FOCAL
    inside = np.abs(cos * x + sin * y) * metres <= LENGTH / 2
    inside &= np.abs(cos * y - sin * x) * metres <= BREADTH / 2
    depth[inside] = TABLE - TALL
    K = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    color = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    return Frame(color, depth, CameraModel(WIDTH, HEIGHT, K), 0, OPTICAL)


def picked(seen, u, v, registration=None, camera=None, grasp=DEFAULT, up=None):
    surface = lift(u, v, seen.depth, camera or seen.camera, registration=registration)
    frame = replace(seen, camera=camera or seen.camera)
    capture, target = Capture(frame, registration), TargetFrame(np.eye(4), up=up)
    found = pick(surface, capture, target, LiftSettings(), grasp)
    return GroundedPoint(ImagePoint(u, v, 'it'), surface, -surface.normal, found)


def axes_of(pose):
    q = pose.orientation
    quaternion = [q.x, q.y, q.z, q.w]
    assert np.linalg.norm(quaternion) == pytest.approx(1, abs=1e-9)
    return Rotation.from_quat(quaternion).as_matrix()


def xyz(message):
    return np.array([message.x, message.y, message.z])


def test_the_node_gives_the_box_and_a_way_to_grasp_it(picking_caller, seen):
    """In 'base' the camera stands at (1, 2, 3) and looks down; its y and z are turned about."""
    header = Header(frame_id=OPTICAL)
    request = PointQuery.Request(
        query=f'at {ON_TABLE[0]} {ON_TABLE[1]} at {U} {V}',
        image=color_message(seen.color, header),
        depth=depth_message(seen.depth, '16UC1', header),
        camera_info=camera_info_message(seen.camera, header),
        target_frame='base',
    )
    response = picking_caller.call(request)
    assert response.status == PointQuery.Response.SUCCESS and response.header.frame_id == 'base'
    assert 'object' in [stage.stage for stage in response.stage_times]
    table, box = response.points
    above_table, above_box = response.waypoints.poses
    assert not table.object_measured and 'by the surface' in table.object_reason
    assert np.isnan([*xyz(table.object_size), *xyz(table.object_centroid), table.grasp_width]).all()
    assert np.isnan(xyz(table.object_box.position)).all() and not table.graspable
    np.testing.assert_allclose(xyz(above_table.position), xyz(table.position) + BACK, atol=5e-3)
    axes_of(above_table)

    assert box.object_measured and box.object_reason == '' and box.graspable
    assert box.grasp_width == pytest.approx(BREADTH, abs=5e-3)
    np.testing.assert_allclose(xyz(box.object_size), (LENGTH, BREADTH, TALL), atol=5e-3)
    x, y, _ = seen.camera.ray(U, V) * (TABLE - TALL)
    middle = np.array([1 + x, 2 - y, 3 - TABLE + TALL / 2])
    np.testing.assert_allclose(xyz(box.object_box.position), middle, atol=5e-3)
    along = np.array([np.cos(np.radians(TURN)), -np.sin(np.radians(TURN)), 0])
    across = np.array([along[1], -along[0], 0])
    boxed = axes_of(box.object_box)
    assert abs(boxed[:, 0] @ along) > 0.995 and boxed[2, 2] > 0.999
    grasp = axes_of(above_box)
    assert abs(grasp[:, 0] @ across) > 0.995 and grasp[2, 2] < -0.999
    best = box.grasps[0]
    assert best.reason == '' and best.score > 0 and best.opening > best.width
    held = xyz(best.pose.position)
    off = held - middle  # centred between the fingers, and near the middle along them
    assert abs(off @ across) < 3e-3 and abs(off @ along) < 0.015
    assert 3 - TABLE < held[2] < middle[2] + 5e-3  # down to the middle of it, not under the table
    for pose in (above_box, best.pregrasp):
        np.testing.assert_allclose(xyz(pose.position), held + BACK, atol=1e-6)
    np.testing.assert_allclose(axes_of(best.pose), grasp, atol=1e-6)
    np.testing.assert_allclose(xyz(best.retreat.position), held + BACK, atol=2e-3)
    refused = [way.reason for way in box.grasps if way.reason]
    assert any('wider' in reason for reason in refused) and not box.object_may_be_several
    assert table.place_radius > 0.05 and axes_of(table.place)[2, 2] > 0.999
    np.testing.assert_allclose(xyz(table.place.position), xyz(table.position), atol=2e-3)


def test_the_thing_under_a_followed_point_is_measured_and_then_moves_with_it(
    client_of, asking, wall_camera, seen, caller
):
    camera, header, told = wall_camera('picking'), Header(frame_id=OPTICAL), []
    marks = np.random.default_rng(5).integers(0, 255, seen.color.shape, np.uint8)
    camera.messages |= {
        'image': color_message(marks, header),
        'depth': depth_message(seen.depth, '16UC1', header),
        'camera_info': camera_info_message(seen.camera, header),
    }
    client, asked = client_of('picking'), {'query': f'at {U} {V}', 'target_frame': 'base'}

    def all_is_there():
        """Depth may be heard later than the image: then the thing is measured as it is carried."""
        return any(point.object.measured for point in client.ask(**asked).points)

    def told_of(moved):
        """Those whose thing was measured in their own image, or in one before."""
        points = [one for one in told if one.points and one.points[0].point.object.measured]
        return [one for one in points if bool(one.points[0].point.object.reason) is moved]

    def answers():
        return [one for one in told if one.points and one.points[0].answered]

    def stamps(moved):
        return {one.stamp_ns for one in told_of(moved)}

    masks, clouds = [], []
    of_node = '/picking/molmo_point_query'
    caller.node.create_subscription(Image, f'{of_node}/object_mask', masks.append, 10)
    caller.node.create_subscription(PointCloud2, f'{of_node}/object_cloud', clouds.append, 10)
    with camera:
        Caller.wait_for(all_is_there)
        # Whoever begins to listen may miss the first ones.
        with client.watch(on_points=told.append, period=1.0, **asked):
            Caller.wait_for(lambda: told_of(moved=True) and clouds and answers())
            Caller.wait_for(lambda: {stamp_ns(mask) for mask in masks} & stamps(moved=False))
    assert masks[-1].data[V * masks[-1].width + U] == 1 and masks[-1].data[0] == 0
    assert clouds[-1].header.frame_id == 'base' and clouds[-1].width > 100
    assert not {stamp_ns(mask) for mask in masks} & stamps(moved=True)
    first, later = told_of(moved=False)[0], told_of(moved=True)[-1]
    assert not later.points[0].answered
    measured, moved = first.points[0].point.object, later.points[0].point.object
    assert 'moved with the point' in moved.reason
    np.testing.assert_allclose(moved.centre, measured.centre, atol=2e-3)
    np.testing.assert_allclose(moved.size, measured.size)
    (here,), (there,) = first.waypoints.poses, later.waypoints.poses
    np.testing.assert_allclose(xyz(there.position), xyz(here.position), atol=2e-3)
    np.testing.assert_allclose(axes_of(there), axes_of(here))


def test_the_client_reads_the_object_as_the_node_wrote_it(client_of, asking, seen):
    client = client_of('picking')
    query = f'at {ON_TABLE[0]} {ON_TABLE[1]} at {U} {V}'
    answered = client.ask(query, frame=seen, target_frame='base')
    table, box = (point.object for point in answered.points)
    assert not table.measured and 'by the surface' in table.reason and not table.graspable
    assert np.isnan([*table.size, *table.centroid, *table.centre, table.grasp_width]).all()
    assert 'by the surface' in answered.message
    assert box.measured and box.reason == '' and box.graspable
    assert box.grasp_width == pytest.approx(BREADTH, abs=5e-3)
    np.testing.assert_allclose(box.size, (LENGTH, BREADTH, TALL), atol=5e-3)
    along = Rotation.from_quat(box.quaternion).as_matrix()[:, 0]
    assert abs(along @ (np.cos(np.radians(TURN)), -np.sin(np.radians(TURN)), 0)) > 0.995
    np.testing.assert_allclose(box.centre[2], 3 - TABLE + TALL / 2, atol=5e-3)
    np.testing.assert_allclose(box.centroid[2], 3 - TABLE + TALL, atol=5e-3)
    best = box.grasps[0]
    assert best.reason == '' and best.approach == 'ABOVE' and not box.may_be_several
    np.testing.assert_allclose(best.pregrasp, best.position + BACK, atol=1e-6)
    assert answered.points[0].place.radius > 0.05


def test_above_is_against_gravity_where_a_frame_says_which_way_that_is(client_of, asking, seen):
    """The table, level with 'base', is 10 degrees off a frame 'gravity' that comes late."""
    client = client_of('upright')

    def ask():
        answered = client.ask(f'at {U} {V}', frame=seen, target_frame='base')
        return answered, axes_of(answered.waypoints.poses[0])[:, 2]

    answered, approach = ask()
    assert 'grasp.up_frame' in answered.message and "'gravity'" in answered.message
    np.testing.assert_allclose(approach, [0, 0, -1], atol=0.02)
    half = np.radians(10) / 2
    asking.camera.stand('base', (0.0, 0.0, 0.0), (np.sin(half), 0.0, 0.0, np.cos(half)), 'gravity')
    end = time.monotonic() + 60
    while answered.message and time.monotonic() < end:
        answered, approach = ask()
    assert answered.message == '' and answered.points[0].object.measured
    np.testing.assert_allclose(approach, [0, np.sin(2 * half), -np.cos(2 * half)], atol=1e-3)


def test_time_that_is_up_leaves_the_surface_and_cancelling_ends_it(client_of, asking, seen):
    client = client_of('picking')
    # Surfaces are found in a small part of the time, objects not in ten times as much on any CPU.
    many = f'times 1000 at {U} {V}'
    answered = client.ask(many, frame=seen, timeout=5.0)
    assert answered.status is Status.SUCCESS and len(answered.waypoints.poses) == 1000
    last = answered.points[-1]
    assert last.surface.status is LiftStatus.OK and not last.object.measured
    assert 'the time was up' in last.object.reason and 'the time was up' in answered.message

    stages = []
    asked = client.start(
        many, frame=seen, timeout=60, on_feedback=lambda stage, points: stages.append(stage)
    )
    Caller.wait_for(lambda: 'object' in stages or asked.done())
    assert 'object' in stages, (stages, asked.result().status, asked.result().message)
    asked.cancel()
    assert asked.result(30).status is Status.CANCELED
    assert client.ask(f'at {U} {V}', frame=seen).points[0].object.measured


def test_waypoints_keep_the_order_of_the_points_whatever_they_go_by(seen):
    points = [picked(seen, *ON_TABLE), picked(seen, U, V)]
    table, box = waypoints(points, Header(), standoff=0.05).poses
    assert table.position.x > 0.1 and abs(box.position.x) < 0.1
    assert table.position.z == pytest.approx(TABLE - 0.05, abs=2e-3)
    lowered = box.position.z + GraspSettings().standoff - (TABLE - TALL)
    assert TALL / 3 < lowered < TALL


def test_depth_of_another_camera_measures_the_same_object(seen):
    """The color camera stands 3 cm beside the depth camera; the answer is in its frame."""
    T = np.eye(4)
    T[0, 3] = 0.03
    at = seen.camera.ray(U, V) * (TABLE - TALL) + T[:3, 3]
    own = picked(seen, U, V).pick.extent
    other = picked(seen, *seen.camera.project(at), Registration(seen.camera, T)).pick.extent
    np.testing.assert_allclose(other.size, own.size, atol=3e-3)
    np.testing.assert_allclose(other.centroid, own.centroid + T[:3, 3], atol=3e-3)


def test_depth_of_another_size_measures_the_same_object(seen):
    color = seen.camera.resized(2 * WIDTH, 2 * HEIGHT)
    extent = picked(seen, 2 * U, 2 * V, camera=color).pick.extent
    np.testing.assert_allclose(extent.size, (LENGTH, BREADTH, TALL), atol=5e-3)


def test_a_point_without_a_position_has_no_object(seen):
    nothing = SurfacePoint(LiftStatus.DEPTH_INVALID)
    nowhere = TargetFrame(None, 'not connected')
    found = pick(nothing, Capture(seen), nowhere, LiftSettings(), GraspSettings())
    (message,) = write_points([GroundedPoint(ImagePoint(1, 2, ''), nothing, np.zeros(3), found)])
    assert not message.object_measured and 'no position' in message.object_reason


def test_what_the_gripper_cannot_go_around_is_not_graspable(seen):
    found = picked(seen, U, V, grasp=GraspSettings(opening=0.03)).pick
    assert found.pose is not None and not found.pose.graspable


def test_a_thing_that_the_image_cuts_off_may_be_larger(seen):
    shifted = np.roll(seen.depth, WIDTH - U - 20, axis=1)
    shifted[:, : WIDTH // 2] = TABLE
    found = picked(replace(seen, depth=shifted), WIDTH - 30, V).pick
    assert found.extent.cut and 'cut off' in found.reason and found.pose is not None


def test_without_the_plane_the_approach_goes_by_the_normal_and_says_so(seen):
    depth = np.where(seen.depth < TABLE, seen.depth, np.float32(np.nan))
    depth[:, :250] = np.where(np.isnan(depth[:, :250]), 0.5, depth[:, :250])
    floating = replace(seen, depth=depth)
    found = picked(floating, U, V).pick
    assert found.extent.plane is None and found.pose.approach is Approach.NORMAL
    assert 'plane under the object is not seen' in found.reason
    up = np.array([0.0, np.sin(0.1), -np.cos(0.1)])
    found = picked(floating, U, V, up=up).pick
    assert found.pose.approach is Approach.ABOVE and found.reason == ''


def test_gravity_is_turned_into_the_depth_cameras_own_frame(seen):
    """A depth camera that lies on its side: what is up for color is sideways for it."""
    T = np.eye(4)
    T[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    at = T[:3, :3] @ (seen.camera.ray(U, V) * (TABLE - TALL))
    up = np.array([0.0, np.sin(0.1), -np.cos(0.1)])
    pixel = seen.camera.project(at)
    found = picked(seen, *pixel, Registration(seen.camera, T), up=up).pick
    assert found.extent is not None and found.extent.plane is not None
    np.testing.assert_allclose(
        Rotation.from_quat(found.pose.quaternion).as_matrix()[:, 2], -up, atol=1e-9
    )


def test_the_defaults_of_grasping_are_those_of_the_library():
    settings = {p.name: p.default for p in parameters.POINT_QUERY}
    assert read_settings(settings).grounding.grasp is None
    asked = read_settings(settings | {'waypoint_from': 'object'})
    assert asked.grounding.grasp == GraspSettings(standoff=settings['waypoint_standoff'])


def test_mask_and_cloud_show_the_thing_in_the_picture_and_in_its_colors(seen):
    """The second point is on the box, whose half is red; the cloud is where the box is."""
    color = seen.color.copy()
    color[:, :U] = (200, 10, 10)
    capture, target = Capture(replace(seen, color=color)), TargetFrame(np.eye(4))
    points = [picked(seen, *ON_TABLE), picked(seen, U, V)]
    mask = object_mask(points, capture, target)
    box = seen.depth < TABLE - TALL / 2
    assert set(np.unique(mask)) == {0, 2}
    assert np.mean((mask == 2) == box) > 0.995 and np.mean(mask[box] == 2) > 0.9
    message = mask_message(mask, Header(frame_id=OPTICAL))
    assert message.encoding == 'mono8' and bytes(message.data) == mask.tobytes()
    xyz, rgb, numbers = object_cloud(points, capture, target)
    assert set(numbers) == {2} and len(xyz) > 150
    np.testing.assert_allclose(xyz[:, 2], TABLE - TALL, atol=2e-3)
    assert 0.4 < np.mean((rgb == (200, 10, 10)).all(1)) < 0.6
    cloud = cloud_message(xyz, rgb, numbers, Header(frame_id='base'))
    read = np.frombuffer(bytes(cloud.data), np.float32).reshape(-1, 5)
    np.testing.assert_array_equal(read[:, :3], xyz)
    assert cloud.width == len(xyz) and cloud.row_step == len(cloud.data)


def test_without_a_grasp_the_waypoint_has_the_axes_of_the_tool_too(seen):
    """On the bare table, for a gripper whose x axis is the way of the approach."""
    found = picked(seen, *ON_TABLE, grasp=GraspSettings(tool_frame='flange'))
    (pose,) = waypoints([found], Header()).poses
    np.testing.assert_allclose(axes_of(pose)[:, 0], (0, 0, 1), atol=0.02)
