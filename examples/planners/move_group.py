# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pick what was asked for with MoveIt 2, by the action of move_group (panda's default set-up).

python examples/planners/move_group.py "the red mug" panda_link0

Wants move_group with Pilz, a gripper action, and a node of molmo_ros started with
waypoint_from:=object gripper.tool_frame:=panda_hand grasp.up_frame:=panda_link0. The neighbours
that the planner shall keep clear of are asked for in words: "every object on the table". MoveIt is
no dependency of molmo_ros and this page has not been run with it; messages.py is tested.
"""

import sys
import time

import rclpy
from control_msgs.action import GripperCommand
from messages import Pick, box_of, finger_joint, pick_of
from moveit_msgs.action import MoveGroup
from moveit_msgs.msg import (
    BoundingVolume,
    CollisionObject,
    Constraints,
    OrientationConstraint,
    PlanningScene,
    PositionConstraint,
)
from moveit_msgs.srv import ApplyPlanningScene
from rclpy.action import ActionClient
from shape_msgs.msg import SolidPrimitive

from molmo_ros.ros.client import PointQueryClient

GROUP, LINK = 'panda_arm', 'panda_hand'
CLOSE_M, CLOSE_RAD = 0.002, 0.02


def goal_at(pose, straight: bool) -> MoveGroup.Goal:
    """A goal of the tool at a pose; straight: in a line, as the last centimetres must be."""
    sphere = SolidPrimitive(type=SolidPrimitive.SPHERE, dimensions=[CLOSE_M])
    region = BoundingVolume(primitives=[sphere], primitive_poses=[pose.pose])
    where = PositionConstraint(header=pose.header, link_name=LINK, constraint_region=region)
    where.weight = 1.0
    turn = OrientationConstraint(header=pose.header, link_name=LINK, weight=1.0)
    turn.orientation = pose.pose.orientation
    turn.absolute_x_axis_tolerance = turn.absolute_y_axis_tolerance = CLOSE_RAD
    turn.absolute_z_axis_tolerance = CLOSE_RAD
    goal = MoveGroup.Goal()
    request = goal.request
    request.group_name, request.num_planning_attempts = GROUP, 5
    request.allowed_planning_time, request.max_velocity_scaling_factor = 5.0, 0.2
    request.max_acceleration_scaling_factor = 0.2
    request.goal_constraints = [Constraints(position_constraints=[where])]
    request.goal_constraints[0].orientation_constraints = [turn]
    if straight:
        request.pipeline_id, request.planner_id = 'pilz_industrial_motion_planner', 'LIN'
    return goal


def scene_with(things, frame_id: str, *, remove: tuple[str, ...] = ()) -> PlanningScene:
    """A change of the planning scene: a box for each thing, and some that go."""
    scene = PlanningScene(is_diff=True)
    for name, thing in things.items():
        box, pose = box_of(thing, margin=0.005)
        item = CollisionObject(id=name, primitives=[box], primitive_poses=[pose])
        item.header.frame_id, item.operation = frame_id, CollisionObject.ADD
        scene.world.collision_objects.append(item)
    for name in remove:
        item = CollisionObject(id=name, operation=CollisionObject.REMOVE)
        item.header.frame_id = frame_id
        scene.world.collision_objects.append(item)
    return scene


class Arm:
    """The arm, its gripper and its planning scene."""

    def __init__(self, node):
        self.node = node
        self.motion = ActionClient(node, MoveGroup, 'move_action')
        self.fingers = ActionClient(node, GripperCommand, 'panda_gripper/gripper_action')
        self.scene = node.create_client(ApplyPlanningScene, 'apply_planning_scene')

    def go(self, pose, straight: bool = False) -> bool:
        result = self._done(self.motion, goal_at(pose, straight))
        return result is not None and result.error_code.val == result.error_code.SUCCESS

    def grip(self, width: float) -> None:
        goal = GripperCommand.Goal()
        goal.command.position, goal.command.max_effort = finger_joint(width), 40.0
        self._done(self.fingers, goal)

    def know(self, scene: PlanningScene) -> None:
        future = self.scene.call_async(ApplyPlanningScene.Request(scene=scene))
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=5)

    def _done(self, client, goal, seconds: float = 60.0):
        ends = time.monotonic() + seconds
        if not client.wait_for_server(timeout_sec=10):
            return None
        sent = client.send_goal_async(goal)
        rclpy.spin_until_future_complete(self.node, sent, timeout_sec=ends - time.monotonic())
        if not sent.done() or not sent.result().accepted:
            return None
        result = sent.result().get_result_async()
        rclpy.spin_until_future_complete(self.node, result, timeout_sec=ends - time.monotonic())
        if not result.done():
            sent.result().cancel_goal_async()
            return None
        return result.result().result


def take(arm: Arm, pick: Pick, frame_id: str) -> bool:
    """Pregrasp, straight to the thing, close, straight up."""
    arm.grip(pick.opening)
    if not arm.go(pick.pregrasp):
        return False
    # The fingers shall touch it now.
    arm.know(scene_with({}, frame_id, remove=('target',)))
    if not arm.go(pick.grasp, straight=True):
        return False
    arm.grip(0.0)
    return arm.go(pick.retreat, straight=True)


def main() -> int:
    query, frame = sys.argv[1], sys.argv[2]
    with PointQueryClient() as client:
        if not client.wait_until_ready(timeout=120):
            print(f'the node is not ready: {client.engine_state}')
            return 1
        answered = client.ask(query, target_frame=frame, max_points=1, timeout=60)
        around = client.ask('every object on the table', target_frame=frame, timeout=60)
    pick = pick_of(answered, answered.points[0]) if answered.points else None
    if pick is None:
        point = answered.points[0] if answered.points else None
        print(answered.message or (point and point.object.reason) or 'nothing to take')
        return 1
    target = answered.points[0].object
    near = [p.object for p in around.points if p.object.measured]
    far = [o for o in near if max(abs(o.centre - target.centre)) > 0.03]
    things = {f'neighbour {number}': thing for number, thing in enumerate(far)}
    rclpy.init()
    arm = Arm(rclpy.create_node('pick'))
    arm.know(scene_with({**things, 'target': target}, answered.frame_id))
    held = take(arm, pick, answered.frame_id)
    print('taken' if held else 'the arm did not get there')
    rclpy.shutdown()
    return 0 if held else 1


if __name__ == '__main__':
    sys.exit(main())
