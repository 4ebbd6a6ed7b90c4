# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Draw docs/images/grasp_frames.svg: the measures of a grasp, and the axes of tool frames.

python docs/draw_grasp.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from molmo_ros.spatial.grasp import GraspSettings  # noqa: E402
from molmo_ros.spatial.tool_frames import TOOL_FRAMES  # noqa: E402

HAND = GraspSettings(opening=0.08, palm=(0.16, 0.063, 0.06))
RED, GREEN, BLUE = '#d62728', '#2ca02c', '#1f5fd0'
GREY, THING, TABLE = '#c9ced6', '#f2cf8d', '#8a7a66'
TITLES = {
    'x_closes': "x_closes (as it is), robotiq, UR's tool0",
    'y_closes': 'y_closes, panda_hand',
    'flange': "flange, Fetch's gripper_link",
}
# Seen from the side the fingers close along the picture, the approach goes down.
CLOSES, ACROSS, APPROACH = np.array([1, 0]), np.array([-0.45, -0.35]), np.array([0, -1])


def gripper(axes: Axes, opening: float, ends: float, palm: bool = True) -> None:
    """The two fingers and the palm, from the side; ends: how high, metres."""
    thick, long = HAND.finger_thickness, HAND.finger_length
    for left in (-opening / 2 - thick, opening / 2):
        axes.add_patch(Rectangle((left, ends), thick, long, fc=GREY, ec='black', lw=0.8))
    if palm:
        wide, high = HAND.palm[0], HAND.palm[2]
        box = Rectangle((-wide / 2, ends + long), wide, high, fc=GREY, ec='black', lw=0.8)
        axes.add_patch(box)


def measure(axes: Axes, a: tuple[float, float], b: tuple[float, float], text: str) -> None:
    """A double arrow from a to b with words beside its middle."""
    axes.annotate('', a, b, arrowprops={'arrowstyle': '<->', 'lw': 0.9, 'shrinkA': 0, 'shrinkB': 0})
    upright = a[0] == b[0]
    x, y = (a[0] + b[0]) / 2 + (0.004 if upright else 0), (a[1] + b[1]) / 2
    y += 0 if upright else 0.004
    place = ('left', 'center') if upright else ('center', 'bottom')
    axes.text(x, y, text, ha=place[0], va=place[1], fontsize=8)


def the_grasp(axes: Axes) -> None:
    """Standoff, opening, width, depth, clearance."""
    width, top, ends, standoff = 0.045, 0.055, 0.025, 0.1
    axes.add_patch(Rectangle((-0.16, -0.012), 0.32, 0.012, fc=TABLE, ec='none'))
    axes.add_patch(Rectangle((-width / 2, 0), width, top, fc=THING, ec='black', lw=0.8))
    gripper(axes, HAND.opening, ends, palm=False)
    gripper(axes, HAND.opening, ends + standoff)
    axes.plot(0, ends, 'ko', ms=4)
    axes.plot(0, ends + standoff, 'ko', ms=4)
    axes.text(0.004, ends + standoff + 0.003, 'pregrasp', fontsize=8, va='bottom')
    axes.text(0.003, ends - 0.002, 'pose', fontsize=8, va='top')
    side = 0.075
    for y in (ends, ends + standoff):
        axes.plot([0, side + 0.01], [y, y], ':', color='black', lw=0.6)
    measure(axes, (side, ends), (side, ends + standoff), 'standoff')
    half = HAND.opening / 2
    measure(axes, (-half, ends + 0.07), (half, ends + 0.07), 'opening')
    measure(axes, (-width / 2, top + 0.012), (width / 2, top + 0.012), 'width')
    axes.plot([-0.09, -width / 2], [top, top], ':', color='black', lw=0.6)
    axes.plot([-0.09, 0], [ends, ends], ':', color='black', lw=0.6)
    measure(axes, (-0.085, ends), (-0.085, top), 'depth')
    axes.set(xlim=(-0.13, 0.13), ylim=(-0.014, 0.24), aspect='equal')
    axes.set_title('one grasp', fontsize=10)
    axes.axis('off')


def the_frame(axes: Axes, name: str) -> None:
    """The axes that poses have with a gripper.tool_frame, between the ends of the fingers."""
    gripper(axes, HAND.opening, 0.0)
    tool = TOOL_FRAMES[name]
    for column, (letter, color) in enumerate(zip('xyz', (RED, GREEN, BLUE), strict=True)):
        # Rows of a rotation: what part of an axis is along the closing, across it, the approach.
        along = tool[:, column]
        way = along[0] * CLOSES + along[1] * ACROSS + along[2] * APPROACH
        end = 0.05 * way
        style = {'arrowstyle': '-|>', 'color': color, 'lw': 2.2, 'shrinkA': 0, 'shrinkB': 0}
        axes.annotate('', end, (0, 0), arrowprops=style)
        axes.text(
            1.22 * end[0], 1.22 * end[1], letter, color=color, fontsize=11, ha='center', va='center'
        )
    axes.plot(0, 0, 'ko', ms=3)
    axes.set(xlim=(-0.1, 0.1), ylim=(-0.07, 0.13), aspect='equal')
    axes.set_title(TITLES[name], fontsize=9)
    axes.axis('off')


def main() -> None:
    """Draw it."""
    figure, cells = plt.subplots(1, 4, figsize=(13, 3.9), width_ratios=(1.25, 1, 1, 1))
    the_grasp(cells[0])
    for cell, name in zip(cells[1:], TITLES, strict=True):
        the_frame(cell, name)
    figure.tight_layout()
    plt.rcParams['svg.hashsalt'] = 'molmo_ros'
    path = ROOT / 'docs/images/grasp_frames.svg'
    figure.savefig(path, metadata={'Date': None})
    print(path.relative_to(ROOT))
    if len(sys.argv) > 1:
        figure.savefig(sys.argv[1], dpi=90)


if __name__ == '__main__':
    main()
