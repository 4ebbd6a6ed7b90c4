# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`~/detections`: what others' tools are told of the things of an answer.

vision_msgs is not on PyPI and was not run: classes with the fields of its messages stand for it.
"""

import sys
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np
import pytest
from geometry_msgs.msg import Pose, PoseWithCovariance, Vector3
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from molmo_ros.grounding.ground import GroundedPoint
from molmo_ros.grounding.picking import Pick
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros.detection_messages import detections, vision_messages
from molmo_ros.spatial import Extent, LiftStatus, SurfacePoint

TURN = Rotation.from_euler('xyz', (4, -7, 62), degrees=True)
MIDDLE, SIZE = (0.31, -0.22, 0.045), (0.17, 0.06, 0.09)
NAMES = (
    'ObjectHypothesis', 'ObjectHypothesisWithPose', 'BoundingBox3D', 'Detection3D',
    'Detection3DArray',
)  # fmt: skip


@dataclass(slots=True)
class ObjectHypothesis:
    class_id: str = ''
    score: float = 0.0


@dataclass(slots=True)
class ObjectHypothesisWithPose:
    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


@dataclass(slots=True)
class BoundingBox3D:
    center: Pose = field(default_factory=Pose)
    size: Vector3 = field(default_factory=Vector3)


@dataclass(slots=True)
class Detection3D:
    header: Header = field(default_factory=Header)
    results: list = field(default_factory=list)
    bbox: BoundingBox3D = field(default_factory=BoundingBox3D)
    id: str = ''


@dataclass(slots=True)
class Detection3DArray:
    header: Header = field(default_factory=Header)
    detections: list = field(default_factory=list)


@pytest.fixture
def vision(monkeypatch):
    package, messages = ModuleType('vision_msgs'), ModuleType('vision_msgs.msg')
    for name in NAMES:
        setattr(messages, name, globals()[name])
    monkeypatch.setitem(sys.modules, 'vision_msgs', package)
    monkeypatch.setitem(sys.modules, 'vision_msgs.msg', messages)
    return vision_messages()


def pointed(label, confidence, extent=None):
    surface = SurfacePoint(LiftStatus.NO_DEPTH)
    image = ImagePoint(20.0, 30.0, label, confidence)
    return GroundedPoint(image, surface, np.full(3, np.nan), Pick(extent))


def test_a_detection_has_the_box_of_the_thing_and_the_number_of_its_point(vision):
    middle, size = np.array(MIDDLE), np.array(SIZE)
    box = Extent(middle + 0.01, TURN.as_matrix().T, size, middle, None, False, False, middle[None])
    points = [pointed('the table', 0.9), pointed('the pan\ud800', 0.71, box)]
    header = Header(frame_id='base_link')
    array = detections(points, header, vision)
    assert array.header.frame_id == 'base_link'
    (found,) = array.detections  # the table is no thing that ends
    assert (found.id, found.header.frame_id) == ('2', 'base_link')
    (best,) = found.results
    assert best.hypothesis.score == pytest.approx(0.71)
    best.hypothesis.class_id.encode()  # what cannot be sent would end the node's callback
    assert best.hypothesis.class_id.startswith('the pan')
    for pose in (found.bbox.center, best.pose.pose):
        at, turn = pose.position, pose.orientation
        assert (at.x, at.y, at.z) == pytest.approx(MIDDLE)
        turned = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w])
        assert (turned * TURN.inv()).magnitude() < 1e-6
    side = found.bbox.size
    assert (side.x, side.y, side.z) == pytest.approx(SIZE)
    assert detections([], header, vision).detections == []


def test_without_vision_msgs_there_is_nothing_to_publish(monkeypatch):
    """The node starts all the same, as in every other test of it here."""
    monkeypatch.setitem(sys.modules, 'vision_msgs', None)
    monkeypatch.setitem(sys.modules, 'vision_msgs.msg', None)
    assert vision_messages() is None
