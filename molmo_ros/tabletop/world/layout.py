# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Seeded scenes: from a number and what a table may hold to where everything lies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molmo_ros.spatial.camera_model import CameraModel
from molmo_ros.tabletop.world.patterns import ON_OBJECTS
from molmo_ros.tabletop.world.render import visible_fractions
from molmo_ros.tabletop.world.scene import Light, Object, Scene, Table, Vector, bounding_box
from molmo_ros.tabletop.world.shapes import CLUTTER, KINDS, kind_of, outline_of

Box = NDArray[np.float64]

_GREY = (0.45, 0.45, 0.46)  # on white and black, white cannot be told from plain
_PATTERNED = 0.35

SIZE = (640, 480)
"""Width and height in pixels of the camera that a scene is laid out for."""

COLOURS: dict[str, Vector] = {
    'red': (0.83, 0.07, 0.08),
    'green': (0.10, 0.62, 0.16),
    'blue': (0.07, 0.24, 0.86),
    'yellow': (0.98, 0.85, 0.06),
    'orange': (1.00, 0.47, 0.03),
    'purple': (0.50, 0.13, 0.66),
    'white': (0.96, 0.96, 0.95),
    'black': (0.07, 0.07, 0.08),
}
"""Colour names and their albedo, RGB in 0..1 as displayed."""

TABLE_COLOURS: dict[str, Vector] = {
    'oak': (0.68, 0.57, 0.44),
    'walnut': (0.47, 0.38, 0.31),
    'beige': (0.70, 0.66, 0.58),
    'grey': (0.55, 0.56, 0.57),
    'dark grey': (0.37, 0.38, 0.40),
}

RICH_TABLES: dict[str, tuple[Vector, tuple[str, ...]]] = {
    'oak': ((0.68, 0.57, 0.44), ('wood',)),
    'walnut': ((0.42, 0.33, 0.27), ('wood',)),
    'ash': ((0.78, 0.72, 0.62), ('wood',)),
    'beige': ((0.70, 0.66, 0.58), ('plain', 'striped', 'tiled')),
    'grey': ((0.55, 0.56, 0.57), ('plain', 'speckled', 'tiled')),
    'dark grey': ((0.34, 0.35, 0.37), ('plain', 'speckled')),
    'light grey': ((0.72, 0.73, 0.74), ('plain', 'speckled', 'tiled')),
    'sage': ((0.55, 0.60, 0.52), ('plain', 'striped')),
    'slate': ((0.42, 0.47, 0.53), ('plain', 'speckled', 'striped')),
    'rose': ((0.68, 0.57, 0.56), ('plain', 'striped')),
}
"""Colours of the rich tables and the patterns that each comes in."""

HELD_OUT = frozenset(
    {
        ('ball', 'green'),
        ('book', 'orange'),
        ('bottle', 'white'),
        ('bowl', 'purple'),
        ('can', 'red'),
        ('duck', 'black'),
        ('hammer', 'yellow'),
        ('lamp', 'blue'),
        ('mug', 'blue'),
        ('pear', 'red'),
        ('plate', 'yellow'),
        ('spoon', 'orange'),
    }
)
"""Kinds and colours that training never shows together."""


@dataclass(frozen=True)
class TableSpec:
    """What scenes may hold. The default is the easy table: few, large, distinct things.

    Attributes:
        never: kinds and colours that do not come together.
        min_width, max_width: larger side of an object's bounding box, fraction of the image width.
        max_cover: how much of the lesser of two bounding boxes the other may cover.
        margin: distance of an object's bounding box from the image border, fraction of its size.
        min_visible: fraction of an object's silhouette that must be seen.
        sun_deg, sun, sky: height of the light above the table; strength of it, and from all sides.
        rich: whether things repeat and carry patterns, clutter lies about, and tables vary widely.
    """

    kinds: tuple[str, ...] = ('ball', 'box', 'bottle', 'mug', 'bowl', 'banana', 'cone', 'ring')
    colours: tuple[str, ...] = tuple(COLOURS)
    never: frozenset[tuple[str, str]] = frozenset()
    min_objects: int = 2
    max_objects: int = 5
    scale: tuple[float, float] = (0.9, 1.2)
    min_width: float = 0.11
    max_width: float = 0.28
    max_cover: float = 0.3
    margin: float = 0.035
    min_visible: float = 0.7
    distance: tuple[float, float] = (0.55, 0.85)
    tilt_deg: tuple[float, float] = (36.0, 56.0)
    hfov_deg: tuple[float, float] = (52.0, 60.0)
    roll_deg: float = 3.0
    sun_deg: tuple[float, float] = (48.0, 78.0)
    sun: tuple[float, float] = (0.38, 0.5)
    sky: tuple[float, float] = (0.54, 0.62)
    rich: bool = False

    @property
    def names(self) -> list[tuple[str, str]]:
        """Every kind and colour that may come together."""
        pairs = [(kind, colour) for kind in self.kinds for colour in self.colours]
        return [pair for pair in pairs if pair not in self.never]


EASY = TableSpec()

RICH = TableSpec(
    # A teapot is left out: it is what fine-tuning is shown on.
    kinds=tuple(kind for kind in KINDS if kind != 'teapot'),
    min_objects=3,
    max_objects=9,
    scale=(0.8, 1.35),
    min_width=0.085,
    max_width=0.34,
    max_cover=0.55,
    margin=0.025,
    min_visible=0.5,
    distance=(0.55, 0.95),
    tilt_deg=(33.0, 64.0),
    hfov_deg=(50.0, 66.0),
    roll_deg=5.0,
    sun_deg=(35.0, 80.0),
    sun=(0.28, 0.56),
    sky=(0.46, 0.68),
    rich=True,
)
"""24 kinds, patterns, several of a kind, clutter, occlusion, all sorts of tables and light."""

TABLES = {'easy': EASY, 'rich': RICH}


def make_scene(seed: int, spec: TableSpec = EASY) -> Scene:
    """The scene of a seed: the same on every machine.

    Args:
        seed: any non-negative integer.
        spec: what the scene may hold.
    """
    rng = np.random.default_rng(seed)
    while True:
        scene = _draw(rng, seed, spec)
        if scene is not None and _all_visible(scene, spec):
            return scene


def _draw(rng: np.random.Generator, seed: int, spec: TableSpec) -> Scene | None:
    empty = Scene(
        seed,
        (),
        _draw_rich_table(rng) if spec.rich else _draw_table(rng),
        _draw_light(rng, spec),
        _draw_camera_pose(rng, spec),
        _draw_camera(rng, spec),
        tuple((rng.uniform(0.25, 0.8) + rng.uniform(-0.05, 0.05, 3)).tolist()),
    )
    objects: list[Object] = []
    boxes: list[Box] = []
    for kind, colour in _draw_names(rng, spec):
        placed = _place(rng, kind, colour, empty, spec, objects, boxes)
        if placed is not None:
            objects.append(placed[0])
            boxes.append(placed[1])
        elif not spec.rich:
            return None
    if len(objects) < spec.min_objects:
        return None
    clutter = _draw_clutter(rng, empty, spec) if spec.rich else ()
    return replace(empty, objects=tuple(objects), clutter=clutter)


def _draw_names(rng: np.random.Generator, spec: TableSpec) -> list[tuple[str, str]]:
    """Kinds and colours: all different, but for a group that the rich table may have."""
    count = int(rng.integers(spec.min_objects, spec.max_objects + 1))
    names = spec.names
    chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
    if not spec.rich or rng.uniform() < 0.3:
        return chosen
    group = int(rng.integers(2, min(6, count) + 1))
    kind, colour = chosen[0]
    alike = {
        'kind': [name for name in names if name[0] == kind],
        'colour': [name for name in names if name[1] == colour],
        'both': [(kind, colour)],
    }[str(rng.choice(['kind', 'kind', 'colour', 'both']))]
    repeated = [alike[i] for i in rng.integers(0, len(alike), group)]
    return [*repeated, *chosen[group:]]


def _place(
    rng: np.random.Generator,
    kind: str,
    colour: str,
    scene: Scene,
    spec: TableSpec,
    objects: list[Object],
    boxes: list[Box],
) -> tuple[Object, Box] | None:
    for _ in range(60):
        item = _draw_object(rng, kind, colour, scene, spec)
        if item is None:
            continue
        box = bounding_box(item, scene)
        if (
            _fits(box, scene.camera, spec)
            and all(_cover(box, other) <= spec.max_cover for other in boxes)
            and not any(_touch(item, other) for other in objects)
        ):
            return item, box
    return None


def _draw_object(
    rng: np.random.Generator, kind: str, colour: str, scene: Scene, spec: TableSpec
) -> Object | None:
    k, camera = scene.camera, scene.T_world_camera
    u, v = rng.uniform(0.06, 0.94) * k.width, rng.uniform(0.08, 0.96) * k.height
    stretch = rng.uniform(-1, 1, 3) * kind_of(kind).stretch
    if kind_of(kind).round:
        stretch[1] = stretch[0]
    scale = rng.uniform(*spec.scale) * (1 + stretch)
    turn, gloss = rng.uniform(-np.pi, np.pi), float(rng.uniform(0.1, 0.45))
    if kind_of(kind).telling_side:
        turn *= 0.7
    yaw = float(turn + np.arctan2(-camera[1, 2], -camera[0, 2]))
    albedo = np.clip(
        np.array(COLOURS[colour]) * rng.uniform(0.9, 1.05) + rng.uniform(-0.03, 0.03, 3), 0.02, 1
    )
    ray = camera[:3, :3] @ k.ray(u, v)
    if ray[2] > -0.05:
        return None
    x, y = (camera[:3, 3] - ray * camera[2, 3] / ray[2])[:2]
    if abs(x) > scene.table.extent[0] - 0.1 or abs(y) > scene.table.extent[1] - 0.1:
        return None
    pattern = _draw_pattern(rng, kind) if spec.rich else 'plain'
    return Object(
        kind,
        colour,
        tuple(albedo.tolist()),
        (float(x), float(y), 0.0),
        yaw,
        tuple(scale.tolist()),
        gloss,
        pattern,
        (0.97, 0.97, 0.96) if max(COLOURS[colour]) - min(COLOURS[colour]) > 0.2 else _GREY,
    )


def _draw_pattern(rng: np.random.Generator, kind: str) -> str:
    painted = rng.uniform() < _PATTERNED and kind_of(kind).patterned
    return str(rng.choice([p for p in ON_OBJECTS if p != 'plain'])) if painted else 'plain'


def _draw_clutter(rng: np.random.Generator, scene: Scene, spec: TableSpec) -> tuple[Object, ...]:
    """Up to three things that nobody asks for, in muted colours, wherever they fall."""
    found = []
    for _ in range(int(rng.integers(0, 4))):
        kind = str(rng.choice(list(CLUTTER)))
        item = _draw_object(rng, kind, 'white', scene, spec)
        if item is not None:
            muted = rng.uniform(0.2, 0.95) + rng.uniform(-0.1, 0.1, 3)
            found.append(replace(item, colour='', albedo=tuple(np.clip(muted, 0, 1).tolist())))
    return tuple(found)


def _fits(box: Box, k: CameraModel, spec: TableSpec) -> bool:
    size = max(box[2] - box[0], box[3] - box[1]) / k.width
    x, y = spec.margin * k.width, spec.margin * k.height
    return (
        spec.min_width <= size <= spec.max_width
        and box[0] >= x
        and box[1] >= y
        and box[2] <= k.width - 1 - x
        and box[3] <= k.height - 1 - y
    )


def _cover(a: Box, b: Box) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


def _touch(a: Object, b: Object) -> bool:
    gap = np.hypot(a.position[0] - b.position[0], a.position[1] - b.position[1])
    return bool(gap < _reach(a) + _reach(b))


def _reach(item: Object) -> float:
    """Radius of the circle on the table that an object needs."""
    flat = (outline_of(item.kind) * item.scale)[:, :2]
    return float(np.sqrt((flat**2).sum(1).max()))


def _all_visible(scene: Scene, spec: TableSpec) -> bool:
    k = scene.camera
    return bool((visible_fractions(scene, k.width // 4, k.height // 4) >= spec.min_visible).all())


def _draw_table(rng: np.random.Generator) -> Table:
    colour = str(rng.choice(list(TABLE_COLOURS)))
    albedo = np.array(TABLE_COLOURS[colour]) * rng.uniform(0.93, 1.07)
    return Table(
        colour,
        tuple(np.clip(albedo + rng.uniform(-0.012, 0.012, 3), 0, 1).tolist()),
        'wood' if colour in ('oak', 'walnut') else 'plain',
        float(rng.uniform(0, 2 * np.pi)),
        (float(rng.uniform()), float(rng.uniform())),
        (float(rng.uniform(0.6, 0.9)), float(rng.uniform(0.5, 0.8))),
    )


def _draw_light(rng: np.random.Generator, spec: TableSpec) -> Light:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*spec.sun_deg))
    towards = (
        float(np.cos(azimuth) * np.cos(elevation)),
        float(np.sin(azimuth) * np.cos(elevation)),
        float(np.sin(elevation)),
    )
    return Light(towards, float(rng.uniform(*spec.sun)), float(rng.uniform(*spec.sky)))


def _draw_rich_table(rng: np.random.Generator) -> Table:
    colour = str(rng.choice(list(RICH_TABLES)))
    base, patterns = RICH_TABLES[colour]
    albedo = np.array(base) * rng.uniform(0.88, 1.12) + rng.uniform(-0.02, 0.02, 3)
    return Table(
        colour,
        tuple(np.clip(albedo, 0, 1).tolist()),
        str(rng.choice(patterns)),
        float(rng.uniform(0, 2 * np.pi)),
        (float(rng.uniform()), float(rng.uniform())),
        (float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.45, 0.8))),
    )


def _draw_camera_pose(rng: np.random.Generator, spec: TableSpec) -> NDArray[np.float64]:
    distance, tilt = rng.uniform(*spec.distance), np.radians(rng.uniform(*spec.tilt_deg))
    azimuth, roll = (
        rng.uniform(0, 2 * np.pi),
        np.radians(rng.uniform(-spec.roll_deg, spec.roll_deg)),
    )
    forward = np.array(
        [np.cos(azimuth) * np.cos(tilt), np.sin(azimuth) * np.cos(tilt), -np.sin(tilt)]
    )
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * down
    pose[:3, 1] = np.cos(roll) * down - np.sin(roll) * right
    pose[:3, 2] = forward
    pose[:3, 3] = np.array([*rng.uniform(-0.06, 0.06, 2), 0.02]) - distance * forward
    return pose


def _draw_camera(rng: np.random.Generator, spec: TableSpec) -> CameraModel:
    width, height = SIZE
    focal = width / 2 / np.tan(np.radians(rng.uniform(*spec.hfov_deg)) / 2)
    cx, cy = rng.uniform(-0.01, 0.01, 2) * width + [(width - 1) / 2, (height - 1) / 2]
    return CameraModel(width, height, np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]]))
