# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What may lie on a table: parametric household things and their parts.

Every mesh is metric at its nominal size, stands on z = 0 (z up) and is centred on the z axis.
The geometry is our own. To add a kind, write a function that returns a ``Mesh`` and give it a line
in ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from molmo_ros.tabletop.world.meshes import (
    Mesh,
    arc,
    box,
    grounded,
    lathe,
    merge,
    moved,
    part,
    scaled,
    tube,
    turned,
)

Colour = tuple[float, float, float]

_STEEL, _WOOD, _DARK = (0.62, 0.64, 0.67), (0.72, 0.52, 0.32), (0.16, 0.16, 0.18)


@dataclass(frozen=True)
class Part:
    """A part of a kind, in the order of the numbers in its mesh.

    Attributes:
        name: what people call it; empty where nobody asks for it.
        albedo: its own colour, RGB in 0..1; None where it has the object's.
    """

    name: str
    albedo: Colour | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of object: how to build it and how much its proportions may vary.

    Attributes:
        build: makes the mesh at its nominal size.
        stretch: largest relative change along the object's x, y, z axes, on top of a common scale.
        round: whether x and y change together, so that a round object stays round.
        telling_side: whether its +x side (a handle) must not point away from the camera.
        parts: what the numbers from 1 in its mesh stand for.
        patterned: whether it is large and plain enough to carry a pattern.
    """

    build: Callable[[], Mesh]
    stretch: tuple[float, float, float] = (0.0, 0.0, 0.0)
    round: bool = True
    telling_side: bool = False
    parts: tuple[Part, ...] = ()
    patterned: bool = False


def ball() -> Mesh:
    """A sphere of 50 mm radius."""
    return lathe(arc((0, 0.05), 0.05, -90, 90, 65), segments=128)


def cube() -> Mesh:
    """A box close to a cube."""
    return box(0.10, 0.10, 0.09)


def bottle() -> Mesh:
    """A bottle with a shoulder, a neck and a cap."""
    side = [(0.038, 0.004), (0.038, 0.11)]
    shoulder = np.concatenate(
        [arc((0.016, 0.11), (0.022, 0.035), 0, 60, 9), [(0.0155, 0.152), (0.0135, 0.165)]]
    )
    body = lathe(
        [(0, 0), (0.034, 0)],
        [(0.034, 0), (0.038, 0.004)],
        side,
        shoulder,
        [(0.0135, 0.165), (0.0135, 0.178)],
        segments=48,
    )
    cap = lathe(
        [(0.0135, 0.178), (0.018, 0.178)],
        [(0.018, 0.178), (0.018, 0.2)],
        [(0.018, 0.2), (0, 0.2)],
        segments=48,
    )
    return merge(body, part(1, cap))


def mug() -> Mesh:
    """A mug with a handle along +x."""
    body = lathe(
        [(0, 0), (0.04, 0)],
        [(0.04, 0), (0.042, 0.095)],
        arc((0.0395, 0.095), 0.0025, 0, 180, 9),
        [(0.037, 0.095), (0.036, 0.006)],
        [(0.036, 0.006), (0, 0.006)],
    )
    turn = np.radians(np.linspace(-82, 82, 33))
    path = np.stack([0.039 + 0.038 * np.cos(turn), 0 * turn, 0.05 + 0.034 * np.sin(turn)], 1)
    return merge(body, part(1, tube(path, np.full(33, 0.0075))))


def bowl() -> Mesh:
    """A wide open bowl."""
    return lathe(
        [(0, 0), (0.035, 0)],
        arc((0, 0.0675), (0.085, 0.0675), -65, 0, 25),
        arc((0.0825, 0.0675), 0.0025, 0, 180, 9),
        arc((0, 0.0675), (0.08, 0.0625), 0, -90, 33),
    )


def banana() -> Mesh:
    """A banana lying on its side, with a stem."""
    turn = np.radians(np.linspace(-62, 62, 49))
    along = np.linspace(-1, 1, 49)
    radii = 0.021 * np.sqrt(np.clip(1 - np.abs(along) ** 3.2, 0, None))
    stem = along > 0.84
    radii[stem] = np.maximum(radii[stem], 0.0065)
    radii[-1] = radii[0] = 1e-4
    path = np.stack([0.1 * np.cos(turn) - 0.078, 0.1 * np.sin(turn), np.full(49, 0.021)], 1)
    return tube(path, radii)


def cone() -> Mesh:
    """A pointed cone."""
    return lathe([(0, 0), (0.058, 0)], [(0.058, 0), (0.0015, 0.15)], [(0.0015, 0.15), (0, 0.15)])


def ring() -> Mesh:
    """A thick ring lying flat."""
    return lathe(arc((0.06, 0.019), 0.019, 0, 360, 33), segments=96)


def can() -> Mesh:
    """A drinks can."""
    return lathe(
        [(0, 0), (0.028, 0)],
        [(0.028, 0), (0.033, 0.008)],
        [(0.033, 0.008), (0.033, 0.112)],
        [(0.033, 0.112), (0.027, 0.12)],
        [(0.027, 0.12), (0.026, 0.117)],
        [(0.026, 0.117), (0, 0.117)],
    )


def plate() -> Mesh:
    """A dinner plate with a rim."""
    return lathe(
        [(0, 0), (0.05, 0)],
        [(0.05, 0), (0.062, 0.006), (0.09, 0.016)],
        arc((0.09, 0.018), 0.002, -60, 150, 9),
        [(0.088, 0.0185), (0.062, 0.010), (0.052, 0.006)],
        [(0.052, 0.006), (0, 0.006)],
    )


def apple() -> Mesh:
    """An apple with a stem."""
    turn = np.radians(np.linspace(-88, 89, 60))
    radius = 0.042 * np.cos(turn) * (1 + 0.10 * np.sin(turn))
    height = 0.036 + 0.036 * np.sin(turn) - 0.012 * np.exp(-((radius / 0.012) ** 2)) * (turn > 0)
    flesh = lathe(np.stack([np.maximum(radius, 0), height], 1), segments=96)
    rise = np.linspace(0, 1, 9)
    stem = tube(
        np.stack([0.008 * rise**2, 0 * rise, 0.055 + 0.030 * rise], 1), np.full(9, 0.0028), 10
    )
    return grounded(merge(flesh, part(1, stem)))


def pear() -> Mesh:
    """A standing pear with a stem."""
    t = np.linspace(0, 1, 60)
    bulge = 0.038 * np.sqrt(np.clip(1 - ((t - 0.34) / 0.345) ** 2, 0, 1)) * (t < 0.69)
    neck = 0.017 * np.sqrt(np.clip(1 - np.clip((t - 0.66) / 0.34, -1, 1) ** 2, 0, 1)) * (t > 0.3)
    blend = 1 / (1 + np.exp(-(t - 0.55) / 0.06))
    radius = (1 - blend) * np.maximum(bulge, neck * 0.98) + blend * np.maximum(neck, bulge * 0.6)
    radius[0] = radius[-1] = 0
    flesh = lathe(np.stack([radius, 0.105 * t], 1), segments=96)
    rise = np.linspace(0, 1, 9)
    stem = tube(
        np.stack([0.010 * rise**2, 0 * rise, 0.100 + 0.028 * rise], 1), np.full(9, 0.0028), 10
    )
    return grounded(merge(flesh, part(1, stem)))


def carrot() -> Mesh:
    """A carrot lying along x with its leaves."""
    t = np.linspace(0, 1, 40)
    radius = 0.020 * np.sqrt(np.clip(1 - (1 - np.minimum(t / 0.08, 1)) ** 2, 0, 1)) * (1 - 0.86 * t)
    radius[-1] = 0
    # Turned about z from the top down, so that outward stays to the right of the way.
    root = lathe(np.stack([radius, 0.15 * t], 1)[:, :], segments=48)
    root = moved(turned(root, 'y', 90), x=-0.055)
    rise = np.linspace(0, 1, 13)
    leaves = [
        tube(
            np.stack([-0.053 - 0.055 * rise, side * rise, up * rise + 0.012 * rise**2], 1),
            0.0075 * np.sqrt(np.clip(rise * (1 - rise) * 4, 0.02, 1)),
            12,
        )
        for side, up in ((-0.022, 0.0), (0.0, 0.012), (0.022, 0.0))
    ]
    return grounded(merge(root, part(1, merge(*leaves))))


def spoon() -> Mesh:
    """A large spoon on its back."""
    bowl = lathe(
        arc((0, 0.018), (0.026, 0.018), -90, 0, 21),
        arc((0.0248, 0.018), 0.0012, 0, 180, 7),
        arc((0, 0.018), (0.0236, 0.0155), 0, -90, 21),
    )
    t = np.linspace(0, 1, 25)
    path = np.stack([0.030 + 0.125 * t, 0 * t, 0.017 - 0.011 * np.sin(np.pi * t / 1.3)], 1)
    radii = 0.0045 + 0.003 * t
    radii[-1] = 1e-4
    handle = scaled(tube(path, radii, 16), 1, 1.3, 1)
    return grounded(moved(merge(scaled(bowl, 1.4, 1, 1), part(1, handle)), x=-0.055))


def _rod(length: float, radius: float) -> Mesh:
    """A capped cylinder along x, its middle at the origin."""
    upright = lathe(
        [(0, 0), (radius, 0)], [(radius, 0), (radius, length)], [(radius, length), (0, length)]
    )
    return moved(turned(upright, 'y', 90), x=-length / 2)


def scissors() -> Mesh:
    """Open scissors lying flat."""
    halves = []
    for side in (-1.0, 1.0):
        blade = moved(scaled(box(0.10, 0.016, 0.003), 1, 1, 1), x=0.045)
        loop = moved(
            scaled(lathe(arc((0.019, 0), 0.0055, 0, 360, 17)), 1.35, 1, 1), -0.058, side * 0.021
        )
        shank = moved(
            turned(box(0.045, 0.012, 0.006), 'z', side * -20), -0.018, side * 0.006, -0.003
        )
        half = merge(part(1, blade), part(2, loop), part(2, shank))
        halves.append(moved(turned(half, 'z', side * -14), z=0.0032 * side))
    return grounded(merge(*halves))


def screwdriver() -> Mesh:
    """A screwdriver lying along x."""
    along = np.linspace(0, 0.085, 40)
    grip = 0.0135 + 0.0025 * np.sin(along * 110)
    handle = lathe(
        [(0, 0), (grip[0], 0)],
        np.stack([grip, along], 1),
        [(grip[-1], 0.085), (0, 0.085)],
        segments=32,
    )
    handle = moved(turned(handle, 'y', 90), x=-0.09)
    blade = moved(_rod(0.09, 0.0045), x=0.04)
    tip = moved(box(0.012, 0.010, 0.004), 0.088, z=-0.002)
    return grounded(merge(part(1, handle), part(2, merge(blade, tip))))


def hammer() -> Mesh:
    """A hammer lying on its side."""
    handle = scaled(_rod(0.17, 0.012), 1, 1.1, 1)
    face = turned(_rod(0.055, 0.019), 'z', 90)
    claw = moved(box(0.03, 0.05, 0.02), z=-0.01)
    head = merge(moved(face, 0.085, -0.022), moved(claw, 0.085, 0.028))
    return grounded(moved(merge(part(1, handle), part(2, head)), x=-0.015))


def candle() -> Mesh:
    """A thick candle that burns."""
    wax = lathe(
        [(0, 0), (0.032, 0)],
        [(0.032, 0), (0.032, 0.085)],
        arc((0.029, 0.085), 0.003, 0, 90, 7),
        [(0.029, 0.088), (0.020, 0.083), (0, 0.082)],
    )
    t = np.linspace(0, 1, 25)
    radius = 0.0105 * np.sqrt(np.clip(t / 0.35, 0, 1)) * np.clip((1 - t) / 0.65, 0, 1) ** 0.8
    flame = moved(lathe(np.stack([radius, 0.045 * t], 1), segments=24), z=0.086)
    return merge(wax, part(1, flame))


def pan() -> Mesh:
    """A frying pan with its handle along +x."""
    body = lathe(
        [(0, 0), (0.062, 0)],
        [(0.062, 0), (0.076, 0.036)],
        arc((0.0745, 0.036), 0.0015, 0, 180, 7),
        [(0.073, 0.036), (0.060, 0.004)],
        [(0.060, 0.004), (0, 0.004)],
    )
    t = np.linspace(0, 1, 21)
    path = np.stack([0.070 + 0.10 * t, 0 * t, 0.030 + 0.012 * np.sin(0.5 * np.pi * t)], 1)
    radii = np.full(21, 0.0085)
    radii[-1] = 1e-4
    handle = scaled(tube(path, radii, 16), 1, 1.3, 1)
    return moved(merge(body, part(1, handle)), x=-0.045)


def _ellipsoid(x: float, y: float, z: float) -> Mesh:
    """Half axes in metres, its middle at the origin."""
    return scaled(lathe(arc((0, 0), 1.0, -90, 90, 33), segments=48), x, y, z)


def duck() -> Mesh:
    """A bath duck that looks along +x."""
    body = merge(
        moved(_ellipsoid(0.055, 0.040, 0.032), z=0.032),
        moved(turned(_ellipsoid(0.026, 0.020, 0.012), 'y', 40), -0.050, z=0.052),
    )
    head = moved(_ellipsoid(0.027, 0.027, 0.027), 0.030, z=0.080)
    beak = moved(_ellipsoid(0.018, 0.014, 0.006), 0.060, z=0.076)
    eyes = merge(
        *(moved(_ellipsoid(0.005, 0.005, 0.005), 0.048, y, 0.090) for y in (-0.016, 0.016))
    )
    return grounded(merge(body, part(1, head), part(2, beak), part(3, eyes)))


def lamp() -> Mesh:
    """A small table lamp."""
    foot = lathe(
        [(0, 0), (0.042, 0)],
        [(0.042, 0), (0.042, 0.008)],
        [(0.042, 0.008), (0.006, 0.014)],
        [(0.006, 0.014), (0.006, 0.12)],
    )
    shade = lathe(
        [(0.068, 0.105), (0.034, 0.185)],
        [(0.034, 0.185), (0.032, 0.185)],
        [(0.032, 0.185), (0.066, 0.105)],
        [(0.066, 0.105), (0.068, 0.105)],
    )
    return merge(part(1, foot), part(2, shade))


def glass() -> Mesh:
    """A goblet: a foot, a thin stem and an open cup."""
    foot = lathe(
        [(0, 0), (0.034, 0)], [(0.034, 0), (0.034, 0.003)], [(0.034, 0.003), (0.006, 0.010)]
    )
    stem = lathe([(0.006, 0.010), (0.005, 0.04), (0.006, 0.072)])
    cup = lathe(
        [(0.006, 0.072), (0.026, 0.084), (0.036, 0.105), (0.035, 0.145)],
        [(0.035, 0.145), (0.033, 0.145)],
        [(0.033, 0.145), (0.034, 0.105), (0.024, 0.087), (0, 0.078)],
    )
    return merge(cup, part(1, merge(foot, stem)))


def book() -> Mesh:
    """A closed book: covers, a back and white pages."""
    covers = merge(
        box(0.15, 0.11, 0.004),
        moved(box(0.15, 0.11, 0.004), z=0.026),
        moved(box(0.15, 0.004, 0.03), y=-0.053),
    )
    pages = moved(box(0.144, 0.102, 0.022), y=0.0, z=0.004)
    return merge(covers, part(1, pages))


def brush() -> Mesh:
    """A flat paint brush lying along x."""
    t = np.linspace(0, 1, 21)
    radius = 0.008 + 0.004 * np.sin(np.pi * t) + 0.006 * t**3
    radius[0] = 0
    grip = lathe(np.stack([radius, 0.10 * t], 1), [(0.018, 0.10), (0, 0.10)], segments=32)
    grip = scaled(moved(turned(grip, 'y', 90), x=-0.09), 1, 1, 0.7)
    ferrule = moved(box(0.024, 0.044, 0.018), 0.020, z=-0.009)
    hair = moved(box(0.048, 0.046, 0.014), 0.056, z=-0.007)
    return grounded(merge(part(1, grip), part(2, ferrule), part(3, hair)))


def teapot() -> Mesh:
    """A teapot: spout along +x, handle along -x, a lid with a knob."""
    body = lathe(
        [(0, 0), (0.04, 0)],
        np.concatenate([arc((0, 0.045), (0.06, 0.046), -50, 70, 33)]),
        [(0.0205, 0.0882), (0.0205, 0.092), (0, 0.096)],
    )
    knob = moved(_ellipsoid(0.009, 0.009, 0.009), z=0.102)
    t = np.linspace(0, 1, 25)
    spout = tube(
        np.stack([0.048 + 0.055 * t, 0 * t, 0.035 + 0.055 * t**1.6], 1), 0.014 - 0.006 * t, 20
    )
    turn = np.radians(np.linspace(100, 262, 33))
    path = np.stack([-0.050 + 0.038 * np.cos(turn), 0 * turn, 0.052 + 0.032 * np.sin(turn)], 1)
    handle = tube(path, np.full(33, 0.007))
    return merge(body, knob, part(1, handle), part(2, spout))


KINDS: dict[str, Kind] = {
    'ball': Kind(ball, patterned=True),
    'box': Kind(cube, (0.3, 0.3, 0.25), round=False, patterned=True),
    'bottle': Kind(bottle, (0.08, 0.08, 0.12), parts=(Part('cap'),), patterned=True),
    'mug': Kind(mug, (0.05, 0.05, 0.1), telling_side=True, parts=(Part('handle'),), patterned=True),
    'bowl': Kind(bowl, (0.06, 0.06, 0.15), patterned=True),
    'banana': Kind(banana, (0.1, 0.06, 0.0), round=False),
    'cone': Kind(cone, (0.08, 0.08, 0.15), patterned=True),
    'ring': Kind(ring, (0.06, 0.06, 0.1)),
    'can': Kind(can, (0.06, 0.06, 0.12), patterned=True),
    'plate': Kind(plate, (0.08, 0.08, 0.1), patterned=True),
    'apple': Kind(apple, (0.05, 0.05, 0.08), parts=(Part('', (0.35, 0.24, 0.14)),)),
    'pear': Kind(pear, (0.06, 0.06, 0.1), parts=(Part('', (0.35, 0.24, 0.14)),)),
    'carrot': Kind(
        carrot, (0.12, 0.06, 0.0), round=False, parts=(Part('leaves', (0.18, 0.45, 0.12)),)
    ),
    'spoon': Kind(spoon, (0.08, 0.08, 0.0), round=False, parts=(Part('handle'),)),
    'scissors': Kind(
        scissors, (0.08, 0.05, 0.0), round=False, parts=(Part('', _STEEL), Part('handle'))
    ),
    'screwdriver': Kind(
        screwdriver, (0.1, 0.05, 0.0), round=False, parts=(Part('handle'), Part('blade', _STEEL))
    ),
    'hammer': Kind(
        hammer, (0.1, 0.06, 0.0), round=False, parts=(Part('handle'), Part('head', _STEEL))
    ),
    'candle': Kind(
        candle, (0.1, 0.1, 0.2), parts=(Part('flame', (1.0, 0.80, 0.30)),), patterned=True
    ),
    'pan': Kind(pan, (0.06, 0.06, 0.1), telling_side=True, parts=(Part('handle', _DARK),)),
    'duck': Kind(
        duck,
        (0.05, 0.05, 0.05),
        telling_side=True,
        parts=(Part('head'), Part('', (1.0, 0.50, 0.05)), Part('', _DARK)),
    ),
    'lamp': Kind(lamp, (0.06, 0.06, 0.1), parts=(Part('', _WOOD), Part('shade')), patterned=True),
    'glass': Kind(glass, (0.06, 0.06, 0.1), parts=(Part('stem'),)),
    'book': Kind(
        book, (0.12, 0.12, 0.3), round=False, parts=(Part('', (0.93, 0.91, 0.86)),), patterned=True
    ),
    'brush': Kind(
        brush,
        (0.1, 0.06, 0.0),
        round=False,
        parts=(Part('handle'), Part('', _STEEL), Part('bristles', (0.30, 0.22, 0.15))),
    ),
    'teapot': Kind(
        teapot,
        (0.05, 0.05, 0.06),
        round=False,
        parts=(Part('handle'), Part('spout')),
        patterned=True,
    ),
}


def sheet() -> Mesh:
    """A sheet of card."""
    return box(0.16, 0.11, 0.0008)


def coaster() -> Mesh:
    """A round mat."""
    return lathe([(0, 0), (0.055, 0)], [(0.055, 0), (0.055, 0.002)], [(0.055, 0.002), (0, 0.002)])


def cable() -> Mesh:
    """A piece of cable lying in waves."""
    t = np.linspace(-1, 1, 61)
    path = np.stack([0.16 * t, 0.035 * np.sin(5 * t), np.full(61, 0.003)], 1)
    return tube(path, np.full(61, 0.003), 10)


def crumb() -> Mesh:
    """A small pebble."""
    return grounded(_ellipsoid(0.009, 0.007, 0.006))


CLUTTER: dict[str, Kind] = {
    'sheet': Kind(sheet, (0.4, 0.4, 0.0), round=False),
    'coaster': Kind(coaster, (0.3, 0.3, 0.0)),
    'cable': Kind(cable, (0.3, 0.5, 0.0), round=False),
    'crumb': Kind(crumb, (0.3, 0.3, 0.3), round=False),
}
"""What lies about and nobody asks for."""


@cache
def kind_of(name: str) -> Kind:
    """The kind of a thing or of clutter."""
    return KINDS[name] if name in KINDS else CLUTTER[name]


@cache
def mesh_of(kind: str) -> Mesh:
    """The mesh of a kind at its nominal size, built once a process."""
    return kind_of(kind).build()


@cache
def outline_of(kind: str) -> NDArray[np.float32]:
    """(P, 3) vertices that are extreme in some direction: enough to bound the mesh in any view."""
    k = np.arange(256) + 0.5
    z = 1 - k / 128
    angle = np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z * z)
    directions = np.stack([flat * np.cos(angle), flat * np.sin(angle), z], 1)
    vertices = mesh_of(kind).vertices
    return vertices[np.unique(np.argmax(directions @ vertices.T, axis=1))]
