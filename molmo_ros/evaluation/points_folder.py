# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures with points, read and checked.

    FOLDER/images/a.png ...
    FOLDER/points.jsonl     {"image": "a.png", "label": "stapler", "points": [[412.5, 230]]}

One line for each picture and label. Points are pixels (u right, v down, from the picture's top
left corner), every thing of that label has one, and an empty list says that there is none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros import git_lfs
from molmo_ros.grounding.image_file import UnreadableImage, decode_image

POINTS = 'points.jsonl'
IMAGES = 'images'
_KEYS = {'image', 'label', 'points'}


MOST_TOLD = 20
"""Of wrong lines, at most so many are told at once."""


class InvalidFolder(ValueError):
    """The folder cannot be learnt from; the message names the lines and says what would do."""


@dataclass(frozen=True)
class Label:
    """What a line says: where in its picture the things of that name are, in percent (x, y)."""

    label: str
    points: tuple[tuple[float, float], ...]
    line: int


@dataclass(frozen=True)
class LabelledImage:
    """A picture's file, every line about it, and its name below images/."""

    path: Path
    labels: tuple[Label, ...]
    name: str


def read_folder(folder: Path) -> tuple[LabelledImage, ...]:
    """Read points.jsonl and look at every picture that it names.

    Raises InvalidFolder, which tells all lines that are wrong.
    """
    images = read_lines(folder)
    if not any(label.points for image in images for label in image.labels):
        raise InvalidFolder(
            f'{folder / POINTS} has no points, so there is nothing to learn to point at'
        )
    return images


def line_of(image: str, label: str, points: Iterable[tuple[float, float]]) -> str:
    """A line of points.jsonl, without its end; image: below images/. points: pixels."""
    rounded = [[round(u, 2), round(v, 2)] for u, v in points]
    return json.dumps({'image': image, 'label': label, 'points': rounded}, ensure_ascii=False)


def read_lines(folder: Path) -> tuple[LabelledImage, ...]:
    """As `read_folder`, where there need not be anything to learn yet."""
    path = folder / POINTS
    _refuse_pointer(path)
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except OSError as error:
        raise InvalidFolder(
            f'{path} cannot be read ({error.strerror}): a folder to learn from has {POINTS} and '
            f'{IMAGES}/'
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidFolder(f'{path} is not UTF-8: {error}') from error
    sizes: dict[Path, tuple[int, int]] = {}
    found: dict[Path, dict[str, Label]] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            image, label = _read_line(line, number, folder / IMAGES, sizes)
            same = found.setdefault(image, {}).setdefault(label.label, label)
            if same is not label:
                raise InvalidFolder(
                    f'{image.name} and {label.label!r} were in line {same.line} already: write all '
                    'points of a label in one line'
                )
        except InvalidFolder as error:
            wrong.append(f'line {number}: {error}')
    if wrong:
        raise InvalidFolder(told_wrong(path, wrong))
    return tuple(
        LabelledImage(image, tuple(labels.values()), name_of(image, folder))
        for image, labels in found.items()
    )


def name_of(image: Path, folder: Path) -> str:
    """What a picture is called in points.jsonl."""
    images = folder / IMAGES
    return image.relative_to(images).as_posix() if image.is_relative_to(images) else str(image)


def told_wrong(path: Path, wrong: Sequence[str]) -> str:
    """What is wrong with a file, one thing to a line."""
    if len(wrong) == 1:
        return f'{path}, {wrong[0]}'
    more = len(wrong) - MOST_TOLD
    shown = [*wrong[:MOST_TOLD], *([f'and {more} more'] if more > 0 else [])]
    return '\n  '.join([f'{path}: {len(wrong)} lines are wrong', *shown])


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, turned as its EXIF says. Raises InvalidFolder."""
    _refuse_pointer(path)
    try:
        return decode_image(path.read_bytes()).rgb(as_shown=True)
    except OSError as error:
        raise InvalidFolder(f'{path} cannot be read ({error.strerror})') from error
    except UnreadableImage as error:
        raise InvalidFolder(f'{path} {error}') from error


def _refuse_pointer(path: Path) -> None:
    if git_lfs.is_pointer_file(path):
        raise InvalidFolder(f'{path} is {git_lfs.WHAT_TO_DO}')


def _read_line(
    line: str, number: int, images: Path, sizes: dict[Path, tuple[int, int]]
) -> tuple[Path, Label]:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise InvalidFolder(f'this is not JSON ({error.msg} at column {error.colno})') from error
    if not isinstance(fields, dict) or set(fields) != _KEYS:
        raise InvalidFolder('a line has the keys image, label and points, and no others')
    image = _image_of(fields, images)
    if image not in sizes:
        height, width = read_image(image).shape[:2]
        sizes[image] = width, height
    return image, Label(_label_of(fields), _points_of(fields, sizes[image]), number)


def _image_of(fields: Mapping[str, Any], images: Path) -> Path:
    name = fields['image']
    if not isinstance(name, str) or not name:
        raise InvalidFolder(f'image is {name!r}; give the name of a file in {images}')
    return images / name


def _label_of(fields: Mapping[str, Any]) -> str:
    label = fields['label']
    if not isinstance(label, str) or not label.strip() or not label.isprintable():
        raise InvalidFolder(f'label is {label!r}; give the words that you will ask with')
    return label.strip()


def _points_of(fields: Mapping[str, Any], size: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    points = fields['points']
    if not isinstance(points, list):
        raise InvalidFolder(f'points is {points!r}; give a list of [u, v], [] where there is none')
    return tuple(_percent(point, size) for point in points)


def _percent(point: Any, size: tuple[int, int]) -> tuple[float, float]:
    width, height = size
    if not (isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))):
        raise InvalidFolder(f'{point!r} is no point; write [u, v] in pixels')
    u, v = point
    if not (0 <= u <= width and 0 <= v <= height):
        raise InvalidFolder(f'[{u}, {v}] lies outside of the picture, {width} x {height} pixels')
    return 100 * u / width, 100 * v / height


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
