# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Something put down in physics: whether it stands, and touches nothing but the table."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from molmo_ros.tabletop.physics.world import STEP, World, wxyz
from molmo_ros.tabletop.world.scene import Object, Scene

Floats = NDArray[np.float64]

_NOMINAL = (0.10, 0.10, 0.09)  # metres of the kind `box`
_DROP = 0.002  # metres over the surface at which it is let go
_SECONDS = 1.0
_STANDS, _UPRIGHT = 0.01, np.cos(np.radians(5))  # metres and lean that it may settle by


class Put(enum.Enum):
    """What became of it. TOUCHES: something else, or stands in it. TIPS: or slides away."""

    STANDS = 'stands'
    TOUCHES = 'touches'
    TIPS = 'tips'


def cube(edge: float = 0.06) -> Object:
    """Something to put down, edges in metres."""
    x, y, z = (edge / nominal for nominal in _NOMINAL)
    return Object('box', 'red', (0.83, 0.07, 0.08), (0.0, 0.0, 0.0), 0.0, (x, y, z), 0.2)


def world_to_put(scene: Scene, item: Object) -> World:
    """The world of a scene with something more, which `put_down` puts somewhere."""
    return World(scene, more=(item,))


def put_down(world: World, position: Floats, up: Floats, towards: Floats | None = None) -> Put:
    """Let go of the last thing of the world a little above a position (3,), its base across `up`.

    towards: (3,) the way of its x axis; the world's x if left out.
    """
    model, data, mujoco = world.model, world.data, world.mujoco
    away = np.eye(4)
    away[2, 3] = 2.0
    world.reset(away, world.hand.opening)
    body = int(world.thing_bodies[-1])
    z = up / np.linalg.norm(up)
    x = np.array([1.0, 0.0, 0.0]) if towards is None else towards
    x = x - (x @ z) * z
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z], 1)
    start = model.jnt_qposadr[model.body_jntadr[body]]
    data.qpos[start : start + 3] = position + _DROP * z
    data.qpos[start + 3 : start + 7] = wxyz(rotation)
    mujoco.mj_forward(model, data)
    for _ in range(round(_SECONDS / STEP)):
        if _touches(world, body):
            return Put.TOUCHES
        world.step()
    pose = world.pose_of(body)
    moved = np.linalg.norm(pose[:3, 3] - position)
    return Put.STANDS if moved < _STANDS and pose[2, 2] > _UPRIGHT else Put.TIPS


def _touches(world: World, body: int) -> bool:
    """Whether it touches a thing or clutter."""
    pairs = world.geom_body[world.data.contact.geom[: world.data.ncon]]
    others = pairs[(pairs == body).any(1)]
    return bool(((others != body) & (others != 0)).any())
