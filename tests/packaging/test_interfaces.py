# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interfaces as built agree with the modules, with each other and with ROS."""

import json
from pathlib import Path

from ament_index_python import get_package_share_directory
from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.msg import GroundedPoint
from molmo_ros.srv import PointQuery, Watch
from rosbags.typesys import Stores, get_typestore

from molmo_ros.pointing import Mode
from molmo_ros.spatial import LiftStatus


def test_status_of_a_point_is_the_status_of_its_lift():
    assert {name: getattr(GroundedPoint, name) for name in LiftStatus.__members__} == {
        name: status.value for name, status in LiftStatus.__members__.items()
    }


def test_every_mode_can_be_requested():
    numbers = [getattr(PointQuery.Request, mode.name) for mode in Mode]
    assert sorted(numbers) == [0, 1, 2]


def test_action_asks_and_answers_what_the_service_does():
    service, action = PointQuery, PointQueryAction
    assert service.Request.get_fields_and_field_types() == action.Goal.get_fields_and_field_types()
    assert (
        service.Response.get_fields_and_field_types() == action.Result.get_fields_and_field_types()
    )


def constants(cls: type) -> dict[str, int]:
    names = [name for name in dir(type(cls)) + dir(cls) if name.isupper() and name[0] != '_']
    return {name: value for name in names if isinstance(value := getattr(cls, name), int)}


def test_standing_questions_use_the_numbers_of_single_ones():
    assert constants(Watch.Request) == constants(PointQuery.Request)
    assert constants(Watch.Response).items() <= constants(PointQuery.Response).items()
    assert len(constants(Watch.Response)) == 4


def test_constants_of_the_action_are_those_of_the_service():
    assert constants(PointQuery.Request) == constants(PointQueryAction.Goal)
    assert constants(PointQuery.Response) == constants(PointQueryAction.Result)
    assert constants(PointQuery.Response)['ENGINE_FAILED'] == 8


def test_tf_is_the_type_that_every_other_node_speaks():
    """Its type hash is that of ROS 2 Jazzy, also where this project builds the package itself."""
    share = Path(get_package_share_directory('tf2_msgs'))
    built = json.loads((share / 'msg/TFMessage.json').read_text())['type_hashes']
    theirs = get_typestore(Stores.ROS2_JAZZY).hash_rihs01('tf2_msgs/msg/TFMessage')
    assert {h['type_name']: h['hash_string'] for h in built}['tf2_msgs/msg/TFMessage'] == theirs
