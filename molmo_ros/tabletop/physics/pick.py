# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A pick in physics: along the approach, close, lift, shake, hold; and what became of it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molmo_ros.tabletop.physics.hand import Grasp
from molmo_ros.tabletop.physics.world import STEP, World

Floats = NDArray[np.float64]

_HARD = 25.0  # newtons at which an arm stops on its way
_SQUEEZED = -0.02  # metres apart that closed fingers are told to be: all their force
_PUSHED = 0.01  # metres that a neighbour may be moved
_TIPPED = np.cos(np.radians(15))  # or turned away from its own upright
_EVERY = 5  # steps between looks at what is touched


class Stage(enum.Enum):
    """What lost a thing, in the order of a pick; HELD: nothing did."""

    COLLISION = 'collision'
    MISS = 'miss'
    SLIP = 'slip'
    HELD = 'held'


@dataclass(frozen=True)
class PickPlan:
    """How a pick goes. Metres, metres a second, seconds.

    standoff: from which the gripper comes straight along the approach, at `speed`. lift: how high.
    sway, shakes: how far and how often the thing is shaken to each side, a tenth of a second apart.
    hold: how long it is held at last.
    """

    standoff: float = 0.10
    speed: float = 0.20
    lift: float = 0.15
    lift_speed: float = 0.25
    sway: float = 0.015
    shakes: int = 3
    hold: float = 1.0


@dataclass(frozen=True)
class Picked:
    """What became of a pick.

    Attributes:
        stage: HELD, or what lost the thing.
        touched: where a collision was: part of the gripper and what it hit.
        pushed: the numbers of other things that were moved by more than a centimetre or tipped.
        contact: where the fingers touched it when they had closed, in its own frame, metres.
        width: metres between the fingers after closing; NaN if it did not come to that.
        seconds: of simulated time.
    """

    stage: Stage
    touched: tuple[str, str] | None = None
    pushed: tuple[int, ...] = ()
    contact: tuple[tuple[float, float, float], ...] = ()
    width: float = float('nan')
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether it is in the gripper at the end."""
        return self.stage is Stage.HELD


def pick(
    world: World,
    grasp: Grasp,
    target: int,
    plan: PickPlan | None = None,
    watch: Callable[[World], None] | None = None,
) -> Picked:
    """Take the thing of that number by a grasp in the world's frame.

    watch: called every hundredth of a second of simulated time.
    """
    return _Run(world, grasp, target, plan or PickPlan(), watch).done()


class _Run:
    def __init__(
        self,
        world: World,
        grasp: Grasp,
        target: int,
        plan: PickPlan,
        watch: Callable[[World], None] | None,
    ) -> None:
        self.world, self.grasp, self.target, self.plan = world, grasp, target, plan
        self.watch = watch
        self.opening = float(np.clip(grasp.opening, 0.0, world.hand.opening))
        world.reset(grasp.standing_off(plan.standoff), self.opening)
        self.before = world.thing_poses()
        self.width = float('nan')
        self.contact: tuple[tuple[float, float, float], ...] = ()
        self.steps = 0

    def done(self) -> Picked:
        hit = self._approach()
        if hit is not None:
            return self._told(Stage.COLLISION, hit)
        self._close()
        if not self._holds():
            return self._told(Stage.MISS)
        self.contact = self._contact_points()
        self._lift_and_shake()
        rise = self.world.thing_poses()[self.target, 2, 3] - self.before[self.target, 2, 3]
        kept = self._holds() and rise > 0.5 * self.plan.lift
        return self._told(Stage.HELD if kept else Stage.SLIP)

    def _told(self, stage: Stage, touched: tuple[str, str] | None = None) -> Picked:
        return Picked(
            stage, touched, self._pushed(), self.contact, self.width, round(self.steps * STEP, 3)
        )

    def _approach(self) -> tuple[str, str] | None:
        """What the gripper hits on its way, if anything: it stops there."""
        plan = self.plan
        hit = self._hit()
        steps = round(plan.standoff / plan.speed / STEP)
        for step in range(steps + 50):
            left = plan.standoff * max(0.0, 1 - (step + 1) / steps)
            self._step(self.grasp.standing_off(left), self.opening)
            if hit is None and step % _EVERY == 0:
                hit = self._hit()
            if hit is not None:
                return hit
        return None

    def _hit(self) -> tuple[str, str] | None:
        hard = [(force, own, other) for own, other, force in self.world.touches() if force > _HARD]
        if not hard:
            return None
        _, own, other = max(hard)
        return own, self._named(other)

    def _named(self, other: str) -> str:
        if not other.startswith('thing'):
            return other.split()[0]
        return 'thing' if int(other.split()[1]) == self.target else 'neighbour'

    def _close(self) -> None:
        world = self.world
        opening = self.opening
        still = 0
        for _ in range(round(0.5 / STEP)):
            opening = max(opening - 2 * world.hand.speed * STEP, -0.002)
            before = world.gap
            self._step(self.grasp.pose, opening)
            still = still + 1 if abs(before - world.gap) < 2e-6 and opening < before - 0.01 else 0
            if still > 40:
                break
        self.width = world.gap

    def _holds(self) -> bool:
        """Whether both fingers touch the thing."""
        name = f'thing {self.target}'
        fingers = {own for own, other, force in self.world.touches() if other == name and force > 0}
        return len({own for own in fingers if own.startswith('finger')}) == 2

    def _contact_points(self) -> tuple[tuple[float, float, float], ...]:
        """Where the fingers touch the thing, in its own frame."""
        world = self.world
        pose = world.pose_of(world.thing_bodies[self.target])
        points = world.contact_points(f'thing {self.target}')
        local = (points - pose[:3, 3]) @ pose[:3, :3]
        return tuple((float(x), float(y), float(z)) for x, y, z in local)

    def _lift_and_shake(self) -> None:
        plan = self.plan
        pose = self.grasp.pose.copy()
        steps = round(plan.lift / plan.lift_speed / STEP)
        for step in range(steps):
            share = (step + 1) / steps
            pose[2, 3] = self.grasp.pose[2, 3] + plan.lift * share * share * (3 - 2 * share)
            self._step(pose, _SQUEEZED)
        middle = pose[:3, 3].copy()
        for shake in range(plan.shakes):
            way = np.eye(3)[shake % 3]
            for step in range(round(0.3 / STEP)):
                phase = 2 * np.pi * (step + 1) * STEP / 0.3
                pose[:3, 3] = middle + plan.sway * np.sin(phase) * way
                self._step(pose, _SQUEEZED)
        pose[:3, 3] = middle
        for _ in range(round(plan.hold / STEP)):
            self._step(pose, _SQUEEZED)

    def _step(self, pose: Floats, opening: float) -> None:
        self.world.aim(pose, opening)
        self.world.step()
        self.steps += 1
        if self.watch is not None and self.steps % _EVERY == 0:
            self.watch(self.world)

    def _pushed(self) -> tuple[int, ...]:
        now = self.world.thing_poses()
        moved = np.linalg.norm(now[:, :3, 3] - self.before[:, :3, 3], axis=1) > _PUSHED
        upright = np.einsum('ki,ki->k', now[:, :3, 2], self.before[:, :3, 2])
        moved |= upright < _TIPPED
        moved[self.target] = False
        return tuple(int(number) for number in np.flatnonzero(moved))
