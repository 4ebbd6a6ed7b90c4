# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A Fetch takes a thing of a rendered table in MuJoCo; inverse kinematics by mink.

pip install 'molmo-ros[physics]' mink==1.3.0 qpsolvers==4.13.0 daqp==0.11.0
pip install --no-deps gymnasium-robotics==1.4.2   # for its model of a Fetch
python examples/planners/fetch_ik.py ["the purple mug" [fetch.png]]

No ROS and no GL. It prints how near the arm comes to pregrasp, grasp and retreat, and whether the
thing is held at the end. The way from where the arm begins to the pregrasp is straight in joint
space and not checked against anything: that is what a planner is for (move_group.py).
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

try:
    import mink
    import mujoco
except ImportError as error:
    sys.exit(f'{error.name} is missing. This needs:\n{__doc__.split(chr(10) * 2)[1]}')

from molmo_ros.cameras.files import write_color
from molmo_ros.engine import Question, load_engine
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.grounding.capture import Capture, TargetFrame
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundingSettings, ground
from molmo_ros.spatial import GraspSettings, LiftSettings
from molmo_ros.spatial.grasps import Grasp
from molmo_ros.spatial.tool_frames import in_tool_frame
from molmo_ros.tabletop.demo.picks import table_with
from molmo_ros.tabletop.physics.things import mass_of, parts_of
from molmo_ros.tabletop.physics.world import wxyz
from molmo_ros.tabletop.samples.table_views import TableView, view_of
from molmo_ros.tabletop.world import TABLES

# Metres, read off the model: of the gripper in its frame `gripper_link`, whose x goes to the thing
# and whose y is the way in which the fingers close; the middle between their ends is the tool.
TO_TIPS = 0.0385
FETCH = GraspSettings(
    opening=0.10,
    finger=0.027,
    finger_thickness=0.014,
    finger_length=0.0705,
    palm=(0.126, 0.080, 0.122),
    clearance=0.004,
    tool_frame='gripper_link',
)
BETWEEN = 0.0018  # between the fingers where their joints are at zero
TABLE = np.array([0.68, 0.0, 0.55])  # the middle of its top; the robot's base is at the origin
HOME = {
    'torso_lift_joint': 0.30,
    'shoulder_lift_joint': -0.9,
    'elbow_flex_joint': 1.7,
    'wrist_flex_joint': 0.77,
}
ARM = (
    'torso_lift_joint', 'shoulder_pan_joint', 'shoulder_lift_joint', 'upperarm_roll_joint',
    'elbow_flex_joint', 'forearm_roll_joint', 'wrist_flex_joint', 'wrist_roll_joint',
)  # fmt: skip
FINGERS = ('r_gripper_finger_joint', 'l_gripper_finger_joint')
ROBOT_BIT, REST_BIT = 1, 2  # of contacts: the robot does not stop itself
STEPS = 20  # poses on each straight line


def main() -> int:
    if importlib.util.find_spec('gymnasium_robotics') is None:
        sys.exit(f'gymnasium_robotics is missing. This needs:\n{__doc__.split(chr(10) * 2)[1]}')
    query, picture = (*sys.argv[1:], *('the purple mug', 'fetch.png')[len(sys.argv) - 1 :])[:2]
    seed = table_with(query, 'easy')
    view = view_of(seed, TABLES['easy'])
    T_robot_table = table_pose(view.scene.T_world_camera)
    ways = asked(query, view, T_robot_table)
    arm = Arm()
    # A way that is refused has a reason, and must not be taken.
    plans = (arm.plan(way) for way in ways if not way.reason)
    plan = next((found for found in plans if found is not None), None)
    if plan is None:
        refused = '; '.join({way.reason for way in ways if way.reason}) or 'nothing was measured'
        print(f'table {seed}: no way to take {query} that the arm can reach ({refused})')
        return 1
    world = World(view, T_robot_table)
    names = [f'{thing.colour} {thing.kind}' for thing in view.scene.objects]
    print(f'table {seed}: {", ".join(names)}')
    before, pictures = world.positions(), []
    world.start(arm.home, plan.way.opening)
    for name, path, pose, width in plan.stages:
        world.follow(path, width)
        millimetres, degrees = world.off(pose)
        print(f'{name}: {millimetres:.1f} mm and {degrees:.1f} degrees off')
        pictures.append(world.picture())
    write_color(Path(picture), np.hstack(pictures))
    moved = world.positions() - before
    lifted = moved[:, 2] > 0.05
    for name, (x, y, z), up in zip(names, moved, lifted, strict=True):
        if up:
            print(f'{name}: lifted by {1e3 * z:.0f} mm')
        elif np.hypot(x, y) > 0.01:
            print(f'{name}: pushed by {1e3 * np.hypot(x, y):.0f} mm')
    return 0 if lifted.any() else 1


def table_pose(T_table_camera: np.ndarray) -> np.ndarray:
    """(4, 4) of the table in the robot's frame, turned so that the camera is above the robot."""
    x, y = T_table_camera[:2, 3]
    turn = np.pi - np.arctan2(y, x)
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    pose[:3, 3] = TABLE
    return pose


def asked(query: str, view: TableView, T_robot_table: np.ndarray) -> tuple[Grasp, ...]:
    """Ways to take what the demo checkpoint points at, in the robot's frame, the best first."""
    seen = view.picture
    engine = load_engine(default_checkpoint())
    try:
        answer = engine.answer(seen.color, Question(query))
    finally:
        engine.close()
    capture = Capture(Frame(seen.color, seen.depth, seen.camera, 0, 'camera'))
    # A robot knows this from tf: the pose of the camera, and which way is up.
    T_robot_camera = T_robot_table @ view.scene.T_world_camera
    target = TargetFrame(T_robot_camera, up=np.array([0.0, 0.0, 1.0]))
    settings = GroundingSettings(LiftSettings(preset='ideal'), FETCH)
    points = ground(answer.points, capture, settings, target).points
    return points[0].pick.grasps.ways if points else ()


@dataclass(frozen=True)
class Plan:
    """stages: each its name, joint positions on the way, (4, 4) at its end, and metres between the
    fingers there."""

    way: Grasp
    stages: tuple[tuple[str, np.ndarray, np.ndarray, float], ...]


class Arm:
    """The arm without anything around it, as inverse kinematics needs it."""

    def __init__(self) -> None:
        self.model = robot().compile()
        self.home = np.zeros(self.model.nq)
        for name, value in HOME.items():
            self.home[self._address(name)] = value
        self._tool = mink.FrameTask('tool', 'site', 1.0, 0.3, lm_damping=1e-3)
        self._posture = mink.PostureTask(self.model, 1e-3)
        self._limits = [mink.ConfigurationLimit(self.model)]

    def _address(self, name: str) -> int:
        return int(self.model.joint(f'robot0:{name}').qposadr[0])

    def plan(self, way: Grasp) -> Plan | None:
        """To the pregrasp, straight to the thing and straight up; None where a pose is too far."""
        for turned in (np.eye(3), np.diag([-1.0, -1.0, 1.0])):  # the fingers are alike
            rotation = in_tool_frame(way.rotation @ turned, FETCH.tool_frame)
            before, there, after = (
                posed(rotation, position) for position in (way.pregrasp, way.position, way.retreat)
            )
            begin = self.home.copy()
            begin[self._address('shoulder_pan_joint')] = np.arctan2(*before[1::-1, 3])
            ready = self.reach(before, begin)
            down = None if ready is None else self.straight(before, there, ready)
            up = None if down is None else self.straight(there, after, down[-1])
            if ready is None or down is None or up is None:
                continue
            stages = (
                ('pregrasp', np.linspace(self.home, ready, 5 * STEPS), before, way.opening),
                ('grasp', down, there, way.opening),
                ('closed', down[-1:], there, 0.0),
                ('retreat', up, after, 0.0),
            )
            return Plan(way, stages)
        return None

    def straight(self, begin: np.ndarray, end: np.ndarray, q: np.ndarray) -> np.ndarray | None:
        """(N, nq) along the line between two poses of one rotation."""
        found = []
        for share in np.linspace(0, 1, STEPS + 1)[1:]:
            reached = self.reach(begin + share * (end - begin), q)
            # A jump of a joint would leave the line.
            if reached is None or np.abs(reached - q).max() > 0.3:
                return None
            found.append(reached)
            q = reached
        return np.array(found)

    def reach(self, pose: np.ndarray, q: np.ndarray) -> np.ndarray | None:
        """(nq,) with the tool at a (4, 4) pose, from (nq,) near it; None where it is too far."""
        configuration = mink.Configuration(self.model, q)
        self._tool.set_target(mink.SE3.from_matrix(pose))
        self._posture.set_target(q)
        for _ in range(100):
            off = self._tool.compute_error(configuration)
            if np.linalg.norm(off[:3]) < 5e-4 and np.linalg.norm(off[3:]) < 5e-3:
                return configuration.q.copy()
            tasks = [self._tool, self._posture]
            speed = mink.solve_ik(configuration, tasks, 0.1, 'daqp', limits=self._limits)
            configuration.integrate_inplace(speed, 0.1)
        return None


class World:
    """Robot, table and things in physics."""

    def __init__(self, view: TableView, T_robot_table: np.ndarray) -> None:
        spec = robot()
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=TABLE + np.array([0.2, 0, -0.02]),
            size=[0.5, 0.6, 0.02],
            rgba=[0.75, 0.7, 0.62, 1],
            contype=REST_BIT,
            conaffinity=ROBOT_BIT | REST_BIT,
        )
        self.things = view.scene.objects
        for number, thing in enumerate(self.things):
            pose = T_robot_table @ thing.T_world_object
            body = spec.worldbody.add_body(
                name=f'thing {number}', pos=pose[:3, 3], quat=wxyz(pose[:3, :3])
            )
            body.add_freejoint()
            parts = parts_of(thing)
            for part, corners in enumerate(parts):
                mesh = spec.add_mesh(name=f'{number} {part}', uservert=corners.ravel())
                body.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_MESH,
                    meshname=mesh.name,
                    mass=mass_of(thing) / len(parts),
                    rgba=[*thing.albedo, 1],
                    condim=4,
                    contype=REST_BIT,
                    conaffinity=ROBOT_BIT | REST_BIT,
                )
        for name in ARM:
            motor(spec, name, kp=20000.0, kv=1000.0)
        for name in FINGERS:
            finger = motor(spec, name, kp=10000.0, kv=300.0)
            finger.forcelimited, finger.forcerange = True, np.array([-60.0, 60.0])
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        self._gap = 0.0
        # The joints of the robot come first, in the order that `Arm` has them in.
        self._order = [int(self.model.joint(f'robot0:{name}').qposadr[0]) for name in ARM]

    def positions(self) -> np.ndarray:
        """(K, 3) metres, of the things."""
        bodies = [self.data.body(f'thing {number}') for number in range(len(self.things))]
        return np.array([body.xpos for body in bodies])

    def start(self, q: np.ndarray, width: float) -> None:
        """The robot at (nq,), its fingers so many metres apart."""
        self.data.qpos[: len(q)] = q
        for name in FINGERS:
            self.data.joint(f'robot0:{name}').qpos[0] = (width - BETWEEN) / 2
        self._gap = width
        mujoco.mj_forward(self.model, self.data)

    def follow(self, path: np.ndarray, width: float) -> None:
        """Go along (N, nq), a pose each twentieth of a second, then wait; fingers to a width."""
        for q in (*path, *[path[-1]] * STEPS):
            for _ in range(25):
                # Slow enough for fingers to come to the thing together.
                self._gap += np.clip(width - self._gap, -2e-4, 2e-4)
                self.data.ctrl[: len(ARM)] = q[self._order]
                self.data.ctrl[len(ARM) :] = (self._gap - BETWEEN) / 2 - 0.01 * (width == 0)
                mujoco.mj_step(self.model, self.data)

    def off(self, pose: np.ndarray) -> tuple[float, float]:
        """Millimetres and degrees between the tool and a (4, 4) pose."""
        site = self.data.site('tool')
        cosine = (np.trace(site.xmat.reshape(3, 3).T @ pose[:3, :3]) - 1) / 2
        distance = np.linalg.norm(site.xpos - pose[:3, 3])
        return 1e3 * float(distance), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    def picture(self, width: int = 360, height: int = 400, finer: int = 2) -> np.ndarray:
        """(H, W, 3) RGB by a ray for each pixel, which needs no GL."""
        eye, towards = np.array([1.75, -1.25, 1.35]), np.array([0.36, 0.0, 0.82])
        z = (towards - eye) / np.linalg.norm(towards - eye)
        x = np.cross(z, [0, 0, 1])
        x /= np.linalg.norm(x)
        columns, rows = np.meshgrid(np.arange(width * finer), np.arange(height * finer))
        flat = np.stack([columns - width * finer / 2, rows - height * finer / 2], -1)
        rays = z + flat / (1.4 * height * finer) @ np.stack([x, np.cross(z, x)])
        rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).reshape(-1, 3)
        hit, distance = np.empty(len(rays), np.int32), np.empty(len(rays))
        normals = np.zeros(rays.size)
        mujoco.mj_multiRay(
            self.model, self.data, eye, rays.ravel(), None, True, -1,
            hit, distance, normals, len(rays), 10.0,
        )  # fmt: skip
        light = np.abs(normals.reshape(-1, 3) @ np.array([0.4, -0.5, 0.77]))
        color = self.model.geom_rgba[hit, :3] * (0.35 + 0.65 * light[:, None])
        color[hit < 0] = 0.93
        drawn = (255 * color.clip(0, 1)).astype(np.uint8).reshape(height * finer, width * finer, 3)
        return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)


def robot() -> mujoco.MjSpec:
    """The Fetch of gymnasium-robotics on a base that stays, with a site where its tool is."""
    package = importlib.util.find_spec('gymnasium_robotics').submodule_search_locations[0]
    page = Path(package) / 'envs' / 'assets' / 'fetch' / 'reach.xml'
    spec = mujoco.MjSpec.from_file(str(page))
    for joint in list(spec.joints):
        if joint.name.startswith('robot0:slide'):
            spec.delete(joint)
    for weld in list(spec.equalities):
        spec.delete(weld)
    for name in ('robot0:mocap', 'table0', 'floor0'):
        spec.delete(spec.body(name))
    spec.delete(spec.geom('floor0'))
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    spec.body('robot0:base_link').pos = np.zeros(3)
    for body in spec.bodies:
        body.gravcomp = 1
    for geom in spec.geoms:
        geom.contype, geom.conaffinity = ROBOT_BIT, REST_BIT
    # There a hand without motors is drawn through the air: torso and fingers hardly move by force.
    for name in ('torso_lift_joint', *FINGERS):
        joint = spec.joint(f'robot0:{name}')
        joint.armature, joint.damping = 1.0, np.array([50.0, 0, 0])
    spec.body('robot0:gripper_link').add_site(name='tool', pos=[TO_TIPS, 0, 0])
    return spec


def motor(spec: mujoco.MjSpec, name: str, kp: float, kv: float) -> mujoco.MjsActuator:
    """One that holds a joint at a position."""
    added = spec.add_actuator(name=name, target=f'robot0:{name}', trntype=mujoco.mjtTrn.mjTRN_JOINT)
    added.set_to_position(kp=kp, kv=kv)
    return added


def posed(rotation: np.ndarray, position: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, position
    return pose


if __name__ == '__main__':
    sys.exit(main())
