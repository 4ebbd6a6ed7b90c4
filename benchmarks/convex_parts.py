# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make the convex parts that physics takes things of the rendered tables for.

    python -m benchmarks.convex_parts [--kinds mug bowl]

Writes molmo_ros/tabletop/physics/convex_parts.npz. Each closed surface of a mesh that is not
nearly its own hull is divided by CoACD (`pip install coacd==1.0.14`); minutes of one core
for all kinds. Prints how many parts each has.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
from numpy.typing import NDArray

from molmo_ros.tabletop.world.shapes import CLUTTER, KINDS, mesh_of

FILE = Path('molmo_ros/tabletop/physics/convex_parts.npz')
NEARLY = 0.0006  # metres that a surface may lie within its hull, to be taken for it
CONCAVITY = 0.04  # CoACD's threshold: the fraction of its size that a part may be off the surface
WHOLE = ('book', 'can')  # hollows of millimetres that no finger goes into
FINER = {'plate': 0.02, 'spoon': 0.02}  # shallow hollows would be filled
MOST = 20  # parts of a surface
CORNERS = 40  # of a part
MEET = 0.011  # metres between open ends of a mesh that are meant to meet

Floats = NDArray[np.float64]
Faces = NDArray[np.int64]


def surfaces(kind: str) -> Iterator[tuple[Floats, Faces]]:
    """The closed surfaces of a kind's mesh: corners that lie together welded, open ends closed."""
    mesh = mesh_of(kind)
    corners, at = np.unique(
        np.round(mesh.vertices.astype(float), 5) + 0.0, axis=0, return_inverse=True
    )
    faces = at.ravel()[mesh.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    label = np.arange(len(corners))
    faces = _joined(corners, faces)
    label = _labels(len(corners), faces)
    for number in np.unique(label[faces[:, 0]]):
        some = faces[label[faces[:, 0]] == number]
        kept, at = np.unique(some, return_inverse=True)
        yield _closed(corners[kept], at.reshape(-1, 3))


def _labels(count: int, faces: Faces) -> NDArray[np.int64]:
    """(count,) the least corner that each corner is connected with."""
    label = np.arange(count)
    while True:
        new = label.copy()
        np.minimum.at(new, faces, label[faces].min(1)[:, None])
        if (new == label).all():
            return label
        label = new


def _ends(faces: Faces) -> dict[int, int]:
    """The corner after each corner along the loops of edges that only one face has."""
    edges = [(int(f[i - 1]), int(f[i])) for f in faces for i in range(3)]
    times = Counter(frozenset(edge) for edge in edges)
    return {b: a for a, b in edges if times[frozenset((a, b))] == 1}


def _joined(corners: Floats, faces: Faces) -> Faces:
    """Open ends of different surfaces that nearly meet made to meet."""
    label = _labels(len(corners), faces)
    ends = np.array(sorted(_ends(faces)), int)
    to = np.arange(len(corners))
    for corner in ends:
        others = ends[label[ends] != label[corner]]
        far = np.linalg.norm(corners[others] - corners[corner], axis=1)
        if len(others) and far.min() < MEET:
            other = others[far.argmin()]
            to[corner] = to[other] = min(corner, other, key=lambda i: corners[i, 2])
    faces = to[faces]
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (c != a)]


def _closed(corners: Floats, faces: Faces) -> tuple[Floats, Faces]:
    """A fan over each open end."""
    following, added = _ends(faces), []
    while following:
        start, loop = next(iter(following)), []
        while start in following:
            loop.append(start)
            start = following.pop(start)
        middle = len(corners)
        corners = np.vstack([corners, corners[loop].mean(0)])
        added += [(a, b, middle) for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
    return corners, np.vstack([faces, np.array(added, int).reshape(-1, 3)])


def hull(corners: Floats, surface: Floats) -> tuple[Floats, float]:
    """(N, 3) corners of the convex hull, and how far within it the surface lies at most, metres."""
    from scipy.spatial import ConvexHull

    found = ConvexHull(corners)
    planes = found.equations
    depth = -(surface @ planes[:, :3].T + planes[:, 3]).max(1)
    return corners[found.vertices], float(depth.max())


def is_flat(corners: Floats) -> bool:
    """Whether a surface bounds nothing."""
    return bool(np.linalg.svd(corners - corners.mean(0), compute_uv=False)[2] < 1e-4)


def parts_of(kind: str) -> list[Floats]:
    """(N, 3) corners of each convex part of a kind at its nominal size."""
    parts = []
    for corners, faces in surfaces(kind):
        if is_flat(corners):
            continue
        whole, depth = hull(corners, corners[faces].mean(1))
        solid = depth < NEARLY or kind in WHOLE
        parts += [whole] if solid else divided(kind, corners, faces)
    return [hull(part, part)[0] for part in parts]


def divided(kind: str, corners: Floats, faces: Faces) -> list[Floats]:
    """By CoACD."""
    import coacd

    coacd.set_log_level('error')
    found = coacd.run_coacd(
        coacd.Mesh(corners, faces),
        threshold=FINER.get(kind, CONCAVITY),
        max_convex_hull=MOST,
        preprocess_mode='auto',
        mcts_iterations=60,
        mcts_nodes=12,
        mcts_max_depth=2,
        decimate=True,
        max_ch_vertex=CORNERS,
        seed=0,
    )
    return [np.asarray(vertices) for vertices, _ in found]


def main() -> None:
    """Write the file; kinds that are not asked for stay as they are in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kinds', nargs='+', default=[*KINDS, *CLUTTER])
    for kind in parser.parse_args().kinds:
        began = time.process_time()
        parts = parts_of(kind)
        stored = dict(np.load(FILE)) if FILE.exists() else {}
        stored[kind] = np.concatenate(parts).astype(np.float32)
        stored[f'{kind}.corners'] = np.array([len(part) for part in parts], np.int16)
        np.savez_compressed(FILE, **stored)
        print(f'{kind}: {len(parts)} parts, {time.process_time() - began:.0f} s', flush=True)


if __name__ == '__main__':
    main()
