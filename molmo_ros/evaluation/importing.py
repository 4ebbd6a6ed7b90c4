# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that others have made, as lines of points.jsonl: COCO and Label Studio.

What cannot be used is told, all of it at once, and nothing is guessed: sizes are held against the
pictures themselves.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from molmo_ros.evaluation.samples import InvalidData
from molmo_ros.grounding.image_file import UnreadableImage, decode_image

Pixel = tuple[float, float]
_CROWD = 'iscrowd'
# What Label Studio puts before the name of a file that was uploaded.
_UPLOADED = re.compile(r'^[0-9a-f]{8}-')
_KINDS = ('keypointlabels', 'rectanglelabels', 'ellipselabels')


@dataclass
class Imported:
    """points: by picture and label, pixels of the picture as it is shown. files: where each picture
    is. wrong: what could not be used. notes: what was assumed or left out. unsure: pictures with
    something that was left out: nobody knows what is not in them."""

    points: dict[tuple[str, str], list[Pixel]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)

    def add_absent(self) -> None:
        """Say of every label that a picture has no line about that there is none."""
        labels = dict.fromkeys(label for _, label in self.points)
        for picture in self.files.keys() - self.unsure:
            for label in labels:
                self.points.setdefault((picture, label), [])


def read_labels_of(path: Path, images: Sequence[Path]) -> Imported:
    """Read a file of COCO or of Label Studio. Raises InvalidData where it is neither.

    images: folders to look for the pictures in.
    """
    try:
        fields = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise InvalidData(f'{path} cannot be read: {error.strerror}') from error
    except ValueError as error:
        raise InvalidData(f'{path} is not JSON: {error}') from error
    if isinstance(fields, dict) and {'images', 'annotations', 'categories'} <= fields.keys():
        return _coco(fields, images)
    if isinstance(fields, list) and fields and all(_is_task(task) for task in fields):
        return _label_studio(fields, images)
    raise InvalidData(
        f'{path} is neither of COCO (images, annotations, categories) nor of Label Studio '
        '(exported as JSON: a list of tasks with data and annotations)'
    )


@dataclass(frozen=True)
class _Picture:
    """name: below images/. shown, stored: width and height as it is shown, and as the file has
    it. orientation: EXIF's."""

    name: str
    path: Path
    shown: tuple[int, int]
    stored: tuple[int, int]
    orientation: int

    def turned(self, point: Pixel) -> Pixel:
        """From pixels as stored to pixels as shown."""
        (u, v), (width, height) = point, self.stored
        flips = {
            2: (width - u, v),
            3: (width - u, height - v),
            4: (u, height - v),
            5: (v, u),
            6: (height - v, u),
            7: (height - v, width - u),
            8: (v, width - u),
        }
        return flips.get(self.orientation, point)


def _coco(fields: Mapping[str, Any], folders: Sequence[Path]) -> Imported:
    found = Imported()
    names = {category['id']: category for category in fields['categories']}
    pictures: dict[Any, tuple[_Picture, bool]] = {}
    for image in fields['images']:
        picture = _picture(str(image.get('file_name') or ''), folders, found)
        if picture is not None:
            size = image.get('width'), image.get('height')
            turn = _turned(picture, size, found)
            if turn is not None:
                pictures[image.get('id')] = picture, turn
                found.files[picture.name] = picture.path
    crowds = set()
    for annotation in fields['annotations']:
        number = annotation.get('id')
        category = names.get(annotation.get('category_id'))
        picture, turn = pictures.get(annotation.get('image_id'), (None, False))
        if category is None:
            found.wrong.append(f'annotation {number} has a category that is not listed')
        if picture is None:
            continue  # what is wrong with it is told once
        if category is None or annotation.get(_CROWD):
            found.unsure.add(picture.name)
            if category is not None:
                crowds.add((picture.name, str(category['name']).strip()))
            continue
        try:
            labelled = _coco_points(annotation, category)
        except (KeyError, TypeError, ValueError) as error:
            found.wrong.append(f'annotation {number} cannot be read: {error}')
            found.unsure.add(picture.name)
            continue
        for label, point in labelled:
            if point is None:
                found.unsure.add(picture.name)
            else:
                _add(found, picture, label, point, turn, f'annotation {number}')
    for key in sorted(crowds):
        found.points.pop(key, None)
        found.notes.append(f'{key[0]}: {key[1]} is left out, because some are marked as a crowd')
    return found


def _coco_points(
    annotation: Mapping[str, Any], category: Mapping[str, Any]
) -> list[tuple[str, Pixel | None]]:
    """Keypoints that are seen, each by its name, None for others; else the middle of the box."""
    name = str(category['name']).strip()
    if annotation.get('keypoints'):
        numbers = [float(n) for n in annotation['keypoints']]
        points = list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
        parts = category.get('keypoints') or [''] * len(points)
        if len(parts) != len(points):
            raise ValueError(f'it has {len(points)} keypoints, and its category {len(parts)}')
        alone = len(points) == 1
        return [
            (name if alone or not part else f'{part} of the {name}', (u, v) if seen == 2 else None)
            for part, (u, v, seen) in zip(parts, points, strict=True)
        ]
    x, y, width, height = (float(n) for n in annotation['bbox'])
    return [(name, (x + width / 2, y + height / 2))]


def _is_task(task: Any) -> bool:
    return isinstance(task, dict) and isinstance(task.get('data'), dict) and 'annotations' in task


def _label_studio(tasks: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> Imported:
    found = Imported()
    for task in tasks:
        told = f'task {task.get("id")}'
        picture = _picture(_file_of(task['data']), folders, found)
        kept = [one for one in task['annotations'] if not one.get('was_cancelled')]
        if picture is None or not kept:
            continue
        found.files[picture.name] = picture.path
        if len(kept) > 1:
            found.notes.append(f'{told} was annotated {len(kept)} times; the last one is taken')
        for result in kept[-1].get('result', ()):
            kind = result.get('type')
            if kind not in _KINDS:
                found.notes.append(f'{told}: {kind} is left out; {", ".join(_KINDS)} are read')
                continue
            try:
                _add_result(found, picture, result, told)
            except (KeyError, TypeError, ValueError) as error:
                found.wrong.append(f'{told}: {kind} cannot be read: {error!r}')
                found.unsure.add(picture.name)
    found.notes = [*dict.fromkeys(found.notes)]
    return found


def _add_result(found: Imported, picture: _Picture, result: Mapping[str, Any], told: str) -> None:
    if result.get('image_rotation'):
        raise ValueError('the picture was turned in Label Studio; export it upright')
    value = result['value']
    size = result.get('original_width'), result.get('original_height')
    turn = _turned(picture, size, found)
    if turn is None:
        return
    width, height = picture.stored if turn else picture.shown
    u, v = float(value['x']) / 100 * width, float(value['y']) / 100 * height
    if result['type'] == 'rectanglelabels':
        # Its corner is where it is, and it is turned about that, clockwise.
        across = float(value['width']) / 200 * width
        down = float(value['height']) / 200 * height
        angle = math.radians(float(value.get('rotation') or 0))
        u += across * math.cos(angle) - down * math.sin(angle)
        v += across * math.sin(angle) + down * math.cos(angle)
    for label in value[result['type']]:
        _add(found, picture, str(label).strip(), (u, v), turn, told)


def _file_of(data: Mapping[str, Any]) -> str:
    """The file that a task is about, whatever its field is called."""
    names = [data[key] for key in ('image', 'img', 'url') if isinstance(data.get(key), str)]
    names += [value for value in data.values() if isinstance(value, str)]
    if not names:
        return ''
    parts = urlsplit(names[0])
    local = parse_qs(parts.query).get('d')
    return local[0] if local else unquote(parts.path)


def _picture(name: str, folders: Sequence[Path], found: Imported) -> _Picture | None:
    """The picture of that name; None where it cannot be had, which is told."""
    path, kept = _find(name, folders)
    if kept in found.files:
        found.wrong.append(f'{name}: {kept} is in the file twice')
        return None
    if path is None:
        where = ', '.join(map(str, folders))
        found.wrong.append(f'{name or "a picture without a name"} is not in {where}')
        return None
    try:
        stored = decode_image(path.read_bytes())
        height, width = stored.rgb(as_shown=True).shape[:2]
    except (OSError, UnreadableImage) as error:
        found.wrong.append(f'{name} {error}')
        return None
    rows, columns = stored.pixels.shape[:2]
    return _Picture(kept, path, (width, height), (columns, rows), stored.orientation)


def _find(name: str, folders: Sequence[Path]) -> tuple[Path | None, str]:
    """Its file, and what it is called from now on: never outside of the folders."""
    pure = PurePosixPath(name.replace('\\', '/'))
    inside = '/'.join(part for part in pure.parts if part not in ('/', '..', '.'))
    last = pure.name
    for tried in dict.fromkeys((inside, last, _UPLOADED.sub('', last))):
        for folder in folders:
            if tried and (folder / tried).is_file():
                return folder / tried, tried
    return None, ''


def _turned(picture: _Picture, size: tuple[Any, Any], found: Imported) -> bool | None:
    """Whether points of it are of the file as stored; None where it is another picture."""
    if size == (None, None):
        size = picture.shown
    if picture.orientation == 1 and size == picture.shown:
        return False
    if size not in (picture.shown, picture.stored):
        told = (
            f'{picture.name} is {picture.shown[0]} x {picture.shown[1]} pixels, and was '
            f'{size[0]} x {size[1]} when it was labelled'
        )
        if told not in found.wrong:
            found.wrong.append(told)
        return None
    if size == picture.shown:
        note = (
            f'{picture.name} is shown turned (EXIF orientation {picture.orientation}): its labels '
            'are taken to be of the picture as it is shown'
        )
        if note not in found.notes:
            found.notes.append(note)
        return False
    return True


def _add(
    found: Imported, picture: _Picture, label: str, point: Pixel, turn: bool, told: str
) -> None:
    u, v = picture.turned(point) if turn else point
    width, height = picture.shown
    if not label or not label.isprintable():
        found.wrong.append(f'{told}: the label is {label!r}')
        found.unsure.add(picture.name)
    elif not (0 <= u <= width and 0 <= v <= height):
        found.unsure.add(picture.name)
        found.wrong.append(
            f'{told}: {u:.1f}, {v:.1f} lies outside of {picture.name}, {width} x {height} pixels'
        )
    else:
        found.points.setdefault((picture.name, label), []).append((u, v))


def pictures_of(points: Iterable[tuple[str, str]]) -> list[str]:
    """The pictures of lines, each once."""
    return [*dict.fromkeys(picture for picture, _ in points)]
