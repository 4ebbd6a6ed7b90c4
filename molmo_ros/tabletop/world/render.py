# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ray casting of a scene: color, exact depth, instances and normals from the same rays.

Each kind's mesh is built into an Embree scene once a process; rays are brought into an object's
own frame (an affine map keeps the ray parameter, so depths compare directly), which spares
building anything a frame. The table is a plane in closed form. Rays have z = 1 in the optical
frame, so that a ray's parameter is its depth along the optical axis in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.extras import require
from molmo_ros.spatial.camera_model import CameraModel
from molmo_ros.tabletop.world.patterns import ON_OBJECTS, SIZE, texture
from molmo_ros.tabletop.world.scene import (
    Object,
    Scene,
    fitted,
    outline_in_world,
    project,
)
from molmo_ros.tabletop.world.shapes import kind_of, mesh_of

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

SKY, TABLE = -1, 0
_GRAIN = 0.22
_LIFT = 4e-4
_SUBPIXELS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))


@dataclass(frozen=True, eq=False)
class Rendering:
    """What a perfect RGB-D camera would see.

    Attributes:
        color: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along the optical axis; NaN where nothing is hit.
        instances: (H, W) int16; -1 background, 0 table, i the scene's object i - 1.
        parts: (H, W) uint8; which part of its kind, 0 the body and where no object is.
        normals: (H, W, 3) float32 unit shading normals in the optical frame; 0 on the background.
        silhouettes: (K,) int64, pixels each object would cover if nothing stood before it.
        camera: of this picture.
    """

    color: NDArray[np.uint8]
    depth: Floats
    instances: NDArray[np.int16]
    parts: NDArray[np.uint8]
    normals: Floats
    silhouettes: NDArray[np.int64]
    camera: CameraModel


def render(scene: Scene, width: int = 640, height: int = 480, *, smooth: bool = False) -> Rendering:
    """Render a scene.

    Args:
        scene: what to render.
        width, height: pixels; all that the scene's camera sees is fitted into this size.
        smooth: four more rays for each pixel on an edge (of an object or a shadow); color only.
    """
    camera = fitted(scene.camera, width, height)
    rays = _grid(camera)
    surface = _trace(scene, rays)
    color = _shade(scene, rays, surface)
    if smooth:
        _smooth_edges(scene, rays, surface, color)
    depth, instances, parts = surface.depth, surface.instances, surface.parts
    depth[instances == SKY] = np.nan
    clutter = instances > len(scene.objects)
    instances[clutter], parts[clutter] = TABLE, 0
    return Rendering(
        color.reshape(height, width, 3),
        depth.reshape(height, width),
        instances.reshape(height, width),
        parts.reshape(height, width),
        surface.normals.reshape(height, width, 3),
        surface.silhouettes[: len(scene.objects)],
        camera,
    )


def visible_fractions(scene: Scene, width: int, height: int) -> NDArray[np.float64]:
    """(K,) seen part of each object's silhouette, judged at the given size."""
    surface = _trace(scene, _grid(fitted(scene.camera, width, height)))
    seen = np.bincount(surface.instances + 1, minlength=len(scene.things) + 2)[2:]
    return (seen / np.maximum(surface.silhouettes, 1))[: len(scene.objects)]


@dataclass(frozen=True, eq=False)
class _Rays:
    """Rays through pixels: u, v (N,) float32; shape of the grid if they are all of its pixels."""

    u: Floats
    v: Floats
    x: Floats
    y: Floats
    camera: CameraModel
    grid: bool

    def within(self, box: NDArray[np.float64]) -> Indices:
        """Indices of the rays in a box of pixels (left, top, right, bottom), ends included."""
        left, top, right, bottom = box
        if not self.grid:
            inside = (self.u >= left) & (self.u <= right) & (self.v >= top) & (self.v <= bottom)
            return np.flatnonzero(inside)
        width, height = self.camera.width, self.camera.height
        columns = np.arange(max(int(left), 0), min(int(right) + 2, width))
        rows = np.arange(max(int(top), 0), min(int(bottom) + 2, height))
        return (rows[:, None] * width + columns).ravel()


@dataclass(frozen=True, eq=False)
class _Surface:
    """What the rays hit first; all (N, ...), filled in place. Instances count clutter too."""

    depth: Floats
    instances: NDArray[np.int16]
    parts: NDArray[np.uint8]
    normals: Floats
    silhouettes: NDArray[np.int64]


def _rays(u: Floats, v: Floats, camera: CameraModel, grid: bool) -> _Rays:
    (fx, _, cx), (_, fy, cy) = camera.K[:2].astype(np.float32)
    x, y = (u - cx) / fx, (v - cy) / fy
    return _Rays(u, v, x, y, camera, grid)


def _grid(camera: CameraModel) -> _Rays:
    u = np.tile(np.arange(camera.width, dtype=np.float32), camera.height)
    v = np.repeat(np.arange(camera.height, dtype=np.float32), camera.width)
    return _rays(u, v, camera, True)


def check_renderer() -> None:
    """Raise UserError, which says what to install, where nothing can be rendered."""
    require('embreex', 'the rendered tabletop')


@cache
def _accelerated(kind: str) -> tuple[Any, Any]:
    check_renderer()
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    mesh = mesh_of(kind)
    embree = EmbreeScene()
    return embree, TriangleMesh(embree, mesh.vertices, mesh.faces)


def cast(kind: str, origins: Floats, directions: Floats, **options: Any) -> Any:
    """What rays (N, 3) meet of a kind's mesh, in its frame at nominal size, as Embree says it."""
    return _accelerated(kind)[0].run(origins, directions, **options)


def _object_from_world(item: Object) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Affine map (3, 3), (3,) from the world into the frame of the kind's nominal mesh."""
    pose = item.T_world_object
    linear = pose[:3, :3].T / np.array(item.scale)[:, None]
    return linear, -linear @ pose[:3, 3]


def _trace(scene: Scene, rays: _Rays) -> _Surface:
    surface = _trace_table(scene, rays)
    for number, item in enumerate(scene.things, 1):
        _trace_object(scene, rays, surface, number, item)
    return surface


def _trace_table(scene: Scene, rays: _Rays) -> _Surface:
    camera = scene.T_world_camera.astype(np.float32)
    rotation, eye = camera[:3, :3], camera[:3, 3]
    fall = rays.x * rotation[2, 0]
    fall += rays.y * rotation[2, 1]
    fall += rotation[2, 2]
    np.minimum(fall, -1e-6, out=fall)
    depth = -eye[2] / fall
    x, y = _plane(rays, depth, rotation, eye)
    inside = np.abs(x) <= scene.table.extent[0]
    inside &= np.abs(y) <= scene.table.extent[1]
    normals = np.zeros((len(depth), 3), np.float32)
    normals[inside] = rotation[2]
    depth[~inside] = np.inf
    instances = np.where(inside, np.int16(TABLE), np.int16(SKY))
    parts = np.zeros(len(depth), np.uint8)
    return _Surface(depth, instances, parts, normals, np.zeros(len(scene.things), np.int64))


def _plane(
    rays: _Rays, depth: Floats, rotation: Floats, eye: Floats, at: Any = slice(None)
) -> tuple[Floats, Floats]:
    """World x and y of points on rays at given depths."""
    rx, ry, depth = rays.x[at], rays.y[at], depth[at]
    found = []
    for axis in (0, 1):
        value = rx * rotation[axis, 0]
        value += ry * rotation[axis, 1]
        value += rotation[axis, 2]
        value *= depth
        value += eye[axis]
        found.append(value)
    return found[0], found[1]


def _trace_object(scene: Scene, rays: _Rays, surface: _Surface, number: int, item: Object) -> None:
    to_object, offset = _object_from_world(item)
    camera = scene.T_world_camera
    near = rays.within(_box(outline_in_world(item), scene, rays.camera))
    matrix = (to_object @ camera[:3, :3]).astype(np.float32)
    directions = _directions(rays, near) @ matrix.T
    origin = (to_object @ camera[:3, 3] + offset).astype(np.float32)
    origins = np.broadcast_to(origin, directions.shape).copy()
    hit = cast(item.kind, origins, directions, output=1)
    surface.silhouettes[number - 1] = np.count_nonzero(hit['primID'] >= 0)
    first = np.flatnonzero((hit['primID'] >= 0) & (hit['tfar'] < surface.depth[near]))
    at = near[first]
    surface.depth[at] = hit['tfar'][first]
    surface.instances[at] = number
    surface.parts[at] = mesh_of(item.kind).parts[hit['primID'][first]]
    normals = _interpolated(item.kind, hit, first) @ matrix
    normals /= np.sqrt(np.einsum('ij,ij->i', normals, normals))[:, None]
    surface.normals[at] = normals


def _directions(rays: _Rays, at: Indices) -> Floats:
    directions = np.ones((len(at), 3), np.float32)
    directions[:, 0] = rays.x[at]
    directions[:, 1] = rays.y[at]
    return directions


def _interpolated(kind: str, hit: dict[str, Any], at: Indices) -> Floats:
    mesh = mesh_of(kind)
    corners = mesh.faces[hit['primID'][at]]
    u, v = hit['u'][at, None], hit['v'][at, None]
    normals = mesh.normals[corners[:, 0]] * (1 - u - v)
    normals += mesh.normals[corners[:, 1]] * u
    normals += mesh.normals[corners[:, 2]] * v
    return normals


def _box(world: NDArray[np.float64], scene: Scene, camera: CameraModel) -> NDArray[np.float64]:
    """(4,) pixels bounding world points, with some room."""
    uv = project(world, scene.T_world_camera, camera)
    low, high = uv.min(0), uv.max(0)
    room = 1.5 + 0.01 * (high - low)
    return np.concatenate([low - room, high + room])


def _lit(scene: Scene, rays: _Rays, surface: _Surface, facing: NDArray[np.bool_]) -> Any:
    """(N,) bool: no object stands between the point and the light."""
    lit = facing.copy()
    camera = scene.T_world_camera
    towards = np.array(scene.light.towards)
    for item in scene.things:
        outline = outline_in_world(item)
        shadow = outline - outline[:, 2:] * (towards / towards[2])
        near = rays.within(_box(np.concatenate([outline, shadow]), scene, rays.camera))
        near = near[lit[near]]
        to_object, offset = _object_from_world(item)
        matrix = (to_object @ camera[:3, :3]).astype(np.float32)
        points = _directions(rays, near)
        points *= surface.depth[near, None]
        points += surface.normals[near] * np.float32(_LIFT)
        origins = points @ matrix.T
        origins += (to_object @ camera[:3, 3] + offset).astype(np.float32)
        directions = np.broadcast_to((to_object @ towards).astype(np.float32), origins.shape).copy()
        lit[near[cast(item.kind, origins, directions, query='OCCLUDED') >= 0]] = False
    return lit


def _shade(scene: Scene, rays: _Rays, surface: _Surface) -> NDArray[np.uint8]:
    """(N, 3) uint8: Lambert, ambient and a highlight, in display space (no gamma)."""
    towards = (scene.T_world_camera[:3, :3].T @ scene.light.towards).astype(np.float32)
    thing = np.flatnonzero(surface.instances > TABLE)
    normals = surface.normals[thing]
    cosine = normals @ towards
    facing = surface.instances == TABLE
    facing[thing] = cosine > 0
    lit = _lit(scene, rays, surface, facing)
    color = _shade_table(scene, rays, surface, lit)
    directions = _directions(rays, thing)
    paint = _paint(
        scene,
        directions * surface.depth[thing, None],
        surface.instances[thing],
        surface.parts[thing],
    )
    color[thing] = _shade_objects(
        scene, directions, surface.instances[thing], paint, normals, cosine, lit[thing]
    )
    return color


def _shade_table(scene: Scene, rays: _Rays, surface: _Surface, lit: Any) -> NDArray[np.uint8]:
    """(N, 3) uint8, background included; other pixels are left for the objects."""
    table, light = scene.table, scene.light
    grain = 1 + _GRAIN * (np.arange(256) / 127.5 - 1)
    shades = np.array([light.ambient, light.ambient + light.strength * light.towards[2]])
    palette = (shades[:, None, None] * grain[:, None] * table.albedo).reshape(-1, 3)
    palette = np.clip(np.concatenate([palette, [scene.background]]) * 255, 0, 255).astype(np.uint8)
    on = np.flatnonzero(surface.instances == TABLE)
    entry = np.full(len(rays.u), 512, np.intp)
    entry[on] = _texels(scene, rays, surface.depth, on) + 256 * lit[on].astype(np.intp)
    return palette[entry]


def _texels(scene: Scene, rays: _Rays, depth: Floats, on: Indices) -> NDArray[np.uint8]:
    table, camera = scene.table, scene.T_world_camera
    c, s = np.cos(table.pattern_yaw), np.sin(table.pattern_yaw)
    turn = np.array([[c, s], [-s, c]]) * 1000
    shift = np.array(table.pattern_offset) * SIZE
    rotation = (turn @ camera[:2, :3]).astype(np.float32)
    eye = (turn @ camera[:2, 3] + shift).astype(np.float32)
    x, y = _plane(rays, depth, rotation, eye, on)
    column = np.floor(x).astype(np.int32) & (SIZE - 1)
    row = np.floor(y).astype(np.int32) & (SIZE - 1)
    return texture(table.pattern).ravel()[row * SIZE + column]


def _paint(
    scene: Scene, points: Floats, instances: NDArray[np.int16], parts: NDArray[np.uint8]
) -> Floats:
    """(N, 3) albedo in 0..1 of points (N, 3) on objects, optical frame."""
    paint = np.empty_like(points)
    camera = scene.T_world_camera
    for number, item in enumerate(scene.things, 1):
        own = [item.albedo, *(part.albedo or item.albedo for part in kind_of(item.kind).parts)]
        at = np.flatnonzero(instances == number)
        part = parts[at]
        paint[at] = np.array(own, np.float32)[part]
        accented = ON_OBJECTS[item.pattern]
        if accented is None:
            continue
        to_object, offset = _object_from_world(item)
        matrix = (to_object @ camera[:3, :3]).astype(np.float32)
        here = points[at] @ matrix.T + (to_object @ camera[:3, 3] + offset).astype(np.float32)
        plain = np.array([True, *(part.albedo is None for part in kind_of(item.kind).parts)])
        paint[at[accented(here) & plain[part]]] = item.accent
    return paint


def _shade_objects(
    scene: Scene,
    directions: Floats,
    instances: NDArray[np.int16],
    paint: Floats,
    normals: Floats,
    cosine: Floats,
    lit: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    light = scene.light
    gloss = np.array([item.gloss for item in scene.things], np.float32) * 255
    up = scene.T_world_camera[2, :3].astype(np.float32)
    towards = (scene.T_world_camera[:3, :3].T @ light.towards).astype(np.float32)
    shade = normals @ (up * np.float32(0.25 * light.ambient)) + np.float32(0.8 * light.ambient)
    cosine = np.where(lit, cosine, np.float32(0))
    shade += cosine * np.float32(light.strength)
    color = paint * np.float32(255)
    color *= shade[:, None]
    halfway = towards - directions / np.sqrt(np.einsum('ij,ij->i', directions, directions))[:, None]
    halfway /= np.sqrt(np.einsum('ij,ij->i', halfway, halfway))[:, None]
    shine = np.clip(np.einsum('ij,ij->i', normals, halfway), 0, 1)
    for _ in range(5):
        shine *= shine
    color += (gloss[instances - 1] * shine * lit)[:, None]
    return np.minimum(color, 255).astype(np.uint8)


def _smooth_edges(scene: Scene, rays: _Rays, surface: _Surface, color: NDArray[np.uint8]) -> None:
    """Replace pixels on edges by the mean of four rays through each."""
    shape = (rays.camera.height, rays.camera.width)
    instances = surface.instances.reshape(shape)
    grey = color[:, 1].reshape(shape).astype(np.int16)
    edge = np.zeros(shape, bool)
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differs = (instances[a] != instances[b]) | (np.abs(grey[a] - grey[b]) > 24)
        edge[a] |= differs
        edge[b] |= differs
    at = np.flatnonzero(edge)
    u = np.concatenate([rays.u[at] + np.float32(du) for du, _ in _SUBPIXELS])
    v = np.concatenate([rays.v[at] + np.float32(dv) for _, dv in _SUBPIXELS])
    finer = _rays(u, v, rays.camera, False)
    samples = _shade(scene, finer, _trace(scene, finer)).reshape(len(_SUBPIXELS), -1, 3)
    color[at] = samples.mean(0, dtype=np.float32).astype(np.uint8)
