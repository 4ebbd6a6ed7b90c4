# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a pick, drawn as the tables are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial import CameraModel
from molmo_ros.tabletop.physics.hand import Grasp
from molmo_ros.tabletop.physics.pick import Picked, PickPlan, pick
from molmo_ros.tabletop.physics.world import World
from molmo_ros.tabletop.world.render import render
from molmo_ros.tabletop.world.scene import Object, Scene, Vector

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

_PALM, _FINGER = (0.93, 0.93, 0.94), (0.25, 0.26, 0.28)
_CUBE = np.array([0.10, 0.10, 0.09])  # metres, the nominal size of the kind that boxes are drawn as
_WIDER, _DOWN = 0.65, 0.12  # of the focal length; of the height that the picture is shifted by
_MILLISECONDS = 80  # that each picture of a film is shown


@dataclass(frozen=True, eq=False)
class Film:
    """What became of a pick, and pictures of it: (H, W, 3) uint8 RGB, evenly spaced in time."""

    picked: Picked
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, eq=False)
class _Moment:
    things: Floats
    hand: Floats
    gap: float


def film(
    world: World,
    grasp: Grasp,
    target: int,
    plan: PickPlan | None = None,
    *,
    pictures: int = 30,
    size: tuple[int, int] = (640, 480),
) -> Film:
    """Take a thing, as `pick` does, and draw so many pictures of it, width and height in pixels."""
    moments: list[_Moment] = []

    def keep(now: World) -> None:
        moments.append(_Moment(now.thing_poses(), now.pose_of(now.body['hand']), now.gap))

    picked = pick(world, grasp, target, plan, keep)
    chosen = np.unique(np.linspace(0, len(moments) - 1, pictures).astype(int))
    stage = replace(world.scene, camera=_wider(world.scene.camera))
    drawn = (_scene_at(world, stage, moments[index]) for index in chosen)
    return Film(picked, tuple(render(scene, *size, smooth=True).color for scene in drawn))


def _wider(camera: CameraModel) -> CameraModel:
    """So that the gripper is seen too."""
    K = camera.K.copy()
    K[[0, 1], [0, 1]] *= _WIDER
    K[1, 2] += _DOWN * camera.height
    return CameraModel(camera.width, camera.height, K)


def _scene_at(world: World, stage: Scene, moment: _Moment) -> Scene:
    things = [_moved(item, pose) for item, pose in zip(world.things, moment.things, strict=True)]
    return replace(stage, objects=(*things, *_hand_at(world, moment)))


def _moved(item: Object, pose: Floats) -> Object:
    return replace(item, position=_vector(pose[:3, 3]), rotation=_rows(pose[:3, :3]))


def _hand_at(world: World, moment: _Moment) -> list[Object]:
    hand = world.hand
    palm = np.array(hand.palm)
    finger = np.array([hand.finger_thickness, hand.finger_width, hand.finger_length])
    out = (moment.gap + hand.finger_thickness) / 2
    middle = -hand.finger_length / 2
    return [
        _box(moment.hand, palm, (0.0, 0.0, -hand.finger_length - palm[2] / 2), _PALM),
        _box(moment.hand, finger, (out, 0.0, middle), _FINGER),
        _box(moment.hand, finger, (-out, 0.0, middle), _FINGER),
    ]


def _box(hand: Floats, size: Floats, at: tuple[float, float, float], albedo: Vector) -> Object:
    R = hand[:3, :3]
    base = hand[:3, 3] + R @ (np.array(at) - [0, 0, size[2] / 2])
    scale = _vector(size / _CUBE)
    return Object('box', '', albedo, _vector(base), 0.0, scale, 0.3, rotation=_rows(R))


def _vector(values: Floats) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _rows(rotation: Floats) -> tuple[Vector, Vector, Vector]:
    return _vector(rotation[0]), _vector(rotation[1]), _vector(rotation[2])


def strip(shown: Film, count: int = 6) -> Picture:
    """Some of the pictures beside each other."""
    chosen = np.linspace(0, len(shown.pictures) - 1, count).astype(int)
    return np.hstack([shown.pictures[index] for index in chosen])


def write_film(path: Path, pictures: tuple[Picture, ...]) -> bool:
    """Write an animated WebP; False where OpenCV is older than 4.11 and has none."""
    if not hasattr(cv2, 'imwriteanimation'):
        return False
    animation: Any = cv2.Animation()
    animation.frames = [cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) for picture in pictures]
    animation.durations = [_MILLISECONDS] * len(pictures)
    return bool(cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, 70]))
