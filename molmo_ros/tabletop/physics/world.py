# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rendered table as a world of MuJoCo: table, things, clutter and a gripper.

World frame as of a scene: the table top is z = 0, z up, metres. Things sleep until something
touches them, so that they are where the camera saw them. Clutter is stuck to the table, lies
through things as it is drawn, and stops nothing but the gripper and what is put down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.extras import require
from molmo_ros.tabletop.physics.hand import FRANKA, Hand
from molmo_ros.tabletop.physics.things import mass_of, parts_of
from molmo_ros.tabletop.world.scene import Object, Scene

Floats = NDArray[np.float64]

STEP = 0.002  # seconds
_TABLE_FRICTION = 0.5
_THINGS, _HAND, _CLUTTER = 1, 2, 4  # bits: who stops whom
_STIFF: dict[str, Any] = {'solref': [0.004, 1.0], 'solimp': [0.95, 0.998, 0.0005, 0.5, 2.0]}
TABLE, PALM, FINGERS = 'table', 'palm', 'finger'


class World:
    """The model of a scene, and its state.

    model, data: of MuJoCo. hand: the gripper's measures. scene: what it is of.
    """

    def __init__(self, scene: Scene, hand: Hand = FRANKA, *, more: tuple[Object, ...] = ()) -> None:
        """more: things beside those of the scene, last in `things`, that wait somewhere above.

        Raises UserError without mujoco.
        """
        require('mujoco', 'Picking in physics')
        import mujoco

        self.mujoco: Any = mujoco
        self.scene, self.hand = scene, hand
        self.things = (*scene.objects, *more)
        self.model = self._compiled()
        self.data = mujoco.MjData(self.model)
        model = self.model
        names = [model.body(i).name for i in range(model.nbody)]
        self.body = {name: i for i, name in enumerate(names)}
        self.thing_bodies = np.array([self.body[f'thing {i}'] for i in range(len(self.things))])
        self.geom_body = model.geom_bodyid
        self.is_hand = np.isin(
            model.geom_bodyid, [self.body['hand'], self.body['left'], self.body['right']]
        )
        self._hand_at = int(model.joint(model.body_jntadr[self.body['hand']]).qposadr[0])
        self._fingers_at = [int(model.joint(name).qposadr[0]) for name in ('left', 'right')]
        self._weigh()

    def _compiled(self) -> Any:
        mujoco = self.mujoco
        spec = mujoco.MjSpec()
        option = spec.option
        option.timestep = STEP
        option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        option.impratio = 10
        option.iterations = 20
        option.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        spec.worldbody.add_geom(
            name=TABLE,
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[0, 0, 0.05],
            contype=_THINGS | _HAND,
            conaffinity=0,
            friction=[_TABLE_FRICTION, 0.005, 0.0001],
            **_STIFF,
        )
        for number, item in enumerate(self.things):
            self._add_thing(spec, f'thing {number}', item, new=number >= len(self.scene.objects))
        for number, item in enumerate(self.scene.clutter):
            self._add_clutter(spec, f'clutter {number}', item)
        self._add_hand(spec)
        return spec.compile()

    def _add_thing(self, spec: Any, name: str, item: Object, new: bool) -> None:
        pose = item.T_world_object
        position = pose[:3, 3] + [0.0, 0.0, 3.0 if new else 0.0]  # out of the way at first
        body = spec.worldbody.add_body(name=name, pos=position, quat=wxyz(pose[:3, :3]))
        body.add_freejoint()
        policy = self.mujoco.mjtSleepPolicy
        body.sleep = policy.mjSLEEP_NEVER if new else policy.mjSLEEP_INIT
        stopped_by = _THINGS | _HAND | (_CLUTTER if new else 0)
        self._add_parts(spec, body, name, item, contype=_THINGS, conaffinity=stopped_by)

    def _add_clutter(self, spec: Any, name: str, item: Object) -> None:
        pose = item.T_world_object
        body = spec.worldbody.add_body(name=name, pos=pose[:3, 3], quat=wxyz(pose[:3, :3]))
        self._add_parts(spec, body, name, item, contype=_CLUTTER, conaffinity=_HAND)

    def _add_parts(self, spec: Any, body: Any, name: str, item: Object, **bits: int) -> None:
        for number, corners in enumerate(parts_of(item)):
            mesh = spec.add_mesh(name=f'{name} {number}', uservert=corners.ravel())
            body.add_geom(
                name=f'{name} {number}',
                type=self.mujoco.mjtGeom.mjGEOM_MESH,
                meshname=mesh.name,
                friction=[_TABLE_FRICTION, 0.005, 0.0001],
                condim=4,
                **bits,
                **_STIFF,
            )

    def _add_hand(self, spec: Any) -> None:
        mujoco, hand = self.mujoco, self.hand
        box = mujoco.mjtGeom.mjGEOM_BOX
        spec.worldbody.add_body(name='goal', mocap=True, pos=[0, 0, 1])
        body = spec.worldbody.add_body(name='hand', pos=[0, 0, 1], gravcomp=1)
        body.sleep = mujoco.mjtSleepPolicy.mjSLEEP_NEVER
        body.add_freejoint()
        bits = {'contype': _HAND, 'conaffinity': _THINGS | _CLUTTER}
        palm = np.array(hand.palm) / 2
        back = -hand.finger_length
        body.add_geom(
            name=PALM, type=box, size=palm, pos=[0, 0, back - palm[2]], mass=hand.mass, **bits
        )
        finger = np.array([hand.finger_thickness, hand.finger_width, hand.finger_length]) / 2
        for name, side in (('left', 1.0), ('right', -1.0)):
            part = body.add_body(name=name, gravcomp=1)
            part.add_joint(
                name=name,
                type=mujoco.mjtJoint.mjJNT_SLIDE,
                axis=[side, 0, 0],
                range=[-0.0002, hand.opening / 2],
                limited=True,
                armature=0.5,
                damping=40,
            )
            part.add_geom(
                name=f'{FINGERS} {name}',
                type=box,
                size=finger,
                pos=[side * finger[0], 0, back + finger[2]],
                mass=0.05,
                friction=[hand.friction, 0.01, 0.0001],
                condim=4,
                priority=1,
                **bits,
                **_STIFF,
            )
            motor = spec.add_actuator(
                name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT, forcelimited=True
            )
            motor.set_to_position(kp=20000.0, kv=400.0)
            motor.forcerange = [-hand.force, hand.force]
        spec.add_exclude(bodyname1='left', bodyname2='right')
        spec.add_equality(
            type=mujoco.mjtEq.mjEQ_JOINT,
            name1='left',
            name2='right',
            objtype=mujoco.mjtObj.mjOBJ_JOINT,
            data=[0, 1, *[0] * 10],
            solref=[0.004, 1.0],
        )
        weld = spec.add_equality(
            type=mujoco.mjtEq.mjEQ_WELD,
            name1='goal',
            name2='hand',
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            solref=[0.01, 1.0],
        )
        weld.data[:] = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0]

    def _weigh(self) -> None:
        model = self.model
        for body, item in zip(self.thing_bodies, self.things, strict=True):
            factor = mass_of(item) / model.body_mass[body]
            model.body_mass[body] *= factor
            model.body_inertia[body] *= factor
        self.mujoco.mj_setConst(model, self.data)

    def reset(self, pose: Floats, opening: float) -> None:
        """Everything as the scene has it, the gripper at a (4, 4) pose, open so many metres."""
        self.mujoco.mj_resetData(self.model, self.data)
        self._put_hand(pose, opening)
        self.aim(pose, opening)
        self.mujoco.mj_forward(self.model, self.data)

    def is_free(self, pose: Floats, opening: float) -> bool:
        """Whether the gripper touches nothing at a (4, 4) pose, open so many metres.

        Everything else stays as it is; `reset` brings the gripper back.
        """
        self._put_hand(pose, opening)
        self.mujoco.mj_kinematics(self.model, self.data)
        self.mujoco.mj_collision(self.model, self.data)
        return not self.is_hand[self.data.contact.geom[: self.data.ncon]].any()

    def _put_hand(self, pose: Floats, opening: float) -> None:
        qpos = self.data.qpos
        qpos[self._hand_at : self._hand_at + 3] = pose[:3, 3]
        qpos[self._hand_at + 3 : self._hand_at + 7] = wxyz(pose[:3, :3])
        qpos[self._fingers_at] = opening / 2

    def aim(self, pose: Floats, opening: float) -> None:
        """Where the gripper and its fingers shall go."""
        self.data.mocap_pos[0] = pose[:3, 3]
        self.data.mocap_quat[0] = wxyz(pose[:3, :3])
        self.data.ctrl[:] = opening / 2

    def step(self) -> None:
        """Two milliseconds."""
        self.mujoco.mj_step(self.model, self.data)

    @property
    def gap(self) -> float:
        """Metres between the fingers."""
        return float(self.data.qpos[self._fingers_at].sum())

    def pose_of(self, body: int) -> Floats:
        """(4, 4) of a body in the world."""
        pose = np.eye(4)
        pose[:3, :3] = self.data.xmat[body].reshape(3, 3)
        pose[:3, 3] = self.data.xpos[body]
        return pose

    def thing_poses(self) -> Floats:
        """(K, 4, 4) of the things."""
        return np.array([self.pose_of(body) for body in self.thing_bodies]).reshape(-1, 4, 4)

    def touches(self) -> list[tuple[str, str, float]]:
        """What the gripper touches: part of it, what ('table', 'clutter 0', 'thing 1'), newtons."""
        data, model = self.data, self.model
        pairs = data.contact.geom[: data.ncon]
        found = []
        force = np.zeros(6)
        for index in np.flatnonzero(self.is_hand[pairs].any(1)):
            one, other = (int(geom) for geom in pairs[index])
            if not self.is_hand[one]:
                one, other = other, one
            self.mujoco.mj_contactForce(model, data, index, force)
            body = self.geom_body[other]
            name = TABLE if body == 0 else model.body(body).name
            found.append((model.geom(one).name, name, float(force[0])))
        return found

    def contact_points(self, name: str) -> Floats:
        """(N, 3) where the gripper touches the body of that name."""
        data = self.data
        pairs = data.contact.geom[: data.ncon]
        other = (self.geom_body[pairs] == self.body[name]).any(1)
        return np.array(data.contact.pos[: data.ncon][self.is_hand[pairs].any(1) & other])


def wxyz(rotation: Floats) -> Floats:
    """MuJoCo's quaternion of a (3, 3) rotation."""
    import mujoco

    found = np.empty(4)
    mujoco.mju_mat2Quat(found, np.ascontiguousarray(rotation, np.float64).ravel())
    return found
