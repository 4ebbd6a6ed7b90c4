# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes on disk, as the demo model's preprocessing will see them.

Each shard is a NumPy archive of `SHARD` scenes: the picture at the two resolutions that the
demo checkpoint's preprocessing makes of a 4:3 image, the instances at the same, and what lies
there.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from molmo_ros.camera.tabletop import EASY, make_scene, render, truth_of

FIRST_SEED = 10_000  # everything below is kept for evaluation
SHARD = 250
MAX_OBJECTS = EASY.max_objects
RENDER_SIZE = (320, 240)
COARSE_SIZE, FINE_SIZE = (192, 144), (256, 192)


@dataclass(frozen=True)
class SceneSet:
    """Arrays over N scenes; objects are padded to MAX_OBJECTS with kind -1.

    coarse, fine: (N, h, w, 3) uint8; coarse_ids, fine_ids: (N, h, w) uint8, 0 = no object;
    kind, colour: (N, MAX_OBJECTS) int8; target: (N, MAX_OBJECTS, 2) float32, percent of the image.
    """

    coarse: NDArray[np.uint8]
    fine: NDArray[np.uint8]
    coarse_ids: NDArray[np.uint8]
    fine_ids: NDArray[np.uint8]
    kind: NDArray[np.int8]
    colour: NDArray[np.int8]
    target: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.kind)


def load_scenes(folder: Path, limit: int | None = None) -> SceneSet:
    """All finished shards of a folder, in the order of their seeds."""
    shards = [dict(np.load(path)) for path in sorted(folder.glob('shard_*.npz'))[:limit]]
    if not shards:
        raise FileNotFoundError(f'{folder} holds no shards; render some first')
    return SceneSet(**{key: np.concatenate([s[key] for s in shards]) for key in shards[0]})


def render_shard(first_seed: int, count: int = SHARD) -> dict[str, NDArray]:
    scenes = [_one(seed) for seed in range(first_seed, first_seed + count)]
    return {key: np.stack([scene[key] for scene in scenes]) for key in scenes[0]}


def _one(seed: int) -> dict[str, NDArray]:
    scene = make_scene(seed)
    picture = render(scene, *RENDER_SIZE, smooth=True)
    truths = truth_of(scene, picture)
    kind = np.full(MAX_OBJECTS, -1, np.int8)
    colour = np.full(MAX_OBJECTS, -1, np.int8)
    target = np.full((MAX_OBJECTS, 2), np.nan, np.float32)
    for i, truth in enumerate(truths):
        kind[i] = EASY.kinds.index(truth.kind)
        colour[i] = EASY.colours.index(truth.colour)
        target[i] = [
            100 * (pixel + 0.5) / side
            for pixel, side in zip(truth.target, RENDER_SIZE, strict=True)
        ]
    ids = np.maximum(picture.instances, 0).astype(np.uint8)
    return {
        'coarse': _resize(picture.color, COARSE_SIZE),
        'fine': _resize(picture.color, FINE_SIZE),
        'coarse_ids': cv2.resize(ids, COARSE_SIZE, interpolation=cv2.INTER_NEAREST),
        'fine_ids': cv2.resize(ids, FINE_SIZE, interpolation=cv2.INTER_NEAREST),
        'kind': kind,
        'colour': colour,
        'target': target,
    }


def _resize(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    small = functional.interpolate(pixels, size[::-1], mode='bilinear', antialias=True)
    return small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def render_scenes(folder: Path, scenes: int, part: int = 0, parts: int = 1) -> None:
    """Render what is missing of the first `scenes` training scenes, every `parts`-th shard."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(part, -(-scenes // SHARD), parts):
        path = folder / f'shard_{number:05d}.npz'
        if path.exists():
            continue
        arrays = render_shard(FIRST_SEED + number * SHARD)
        partial = path.with_suffix('.part')
        with partial.open('wb') as file:
            np.savez(file, **arrays)
        partial.rename(path)
        print(f'{path.name} written', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description='Render training scenes; resumes where it was.')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--scenes', type=int, default=6000)
    parser.add_argument('--part', default='0/1', help='this process of how many, e.g. 0/2')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    part, parts = map(int, arguments.part.split('/'))
    render_scenes(arguments.folder, arguments.scenes, part, parts)


if __name__ == '__main__':
    main()
