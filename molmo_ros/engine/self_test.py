# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an engine points where things are, asked of it before anybody believes it.

A server of another version, with another template or another order of patches, answers in the right
form and points elsewhere; nothing but a picture whose places are known shows that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.engine.answers import Engine, EngineError, Finding, Question

MOST_OFF = 4.0  # percent of the image's width or height, of a point
MOST_SHIFT = 2.0  # percent, of all of them together
MOST_STRETCH = 0.06
RELEASE_PARAMETERS = 1_000_000_000
"""Every release of Molmo has several times as many. What has fewer was trained for pictures of a
kind of its own (tests, demonstrations), and discs drawn here say nothing about it."""

ALL = 'all together'
MODES = ('on', 'warn', 'off')

Place = tuple[float, float]
SelfTest = Callable[[Engine], None]

_QUERY = 'red circle'
_RED, _BLUE, _GREY = (214, 32, 36), (38, 74, 196), (226, 226, 222)
# width, height, and each disc: x and y as shares of these, and the radius in pixels
_DRAWN = (
    (640, 480, ((0.17, 0.22, 36),)),
    (480, 640, ((0.64, 0.85, 24),)),
    (800, 450, ((0.86, 0.24, 44),)),
    (640, 480, ((0.28, 0.74, 30), (0.66, 0.36, 30))),
    (640, 480, ()),
)


@dataclass(frozen=True, eq=False)
class Picture:
    """image: (H, W, 3) RGB. places: of what the query means, pixels from the top left corner."""

    name: str
    image: NDArray[np.uint8]
    query: str
    places: tuple[Place, ...]

    def percent(self, place: Place) -> Place:
        """A place in percent of width and height."""
        height, width = self.image.shape[:2]
        return place[0] / width * 100, place[1] / height * 100


def drawn_pictures() -> tuple[Picture, ...]:
    """Red discs among blue squares: of several sizes, in several corners, two at once, none."""
    return tuple(_drawn(index, *one) for index, one in enumerate(_DRAWN))


def own_pictures(folder: Path) -> tuple[Picture, ...]:
    """Those that a checkpoint brings which knows none but its own kind; () if it brings none.

    `self_test/cases.json` in its folder is a list of `{"image": FILE, "query": WORDS, "points":
    [[u, v], ...]}`, in pixels. Raises EngineError where it cannot be read.
    """
    path = folder / 'self_test/cases.json'
    if not path.is_file():
        return ()
    try:
        return tuple(_own(path.parent, case) for case in json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineError(
            f'{path} cannot be read ({type(error).__name__}: {error}): get the checkpoint whole, '
            'or remove the folder self_test'
        ) from error


def pictures_for(folder: Path, parameters: int, adapted: bool) -> tuple[Picture, ...]:
    """Those that say something about a checkpoint in a folder; () where none do.

    adapted: it has an adapter, which may have taught it other things. Raises EngineError.
    """
    own = () if adapted else own_pictures(folder)
    return own or (drawn_pictures() if parameters >= RELEASE_PARAMETERS else ())


def findings(engine: Engine, pictures: Sequence[Picture]) -> list[Finding]:
    """Ask about the pictures; () asks nothing. Raises EngineError where there is no answer."""
    if not pictures:
        return []
    told = [
        [(point.u, point.v) for point in engine.answer(one.image, Question(one.query)).points]
        for one in pictures
    ]
    return [
        *engine.own_findings(),
        *(_of_picture(*pair) for pair in zip(pictures, told, strict=True)),
        _of_all(pictures, told),
    ]


def self_test(mode: str, pictures: Sequence[Picture]) -> SelfTest:
    """What tests an engine: 'on' raises EngineError where it points wrong; 'warn' has it said with
    each answer; 'off' asks nothing, and has that said."""

    def test(engine: Engine) -> None:
        if mode == 'off':
            engine.assumed = ('that the model points right is taken on trust: self_test is off',)
            return
        wrong = [one for one in findings(engine, pictures) if one.passed is False]
        if not wrong:
            engine.assumed = ()
            return
        # What all of them come to says more than each.
        short = [one for one in wrong if one.name in (ALL, 'prompt')] or wrong
        said = '; '.join(f'{one.name}: {one.detail}' for one in short)
        if mode == 'on':
            raise EngineError(f'the self-test failed, so no question is asked: {said}')
        engine.assumed = (
            f'the self-test failed, and self_test is warn, so this may be wrong: {said}',
        )

    return test


def _drawn(
    seed: int, width: int, height: int, discs: tuple[tuple[float, float, int], ...]
) -> Picture:
    image = np.full((height, width, 3), _GREY, np.uint8)
    places = tuple((x * width, y * height) for x, y, _ in discs)
    random = np.random.default_rng(seed)
    for _ in range(9):
        half = int(random.integers(12, 40))
        u, v = random.uniform(half, width - half), random.uniform(half, height - half)
        if all(hypot(u - x, v - y) > 120 for x, y in places):
            corner, other = (int(u - half), int(v - half)), (int(u + half), int(v + half))
            cv2.rectangle(image, corner, other, _BLUE, cv2.FILLED)
    for (u, v), (_, _, radius) in zip(places, discs, strict=True):
        # Centres of pixels are whole numbers to OpenCV.
        centre = round((u - 0.5) * 16), round((v - 0.5) * 16)
        cv2.circle(image, centre, radius * 16, _RED, cv2.FILLED, cv2.LINE_AA, 4)
    what = {0: 'no disc', 1: 'a disc'}.get(len(discs), f'{len(discs)} discs')
    return Picture(f'{what}, {width}x{height}', image, _QUERY, places)


def _own(folder: Path, case: dict[str, object]) -> Picture:
    name, query, points = str(case['image']), str(case['query']), case['points']
    read = cv2.imdecode(np.fromfile(folder / Path(name).name, np.uint8), cv2.IMREAD_COLOR)
    if read is None:
        raise ValueError(f'{name} is no picture')
    places = tuple((float(u), float(v)) for u, v in points)  # type: ignore[attr-defined]
    return Picture(
        f'{query}, {Path(name).name}', np.ascontiguousarray(read[..., ::-1]), query, places
    )


def _of_picture(picture: Picture, told: Sequence[Place]) -> Finding:
    places, points = ([picture.percent(p) for p in of] for of in (picture.places, told))
    shown = ', '.join(f'({x:.1f}, {y:.1f})' for x, y in points[:6]) or 'nothing'
    true = ', '.join(f'({x:.1f}, {y:.1f})' for x, y in places) or 'nothing'
    detail = f'pointed at {shown}; there is {true} (percent)'
    passed: bool | None = True
    if places and any(_off(point, places) > MOST_OFF for point in points):
        passed = False
    elif len(points) != len(places) or any(_off(place, points) > MOST_OFF for place in places):
        passed = None
    return Finding(picture.name, passed, detail)


def _off(one: Place, others: Sequence[Place]) -> float:
    return min(max(abs(one[0] - x), abs(one[1] - y)) for x, y in others)


def _of_all(pictures: Sequence[Picture], told: Sequence[Sequence[Place]]) -> Finding:
    """By how much the points are shifted and stretched, all together."""
    # Only what needs no guess which point is meant for which place.
    pairs = [
        (picture.percent(picture.places[0]), picture.percent(points[0]))
        for picture, points in zip(pictures, told, strict=True)
        if len(picture.places) == 1 == len(points)
    ]
    asked = sum(len(picture.places) == 1 for picture in pictures)
    if len(pairs) * 2 <= asked:
        detail = f'only {len(pairs)} of {asked} pictures with one thing got one point'
        return Finding(ALL, False, detail)
    true, points = np.array([p for p, _ in pairs]), np.array([p for _, p in pairs])
    shift = (points - true).mean(axis=0)
    stretch = [_stretch(true[:, axis], points[:, axis]) for axis in (0, 1)]
    largest = np.abs(points - true).max()
    detail = (
        f'{len(pairs)} points, off by {largest:.1f} % of the image at most; shifted by '
        f'{shift[0]:+.1f} % in x and {shift[1]:+.1f} % in y, stretched by {stretch[0]:.2f} in x '
        f'and {stretch[1]:.2f} in y'
    )
    passed = bool(
        np.abs(shift).max() <= MOST_SHIFT
        and max(abs(s - 1) for s in stretch) <= MOST_STRETCH
        and largest <= MOST_OFF
    )
    return Finding(ALL, passed, detail if passed else detail + _guess(true, points))


def _stretch(true: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    around = true - true.mean()
    return float((around * (points - points.mean())).sum() / max((around**2).sum(), 1e-9))


def _guess(true: NDArray[np.float64], points: NDArray[np.float64]) -> str:
    """What would make them right."""
    x, y = points[:, 0], points[:, 1]
    ways = {
        'x and y swapped': (y, x),
        'left and right mirrored': (100 - x, y),
        'top and bottom mirrored': (x, 100 - y),
        'tenfold': (10 * x, 10 * y),
        'a tenth of it': (x / 10, y / 10),
    }
    for name, (u, v) in ways.items():
        if np.abs(np.stack([u, v], axis=1) - true).max() <= MOST_OFF:
            return f'; they would be right with {name}'
    return ''
