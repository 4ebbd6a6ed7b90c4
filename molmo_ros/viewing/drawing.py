# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Shapes of an answer in viser's scene, metres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.cloud import PINK
from molmo_ros.spatial.grasp import quaternion_of
from molmo_ros.viewing.views import Box, Gripper, ShownPoint

LAYERS = ('normals', 'boxes', 'grippers')
"""What of an answer can be left out; the name of the node that it is drawn under."""

_GREEN, _BLUE, _ORANGE = (40, 170, 90), (60, 120, 220), (235, 130, 10)
# Of a point and a normal, for each metre that the things are away.
_RADIUS, _NORMAL = 0.012, 0.08
# Metres, of a gripper that nothing is known of.
_OPEN, _FINGER, _MARGIN, _LEAST_WAY = 0.085, 0.04, 0.01, 0.02


def wxyz(turn: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """viser's order, of a quaternion (4,) x, y, z, w or a rotation matrix (3, 3)."""
    x, y, z, w = map(float, turn if turn.shape == (4,) else quaternion_of(turn))
    return w, x, y, z


def draw_point(
    scene: Any, node: str, number: int, point: ShownPoint, away: float, up: NDArray[np.float64]
) -> None:
    """A point that has a position, and what is known of the thing it is on, under a node.

    away: metres from the camera, so that a point is not lost far away. up: (3,) unit vector that
    is up for who looks; the name stands there.
    """
    position = point.surface.position
    scene.add_icosphere(f'{node}/points/{number}', _RADIUS * away, PINK, position=position)
    scene.add_label(
        f'{node}/points/{number}/name',
        f'{number} {point.image.label}'.strip(),
        position=1.5 * _RADIUS * away * up,
        anchor='bottom-left',
        font_screen_scale=0.8,
    )
    normal = point.surface.normal
    if np.isfinite(normal).all():
        arrow = np.stack([position, position + _NORMAL * away * normal])[None].astype(np.float32)
        scene.add_arrows(
            f'{node}/normals/{number}',
            arrow,
            _GREEN,
            shaft_radius=0.03 * _NORMAL * away,
            head_radius=0.08 * _NORMAL * away,
            head_length=0.2 * _NORMAL * away,
        )
    if point.box is not None:
        _draw_box(scene, f'{node}/boxes/{number}', point.box)
    if point.gripper is not None:
        _draw_gripper(scene, f'{node}/grippers/{number}', point.gripper, position)


def _draw_box(scene: Any, name: str, box: Box) -> None:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    edges = [(a, b) for a in range(8) for b in range(a) if (corners[a] != corners[b]).sum() == 1]
    lines = (corners * box.size / 2)[np.array(edges)].astype(np.float32)
    scene.add_line_segments(
        name,
        lines,
        _BLUE,
        thickness=2.0,
        thickness_units='screen',
        wxyz=wxyz(box.quaternion),
        position=box.centre,
    )


def _draw_gripper(scene: Any, name: str, gripper: Gripper, point: NDArray[np.float64]) -> None:
    """Two fingers around the point, the palm behind them, and the way from where it starts."""
    way = max(float(np.linalg.norm(point - gripper.position)), _LEAST_WAY)
    width = gripper.width + _MARGIN if np.isfinite(gripper.width) else _OPEN
    half, tip = width / 2, way + 0.3 * _FINGER
    palm = tip - _FINGER
    lines = [
        [(0, 0, 0), (0, 0, palm)],
        [(-half, 0, palm), (half, 0, palm)],
        [(-half, 0, palm), (-half, 0, tip)],
        [(half, 0, palm), (half, 0, tip)],
    ]
    scene.add_line_segments(
        name,
        np.array(lines, np.float32),
        _ORANGE,
        thickness=3.0,
        thickness_units='screen',
        wxyz=wxyz(gripper.quaternion),
        position=gripper.position,
    )
