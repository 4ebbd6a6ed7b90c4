# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Grounding without ROS and without a model: what every caller of `ground` relies on."""

import numpy as np
import pytest

from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundingSettings, Watch, ground
from molmo_ros.pointing import ImagePoint
from molmo_ros.spatial import CameraModel, GraspSettings, LiftStatus

WIDTH, HEIGHT, FOCAL = 96, 64, 80.0
CAMERA = CameraModel(WIDTH, HEIGHT, np.array([[FOCAL, 0, 47.5], [0, FOCAL, 31.5], [0, 0, 1]]))
DISTANCE = 0.75


def capture(depth=True, camera=CAMERA, **more):
    wall = np.full((HEIGHT, WIDTH), DISTANCE, np.float32) if depth else None
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return Capture(Frame(picture, wall, camera, 0, 'eye'), **more)


def test_a_point_is_lifted_along_the_ray_of_its_place_in_the_picture():
    """From the picture's corner to the middle of its first pixel it is half a pixel."""
    points = [ImagePoint(WIDTH / 2, HEIGHT / 2, ''), ImagePoint(0.5, 0.5, '')]
    middle, corner = ground(points, capture()).points
    np.testing.assert_allclose(middle.surface.position, (0, 0, DISTANCE), atol=1e-6)
    expected = np.array((-47.5, -31.5)) / FOCAL * DISTANCE
    np.testing.assert_allclose(corner.surface.position[:2], expected, atol=1e-6)


def test_the_far_edge_of_the_picture_belongs_to_its_last_pixel():
    (point,) = ground([ImagePoint(WIDTH, HEIGHT, '')], capture()).points
    assert point.surface.status is LiftStatus.OK
    expected = np.array((47.5, 31.5)) / FOCAL * DISTANCE
    np.testing.assert_allclose(point.surface.position[:2], expected, atol=1e-6)


def test_positions_normals_and_approaches_are_told_in_the_target_frame():
    T = np.array([[0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 1.2], [0, 0, 0, 1.0]])
    middle = ImagePoint(WIDTH / 2, HEIGHT / 2, '')
    (point,) = ground([middle], capture(), target=TargetFrame(T)).points
    np.testing.assert_allclose(point.surface.position, (0.5 + DISTANCE, 0, 1.2), atol=1e-6)
    np.testing.assert_allclose(point.surface.normal, (-1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(point.approach, (1, 0, 0), atol=1e-6)


HERE, LOST = TargetFrame(np.eye(4)), TargetFrame(None, 'not connected')
LATE, RAW = {LiftStatus.NO_DEPTH: 'it is late'}, {LiftStatus.NO_CAMERA_INFO: 'not calibrated'}


@pytest.mark.parametrize(
    'seen, target, status, reason',
    [
        (capture(depth=False, missing=LATE), HERE, LiftStatus.NO_DEPTH, 'it is late'),
        (capture(camera=None, missing=RAW), HERE, LiftStatus.NO_CAMERA_INFO, 'not calibrated'),
        (capture(), LOST, LiftStatus.NO_TRANSFORM, 'not connected'),
    ],
)
def test_what_is_missing_is_the_status_and_a_note_and_the_pixel_stays(seen, target, status, reason):
    found = ground([ImagePoint(20, 30, 'mug')], seen, target=target)
    (point,) = found.points
    assert (point.image.u, point.image.v) == (20, 30)
    assert point.surface.status is status and point.surface.reason == reason
    assert np.isnan(point.surface.position).all()
    assert any(reason in note for note in found.notes)


def test_assumptions_are_told_where_a_position_depends_on_them_and_only_there():
    known = TargetFrame(np.eye(4), assumed=('the frame is taken as optical: optical_frame',))
    seen = capture(assumed=('the depth is taken as millimetres: depth_unit',))
    point = ImagePoint(40, 30, '')
    assert ground([point], seen, target=known).assumed == (*seen.assumed, *known.assumed)
    assert ground([], seen, target=known).assumed == ()
    without = capture(depth=False, assumed=seen.assumed)
    assert ground([point], without, target=known).assumed == ()


class Stop(Exception):
    pass


class Impatient(Watch):
    """Ends the grounding at the first look, or lets it run without any time left."""

    def __init__(self, stop):
        self.stop, self.told = stop, []

    def tell(self, stage, points):
        self.told.append(stage)

    def check(self):
        if self.stop:
            raise Stop

    def remaining(self):
        return 0.0


def test_whoever_follows_may_end_it_between_points():
    watch = Impatient(stop=True)
    settings = GroundingSettings(grasp=GraspSettings())
    with pytest.raises(Stop):
        ground([ImagePoint(40, 30, '')], capture(), settings, watch=watch)
    assert watch.told == ['lift']


def test_when_the_time_is_up_the_positions_are_there_and_the_objects_are_said_to_lack():
    settings = GroundingSettings(grasp=GraspSettings())
    found = ground([ImagePoint(40, 30, '')], capture(), settings, watch=Impatient(stop=False))
    assert found.points[0].surface.status is LiftStatus.OK
    assert 'time was up' in found.points[0].pick.reason
    assert any('time was up' in note for note in found.notes)
