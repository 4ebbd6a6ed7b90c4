# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same pick with MoveItPy, planned in this process.

ros2 launch ... runs it with the robot's description; see MoveIt's own tutorial of its Python API.
Not run here either, as MoveIt is no dependency; messages.py is tested.
"""

import sys

from messages import pick_of
from moveit.planning import MoveItPy

from molmo_ros.ros.client import PointQueryClient

GROUP, LINK, GRIPPER = 'panda_arm', 'panda_hand', 'hand'


def main() -> int:
    with PointQueryClient() as client:
        client.wait_until_ready(timeout=120)
        answered = client.ask(sys.argv[1], target_frame='panda_link0', max_points=1, timeout=60)
    pick = pick_of(answered, answered.points[0]) if answered.points else None
    if pick is None:
        return 1
    robot = MoveItPy(node_name='pick')
    arm, gripper = robot.get_planning_component(GROUP), robot.get_planning_component(GRIPPER)

    def go(component, **goal) -> None:
        component.set_start_state_to_current_state()
        component.set_goal_state(**goal)
        found = component.plan()
        if not found:
            raise SystemExit('no plan')
        robot.execute(found.trajectory, controllers=[])

    go(gripper, configuration_name='open')
    go(arm, pose_stamped_msg=pick.pregrasp, pose_link=LINK)
    go(arm, pose_stamped_msg=pick.grasp, pose_link=LINK)
    go(gripper, configuration_name='close')
    go(arm, pose_stamped_msg=pick.retreat, pose_link=LINK)
    return 0


if __name__ == '__main__':
    sys.exit(main())
