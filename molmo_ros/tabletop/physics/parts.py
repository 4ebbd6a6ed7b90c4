# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which part of a thing the fingers hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from molmo_ros.tabletop.samples.surfaces import nearest_triangle
from molmo_ros.tabletop.world.scene import Object
from molmo_ros.tabletop.world.shapes import mesh_of


def parts_touched(item: Object, places: Iterable[tuple[float, float, float]]) -> list[int]:
    """The number of the part at each place, which is in the thing's own frame; 0 is the body."""
    mesh = mesh_of(item.kind)
    corners = (mesh.vertices.astype(np.float64) * item.scale)[mesh.faces]
    return [int(mesh.parts[nearest_triangle(np.array(place), corners)]) for place in places]
