# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rendered tabletop: seeded scenes, a perfect RGB-D picture of them, and their truth."""

from molmo_ros.tabletop.world.camera import TabletopCamera
from molmo_ros.tabletop.world.layout import (
    COLOURS,
    EASY,
    HELD_OUT,
    RICH,
    TABLES,
    TableSpec,
    make_scene,
)
from molmo_ros.tabletop.world.render import Rendering, check_renderer, render
from molmo_ros.tabletop.world.scene import Object, Scene
from molmo_ros.tabletop.world.truth import SeenPart, Truth, truth_of

__all__ = [
    'COLOURS',
    'EASY',
    'HELD_OUT',
    'RICH',
    'TABLES',
    'Object',
    'Rendering',
    'Scene',
    'SeenPart',
    'TableSpec',
    'TabletopCamera',
    'Truth',
    'check_renderer',
    'make_scene',
    'render',
    'truth_of',
]
