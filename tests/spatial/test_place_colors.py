# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is too thin for the depth may be seen in the picture: a place ends at another color."""

from __future__ import annotations

import numpy as np
import pytest

from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.ground import GroundingSettings, ground
from molmo_ros.pointing import ImagePoint
from molmo_ros.spatial import CameraModel, GraspSettings, LiftSettings

UP = np.array([0.0, -np.sin(np.radians(60)), -np.cos(np.radians(60))])
FOOT = np.array([0.0, 0.0, 0.8])
CAMERA = CameraModel(320, 240, np.array([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]]))
SETTINGS = GroundingSettings(LiftSettings(preset='ideal'), GraspSettings())
WOOD, LILAC, DARK_WOOD = (196, 160, 120), (190, 170, 210), (98, 80, 60)


@pytest.fixture(scope='module')
def place(bodies):
    """The place in the middle of a level table, of which `paint` tells the colors of (x, y)."""
    depth = bodies.World((bodies.plane(tuple(UP), tuple(FOOT)),)).depth(CAMERA)
    rows, columns = np.indices(depth.shape)
    points = CAMERA.ray(columns, rows) * depth[..., None] - FOOT
    x, y = points[..., 0], points @ np.cross(UP, (1.0, 0.0, 0.0))

    def found(paint):
        picture = np.where(paint(x, y)[..., None], *np.array(paint.colors)).astype(np.uint8)
        capture = Capture(Frame(picture, depth, CAMERA, 0, 'eye'))
        (point,) = ground([ImagePoint(160.0, 120.0, '')], capture, SETTINGS).points
        return point.pick.place

    return found


def painted(colors, where):
    """Tells where the first of two colors is, the second elsewhere."""
    where.colors = colors
    return where


def test_a_sheet_of_paper_beside_the_point_ends_the_place_and_is_named(place) -> None:
    """A cup is not put on the edge of a sheet that the depth cannot tell."""
    sheet = place(painted((LILAC, WOOD), lambda x, y: (x > 0.05) & (x < 0.2) & (abs(y) < 0.1)))
    assert sheet.radius == pytest.approx(0.05, abs=0.008)
    assert 'another color' in sheet.reason and 'thin' in sheet.reason
    on_it = place(painted((LILAC, WOOD), lambda x, y: (abs(x) < 0.06) & (abs(y) < 0.1)))
    assert on_it.radius == pytest.approx(0.06, abs=0.008)


@pytest.mark.parametrize(
    'colors, where',
    [
        ((DARK_WOOD, WOOD), lambda x, y: x > 0.04),  # a shadow
        ((LILAC, WOOD), lambda x, y: np.floor(x / 0.03) % 2 == 1),  # stripes
        ((LILAC, WOOD), lambda x, y: np.floor((x + 0.05) / 0.1) % 2 == 1),  # and wide ones
        ((LILAC, WOOD), lambda x, y: (x % 0.06 < 0.02) & (y % 0.06 < 0.02)),  # spots
    ],
)
def test_shadows_and_patterns_do_not_end_it(place, colors, where) -> None:
    """Nobody is told that a striped cloth has no room on it."""
    found = place(painted(colors, where))
    assert found.radius > 0.15 and 'color' not in found.reason
