# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Grasps drawn into real pictures, and whether the seen scene is inside a finger.

    python -m benchmarks.real_grasps FOLDER [--out pictures]

FOLDER as of real_depth.py. The best way for each point is drawn: the fingers as they come, and the
palm's side. A line for each says what it is, and how many readings of the depth image lie inside
its fingers as they come; 0 is due.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.real_depth import Scene, scenes
from molmo_ros.spatial import (
    CameraModel,
    Grasp,
    GraspSettings,
    LiftSettings,
    grasps_of,
    lift,
    transform_grasps,
    visible_extent,
)
from molmo_ros.spatial.grasps import Grasps

HAND = GraspSettings(
    opening=0.08,
    finger=0.02,
    finger_thickness=0.014,
    finger_length=0.0455,
    palm=(0.205, 0.063, 0.092),
)
# Pixels of the depth images, chosen by looking at the pictures.
POINTS = {
    'kinect v1': {
        'can': (65, 292),
        'mug': (461, 326),
        'tape': (603, 321),
        'mouse': (394, 337),
        'phone': (450, 268),
        'far can': (428, 150),
    },
    'azure kinect': {'mug': (245, 415), 'its handle': (332, 400)},
}
_COLORS = ((255, 40, 130), (30, 200, 255), (255, 200, 0), (60, 230, 60), (255, 120, 0))


def inside_fingers(
    grasp: Grasp, depth: NDArray[np.float32], camera: CameraModel, margin: float = 0.002
) -> int:
    """Readings (metres) that lie in the boxes of the open fingers by more than a margin."""
    v, u = np.nonzero(np.isfinite(depth) & (depth > 0))
    points = camera.ray(u, v) * depth[v, u, None]
    x, y, z = np.abs((points - grasp.position) @ grasp.rotation).T
    behind = ((points - grasp.position) @ grasp.rotation)[:, 2] < -margin
    across = (x > grasp.opening / 2 + margin) & (
        x < grasp.opening / 2 + HAND.finger_thickness - margin
    )
    within = across & (y < HAND.finger / 2 - margin) & (z < HAND.finger_length) & behind
    return int(np.count_nonzero(within))


def draw(
    image: NDArray[np.uint8], grasp: Grasp, camera: CameraModel, color: tuple[int, int, int]
) -> None:
    """The outlines of the fingers, and the lower face of the palm, into an RGB image."""
    half, side, length = grasp.opening / 2, HAND.finger / 2, HAND.finger_length
    boxes = [
        ((sign * half, sign * (half + HAND.finger_thickness)), (-side, side), (-length, 0.0))
        for sign in (-1, 1)
    ]
    boxes.append(((-half - 0.02, half + 0.02), (-side, side), (-length - 0.02, -length)))
    for box in boxes:
        corners = np.array(list(product(*box)))
        pixels = np.rint(camera.project(grasp.position + corners @ grasp.rotation.T)).astype(int)
        for a, b in combinations(range(8), 2):
            if np.count_nonzero(corners[a] != corners[b]) == 1:
                cv2.line(image, pixels[a].tolist(), pixels[b].tolist(), color, 1, cv2.LINE_AA)


@dataclass(frozen=True)
class View:
    """What is drawn into: an RGB image, the camera that took it, and (4, 4) the pose in its frame
    of the camera that saw the depth."""

    image: NDArray[np.uint8]
    camera: CameraModel
    T_view_depth: NDArray[np.float64]


def of_scene(scene: Scene, points: dict[str, tuple[int, int]], view: View) -> None:
    """Draws the best way for each point; prints a line for each."""
    settings = LiftSettings(preset=scene.preset)
    for number, (name, (u, v)) in enumerate(points.items()):
        point = lift(u, v, scene.depth, scene.camera, settings)
        extent = visible_extent(point, scene.depth, scene.camera, settings)
        if extent is None:
            print(f'{scene.name}: {name}: no thing ({point.status.name})')
            continue
        found = grasps_of(point, extent, scene.depth, scene.camera, settings, HAND)
        best = found.best
        if best is None:
            print(f'{scene.name}: {name}: {[way.reason for way in found.ways]}')
            continue
        hit = inside_fingers(best, scene.depth, scene.camera)
        several = ', may be several' if found.may_be_several else ''
        print(
            f'{scene.name}: {name}: {best.approach.value}, {1e3 * best.width:.0f} of '
            f'{1e3 * best.opening:.0f} mm, score {best.score:.2f}, {hit} readings inside a finger'
            f'{several}; {np.round(1e3 * extent.size)}'
        )
        (seen,) = transform_grasps(Grasps((best,)), view.T_view_depth).ways
        draw(view.image, seen, view.camera, _COLORS[number % len(_COLORS)])


def view_of(folder: Path, scene: Scene) -> View:
    """The color image of a scene, aligned to the depth or not; the depth as grey without one."""
    if scene.name == 'kinect v1':
        return View(_read(folder / 'kinect-v1-tum/color.png'), scene.camera, np.eye(4))
    if scene.name == 'azure kinect':
        about = json.loads((folder / 'azure-kinect/cameras.json').read_text())
        lens, T = about['color'], np.array(about['T_color_depth'])
        K, D = np.array(lens['K']), np.array(lens['D'])
        camera = CameraModel(lens['width'], lens['height'], K, D, lens['model'])
        return View(_read(folder / 'azure-kinect/color.jpg'), camera, T)
    return View(shown(scene), scene.camera, np.eye(4))


def _read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f'{path} cannot be read')
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def shown(scene: Scene) -> NDArray[np.uint8]:
    """The depth image as grey, near is light."""
    depth = np.where(np.isfinite(scene.depth) & (scene.depth > 0), scene.depth, np.nan)
    near, far = np.nanpercentile(depth, [1, 90])
    grey = np.nan_to_num(255 * (1 - 0.8 * np.clip((depth - near) / (far - near), 0, 1)))
    return np.repeat(grey.astype(np.uint8)[..., None], 3, 2)


def main(arguments: Iterable[str] | None = None) -> None:
    """Draw, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--out', type=Path, default=Path('demo_output'))
    parsed = parser.parse_args(None if arguments is None else list(arguments))
    parsed.out.mkdir(parents=True, exist_ok=True)
    for scene in scenes(parsed.folder):
        points = POINTS.get(scene.name)
        if points:
            view = view_of(parsed.folder, scene)
            of_scene(scene, points, view)
            path = parsed.out / f'grasps_{scene.name.split()[0]}.png'
            cv2.imwrite(str(path), cv2.cvtColor(view.image, cv2.COLOR_RGB2BGR))
            print(path)


if __name__ == '__main__':
    main()
