# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Draw docs/images/rooms.svg: the rooms of the package and who imports whom, read from the code.

    python docs/draw_rooms.py

A room stands above all that it imports. An arrow that follows from two others is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.imports import imports_of, modules_of, room_of  # noqa: E402

# What one line says of each room; tests/packaging/test_rooms.py knows that all are here.
PURPOSE = {
    'pointing': 'the language of points',
    'spatial': 'cameras, depth, surfaces',
    'model': 'Molmo itself, in torch',
    'engine': 'image, question to answer',
    'grounding': 'answer to points in space',
    'cameras': 'frames without a driver',
    'ros': 'nodes, messages, /tf, client',
    'evaluation': 'how often it is right',
    'finetuning': "one's own objects",
    'commands': 'molmo-ros ask, eval, ...',
    'viewing': 'the page in the browser',
    'tabletop': 'the rendered world, the demo',
}
ROBOT, DESK, WORLD = '#dbe9f6', '#e7e7e7', '#f9e2d2'  # what runs on a robot, at a desk, the demo
COLOURS = {'evaluation': DESK, 'finetuning': DESK, 'viewing': DESK, 'tabletop': WORLD}
WIDTH, HEIGHT, UP = 2.9, 0.8, 1.6
# Where each stands on its floor, so that no arrow passes behind another room.
ACROSS = {
    'model': -3.6,
    'pointing': 0.0,
    'spatial': 3.6,
    'engine': -2.6,
    'grounding': 2.4,
    'cameras': 7.6,
    'ros': 3.4,
    'evaluation': -2.1,
    'finetuning': -2.1,
    'commands': 0.0,
    'viewing': 0.8,
    'tabletop': 1.6,
}


def arrows() -> dict[str, set[str]]:
    """The rooms that each room imports; modules beside the rooms are left out."""
    modules = modules_of(ROOT)
    found: dict[str, set[str]] = {room: set() for room in PURPOSE}
    for name in modules:
        if room_of(name) in found:
            found[room_of(name)] |= {room_of(other) for other in imports_of(name, modules)}
    return {room: (others & PURPOSE.keys()) - {room} for room, others in found.items()}


def floors(rooms: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms stand one above the other below each."""

    def floor(room: str) -> int:
        return max((floor(below) + 1 for below in rooms[room]), default=0)

    return {room: floor(room) for room in rooms}


def plain(rooms: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without the arrows that follow from others."""

    def below(room: str) -> set[str]:
        return rooms[room].union(*(below(other) for other in rooms[room]))

    return {
        room: {o for o in others if not any(o in below(p) for p in others - {o})}
        for room, others in rooms.items()
    }


def main() -> None:
    """Write the picture."""
    rooms = arrows()
    storey = floors(rooms)
    places = {room: (ACROSS[room], storey[room] * UP) for room in rooms}
    figure, axes = plt.subplots(figsize=(14, 9))
    for room, others in plain(rooms).items():
        for other in others:
            (x, y), (a, b) = places[room], places[other]
            axes.annotate(
                '',
                xy=(a, b + HEIGHT / 2),
                xytext=(x, y - HEIGHT / 2),
                arrowprops={'arrowstyle': '-|>', 'color': '#555555', 'lw': 1.2},
            )
    for room, (x, y) in places.items():
        corner = x - WIDTH / 2, y - HEIGHT / 2
        color = COLOURS.get(room, ROBOT)
        axes.add_patch(
            FancyBboxPatch(
                corner, WIDTH, HEIGHT, 'round,pad=0.05', fc=color, ec='#333333', zorder=3
            )
        )
        axes.text(x, y + 0.13, room, ha='center', va='center', weight='bold', size=12, zorder=4)
        axes.text(x, y - 0.2, PURPOSE[room], ha='center', va='center', size=8, zorder=4)
    axes.set_aspect('equal')
    axes.autoscale_view()
    axes.axis('off')
    figure.savefig(ROOT / 'docs/images/rooms.svg', bbox_inches='tight', metadata={'Date': None})
    plt.close(figure)


if __name__ == '__main__':
    main()
