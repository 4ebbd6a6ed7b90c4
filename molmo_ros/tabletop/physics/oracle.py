# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What can be picked at all: grasps of the true mesh, tried in physics until one holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np
from numpy.typing import NDArray

from molmo_ros.tabletop.physics.hand import Grasp
from molmo_ros.tabletop.physics.pick import Picked, PickPlan, pick
from molmo_ros.tabletop.physics.world import World
from molmo_ros.tabletop.world.render import cast
from molmo_ros.tabletop.world.scene import Object
from molmo_ros.tabletop.world.shapes import mesh_of

Floats = NDArray[np.float64]

_SAMPLES = 240  # places on the surface
_OPPOSED = np.cos(np.radians(33))  # between the way of a finger and the surface it meets
_TILTS = np.radians([0, -30, 30, -60, 60, -85, 85])  # of the approach about the closing axis
_DEPTHS = (0.005, 0.015, 0.03)  # metres that the ends reach beyond the middle of what is held
_ROOM = 0.012  # metres between the thing and the open fingers, both sides together
_ABOVE = 0.002  # metres that the fingers keep from the table
_PINCHES = 80  # of them that are taken further
_LOOKED_AT = 500  # grasps that are looked at before the best are tried
_TRIES = 30
_AWAY = np.eye(4)
_AWAY[2, 3] = 2.0


@dataclass(frozen=True, eq=False)
class Pinch:
    """Two opposite places of a thing, (3,) in the world's frame; part: of the first of them."""

    one: Floats
    other: Floats
    part: int


def best_grasp(
    world: World, target: int, part: int | None = None, tries: int = _TRIES
) -> tuple[Grasp, Picked] | None:
    """A grasp by which the thing is held, if `tries` of them find one; rather without pushing.

    part: of the thing that shall be between the fingers; None: any.
    """
    kept = None
    for grasp in _spread(_free(world, target, part), tries):
        result = pick(world, grasp, target, PickPlan())
        if result.held and not result.pushed:
            return grasp, result
        if result.held and kept is None:
            kept = grasp, result
    return kept


def _spread(ranked: list[Grasp], tries: int) -> Iterator[Grasp]:
    """The best of them, none like one that was tried."""
    chosen: list[Grasp] = []
    for grasp in ranked:
        if len(chosen) == tries:
            return
        if any(_alike(grasp, other) for other in chosen):
            continue
        chosen.append(grasp)
        yield grasp


def _alike(a: Grasp, b: Grasp) -> bool:
    near = np.linalg.norm(a.pose[:3, 3] - b.pose[:3, 3]) < 0.01
    return bool(near and np.trace(a.pose[:3, :3].T @ b.pose[:3, :3]) > 2.8)


def _free(world: World, target: int, part: int | None) -> list[Grasp]:
    """Grasps where the open gripper touches nothing, the most promising first."""
    item = world.things[target]
    rng = np.random.default_rng(target)
    middle = _middle_of_mass(item)
    rated: dict[tuple[int, int], list[tuple[float, Grasp]]] = {}
    wanted = (one for one in pinches(item, rng) if part is None or one.part == part)
    for pinch in islice(wanted, _PINCHES):
        for grasp in _grasps_of(pinch, world):
            # Some of each tilt and height, since the best of one may all be shut off.
            like = round(3 * grasp.pose[2, 2]), round(pinch.one[2] / 0.03)
            rated.setdefault(like, []).append((_promise(grasp, pinch, middle), grasp))
    queues = [sorted(some, key=lambda pair: -pair[0]) for some in rated.values()]
    turns = (pair for some in zip_longest(*queues) for pair in some if pair is not None)
    world.reset(_AWAY, world.hand.opening)
    free = []
    for promise, grasp in islice(turns, _LOOKED_AT):
        if world.is_free(grasp.pose, grasp.opening):
            free.append((promise, grasp))
    return [grasp for _, grasp in sorted(free, key=lambda pair: -pair[0])]


def _promise(grasp: Grasp, pinch: Pinch, middle: Floats) -> float:
    """Down is good, near the middle of mass is good."""
    held = (pinch.one + pinch.other) / 2
    return float(-grasp.pose[2, 2] - np.linalg.norm(held - middle) / 0.06)


def _middle_of_mass(item: Object) -> Floats:
    mesh, pose = mesh_of(item.kind), item.T_world_object
    low, high = mesh.vertices.min(0) * item.scale, mesh.vertices.max(0) * item.scale
    return np.asarray(pose[:3, :3] @ ((low + high) / 2) + pose[:3, 3])


def pinches(item: Object, rng: np.random.Generator) -> Iterator[Pinch]:
    """Opposite places on the surface of a thing."""
    mesh, scale, pose = mesh_of(item.kind), np.array(item.scale), item.T_world_object
    corners = (mesh.vertices.astype(np.float64) * scale)[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(across, axis=1)
    outward = mesh.normals[mesh.faces].mean(1) / scale
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    # As many places of each part, so that small ones are not missed.
    weight = area / np.bincount(mesh.parts, area)[mesh.parts]
    chosen = rng.choice(len(area), _SAMPLES, p=weight / weight.sum())
    share = rng.dirichlet((1, 1, 1), _SAMPLES)
    places = np.einsum('nk,nkx->nx', share, corners[chosen])
    inward = -outward[chosen] + rng.normal(0, 0.08, (_SAMPLES, 3))
    inward[::2, 2] = 0.0  # level, as a gripper from above closes
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-9)
    ways = inward / scale
    starts = (places + 1e-4 * inward) / scale
    met = cast(item.kind, starts.astype(np.float32), ways.astype(np.float32), output=1)
    # A surface is met from within where it faces the way of the ray.
    faced = np.einsum('ij,ij->i', inward, -outward[chosen]) > _OPPOSED
    for index in np.flatnonzero(faced & (met['primID'] >= 0)):
        face = met['primID'][index]
        if outward[face] @ inward[index] > _OPPOSED:
            other = places[index] + (1e-4 + float(met['tfar'][index])) * inward[index]
            ends = np.stack([places[index], other]) @ pose[:3, :3].T + pose[:3, 3]
            yield Pinch(ends[0], ends[1], int(mesh.parts[chosen[index]]))


def _grasps_of(pinch: Pinch, world: World) -> Iterator[Grasp]:
    hand = world.hand
    x = pinch.other - pinch.one
    width = float(np.linalg.norm(x))
    if not 0.001 < width < hand.opening - 0.003:
        return
    x /= width
    down = np.array([0.0, 0.0, -1.0])
    z = down - (down @ x) * x
    if np.linalg.norm(z) < 0.3:
        return
    z /= np.linalg.norm(z)
    middle = (pinch.one + pinch.other) / 2
    for tilt in _TILTS:
        way = np.cos(tilt) * z + np.sin(tilt) * np.cross(x, z)
        turned = np.eye(4)
        turned[:3, :3] = np.stack([x, np.cross(way, x), way], 1)
        for depth in _DEPTHS:
            pose = turned.copy()
            pose[:3, 3] = middle + depth * way
            under = _ABOVE - _lowest(pose, world)
            if under > 0:
                if way[2] > -0.3 or under > -depth * way[2]:
                    continue
                pose[:3, 3] += under / way[2] * way
            yield Grasp(pose, min(hand.opening, width + _ROOM), width)


def _lowest(pose: Floats, world: World) -> float:
    """Height of the lowest corner of the fingers."""
    hand = world.hand
    out = hand.opening / 2 + hand.finger_thickness
    reach = abs(pose[2, 0]) * out + abs(pose[2, 1]) * hand.finger_width / 2
    return float(min(pose[2, 3], pose[2, 3] - hand.finger_length * pose[2, 2]) - reach)
