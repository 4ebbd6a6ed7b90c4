# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes on disk, as the demo model's preprocessing will see them.

Each shard is a NumPy archive of `SHARD` scenes: the picture at the two resolutions that the
demo checkpoint's preprocessing makes of it, the instances and their parts at the same, and what
lies there. There are two tables: `easy`, on which the encoder begins, and `rich`; and cameras of
several shapes, because each shape of picture is cut into crops of its own.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from molmo_ros.pointing import from_centred
from molmo_ros.tabletop.world import (
    EASY,
    HELD_OUT,
    RICH,
    TableSpec,
    Truth,
    make_scene,
    render,
    truth_of,
)
from molmo_ros.tabletop.world.patterns import ON_OBJECTS
from molmo_ros.tabletop.world.shapes import KINDS
from training import workers

FIRST_SEED = 10_000
SHARD = 250
TABLES: dict[str, TableSpec] = {
    name: replace(table, never=HELD_OUT) for name, table in (('easy', EASY), ('rich', RICH))
}
KIND_NAMES, COLOUR_NAMES, PATTERN_NAMES = RICH.kinds, RICH.colours, tuple(ON_OBJECTS)
MAX_OBJECTS = RICH.max_objects
MAX_PARTS = 3


@dataclass(frozen=True)
class Camera:
    """Sizes (width, height): as rendered, as the whole-image crop shows it, and as the other crops
    do. first_seed: of its scenes; everything below `FIRST_SEED` is kept for evaluation."""

    rendered: tuple[int, int]
    coarse: tuple[int, int]
    fine: tuple[int, int]
    first_seed: int


CAMERAS = {
    'vga': Camera((640, 480), (192, 144), (576, 432), FIRST_SEED),
    'qvga': Camera((320, 240), (192, 144), (320, 240), 1_010_000),
    'wide': Camera((640, 360), (192, 108), (576, 324), 1_020_000),
    'upright': Camera((480, 640), (144, 192), (432, 576), 1_030_000),
    'panorama': Camera((800, 320), (192, 77), (800, 320), 1_040_000),
}
OTHER_CAMERAS = ('qvga', 'wide', 'upright', 'panorama')  # seldom learnt from


@dataclass(frozen=True)
class SceneSet:
    """Arrays over N scenes; objects are padded to MAX_OBJECTS with kind -1.

    coarse, fine: (N, h, w, 3) uint8; coarse_ids, fine_ids: (N, h, w) uint8, the object from 1
    (0: none) in the low half of a byte and its part in the high half; kind, colour, pattern: (N,
    MAX_OBJECTS) int8, indices of the names above; target: (N, MAX_OBJECTS, 2) float32, percent of
    the image; parts: (N, MAX_OBJECTS, MAX_PARTS, 2) float32, the same of the parts, NaN where
    unnamed or unseen; position: (N, MAX_OBJECTS, 3) float32, metres, optical frame; size, area,
    visible: (N, MAX_OBJECTS) float32, metres, percent of the image, and 0..1.
    """

    coarse: NDArray[np.uint8]
    fine: NDArray[np.uint8]
    coarse_ids: NDArray[np.uint8]
    fine_ids: NDArray[np.uint8]
    kind: NDArray[np.int8]
    colour: NDArray[np.int8]
    pattern: NDArray[np.int8]
    target: NDArray[np.float32]
    parts: NDArray[np.float32]
    position: NDArray[np.float32]
    size: NDArray[np.float32]
    area: NDArray[np.float32]
    visible: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def held_out(self) -> int:
        """So many scenes, the first, are only for measuring."""
        return min(500, len(self) // 10)


def load_scenes(folder: Path, limit: int | None = None) -> SceneSet:
    """All finished shards of a folder, in the order of their seeds; a worker's share of them."""
    paths = sorted(folder.glob('shard_*.npz'))[:limit]
    if not paths:
        raise FileNotFoundError(f'{folder} holds no shards; render some first')
    number, count = workers.number(), workers.count()
    if len(paths) >= count:
        paths = paths[len(paths) * number // count : len(paths) * (number + 1) // count]
    # Filled shard by shard: all of them twice would not fit in memory.
    arrays: dict[str, NDArray[Any]] = {}
    sizes = [len(np.load(path)['kind']) for path in paths]
    for path, start in zip(paths, np.cumsum([0, *sizes]), strict=False):
        for key, values in np.load(path).items():
            if key not in arrays:
                arrays[key] = np.empty((sum(sizes), *values.shape[1:]), values.dtype)
            arrays[key][start : start + len(values)] = values
    return SceneSet(**arrays)


def render_shard(
    table: TableSpec, first_seed: int, count: int = SHARD, camera: Camera = CAMERAS['vga']
) -> dict[str, Any]:
    scenes = [_one(table, seed, camera) for seed in range(first_seed, first_seed + count)]
    return {key: np.stack([scene[key] for scene in scenes]) for key in scenes[0]}


def _one(table: TableSpec, seed: int, camera: Camera) -> dict[str, Any]:
    scene = make_scene(seed, table)
    picture = render(scene, *camera.rendered, smooth=True)
    objects = [_object(truth, camera) for truth in truth_of(scene, picture)]
    ids = (np.maximum(picture.instances, 0) + 16 * picture.parts).astype(np.uint8)
    return {
        'coarse': _resize(picture.color, camera.coarse),
        'fine': _resize(picture.color, camera.fine),
        'coarse_ids': cv2.resize(ids, camera.coarse, interpolation=cv2.INTER_NEAREST),
        'fine_ids': cv2.resize(ids, camera.fine, interpolation=cv2.INTER_NEAREST),
        **{key: _padded([item[key] for item in objects]) for key in objects[0]},
    }


def _object(truth: Truth, camera: Camera) -> dict[str, Any]:
    parts = np.full((MAX_PARTS, 2), np.nan, np.float32)
    for number, part in enumerate(KINDS[truth.kind].parts):
        if part.name in truth.parts:
            parts[number] = _percent(truth.parts[part.name].target, camera)
    return {
        'kind': np.int8(KIND_NAMES.index(truth.kind)),
        'colour': np.int8(COLOUR_NAMES.index(truth.colour)),
        'pattern': np.int8(PATTERN_NAMES.index(truth.pattern)),
        'target': _percent(truth.target, camera),
        'parts': parts,
        'position': truth.position.astype(np.float32),
        'size': np.float32(truth.size),
        'area': np.float32(100 * truth.mask.mean()),
        'visible': np.float32(truth.visible_fraction),
    }


def _percent(pixel: tuple[float, float], camera: Camera) -> NDArray[np.float32]:
    return (100 * np.array(from_centred(*pixel)) / camera.rendered).astype(np.float32)


def _padded(values: list[Any]) -> NDArray:
    """(MAX_OBJECTS, ...): -1 in integers and NaN in numbers where there is no object."""
    stacked = np.stack(values)
    empty = -1 if stacked.dtype == np.int8 else np.nan
    padded = np.full((MAX_OBJECTS, *stacked.shape[1:]), empty, stacked.dtype)
    padded[: len(stacked)] = stacked
    return padded


def _resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    small = functional.interpolate(pixels, size[::-1], mode='bilinear', antialias=True)
    return small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def render_scenes(
    folder: Path, table: str, scenes: int, camera: str = 'vga', part: int = 0, parts: int = 1
) -> None:
    """Render what is missing of the first `scenes` training scenes, every `parts`-th shard."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(part, -(-scenes // SHARD), parts):
        path = folder / f'shard_{number:05d}.npz'
        wanted = min(SHARD, scenes - number * SHARD)
        if path.exists() and len(np.load(path)['kind']) >= wanted:
            continue
        seed = CAMERAS[camera].first_seed + number * SHARD
        arrays = render_shard(TABLES[table], seed, wanted, CAMERAS[camera])
        partial = path.with_suffix('.part')
        with partial.open('wb') as file:
            np.savez(file, **arrays)
        partial.rename(path)
        print(f'{path.name} written', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description='Render training scenes; resumes where it was.')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--table', choices=TABLES, default='rich')
    parser.add_argument('--camera', choices=CAMERAS, default='vga')
    parser.add_argument('--scenes', type=int, default=6000)
    parser.add_argument('--part', default='0/1', help='this process of how many, e.g. 0/2')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    part, parts = map(int, arguments.part.split('/'))
    render_scenes(
        arguments.folder, arguments.table, arguments.scenes, arguments.camera, part, parts
    )


if __name__ == '__main__':
    main()
